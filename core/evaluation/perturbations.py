"""HELM's perturbations of a question, and the worst score over a question and its perturbations.

Liang et al. 2022, https://arxiv.org/abs/2211.09110, sections 4.5 and 4.6 and appendix D. A perturbation changes the
question alone, not the examples before it; those of FAIRNESS change its answers too. Substitutes stand where the whole
word does, also at a text's ends and twice in a row, where HELM's own code overlooks dialect, gender terms and pronouns.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import orjson

from core.artifacts.seeds import generator
from core.errors import DataError

Question = TypeVar("Question", bound=Hashable)
Perturb = Callable[[str, np.random.Generator], str]

ROBUSTNESS = ("mild_mix",)
FAIRNESS = ("dialect", "gender_pronouns", "person_names")


@dataclass(frozen=True)
class Substitutes:
    """Words or phrases, each with what may stand in its place.

    Of two that begin at the same place the first in the table counts. any_case: whether the table's words stand for
    every case, which the substitute then takes over. beside: what may not stand beside a word.
    """

    table: Mapping[str, Sequence[str]]
    any_case: bool = True
    beside: str = r"\w"
    followed_by: str = ""

    @cached_property
    def options(self) -> dict[str, Sequence[str]]:
        """What may stand in a word's place; of any_case, by the word in lower case."""
        return {word.lower() if self.any_case else word: others for word, others in self.table.items()}

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Any of the words; those of one first letter together, in their order, which is found faster than a list."""
        by_letter: dict[str, list[str]] = {}
        for word in self.options:
            by_letter.setdefault(word[0], []).append(re.escape(word[1:]))
        words = "|".join(f"{re.escape(letter)}(?:{'|'.join(rest)})" for letter, rest in by_letter.items())
        whole = rf"(?<!{self.beside})(?:{words})(?!{self.beside}){self.followed_by}" if words else r"(?!)"
        return re.compile(whole, re.IGNORECASE if self.any_case else 0)

    def put_into(self, text: str, rng: np.random.Generator, probability: float = 1.0) -> str:
        """A text in which each word of the table gives way, with a probability, to one of its substitutes."""

        def substitute(match: re.Match[str]) -> str:
            word = match[0]
            options = self.options.get(word.lower() if self.any_case else word)  # None for "ſhe", found as "she"
            if options is None or rng.random() >= probability:
                return word
            return _in_case_of(word, _draw(options, rng)) if self.any_case else _draw(options, rng)

        return self.pattern.sub(substitute, text)


def _draw(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _in_case_of(word: str, substitute: str) -> str:
    if len(word) > 1 and word.isupper():
        return substitute.upper()
    return substitute[:1].upper() + substitute[1:] if word[:1].isupper() else substitute


def _pairs(text: str) -> dict[str, tuple[str, ...]]:
    """A table from `word:substitute,substitute word:...`, with _ for a space."""
    rows = (row.replace("_", " ").split(":") for row in text.split())
    return {word: tuple(substitutes.split(",")) for word, substitutes in rows}


def _contractions() -> dict[str, str]:
    """Contractions and what they stand for. Where two stand for the same, the last is the usual one."""
    ends = {
        "not": ("n't", "are could did does do had has have is might must need ought should was were would"),
        "have": ("'ve", "could i might must should they we where who would you"),
        "would": ("'d", "he i it she that there they we you"),
        "did": ("'d", "how where"),
        "will": ("'ll", "he how i it she they we who you"),
        "is": ("'s", "he how it she that there what when where who why"),
        "are": ("'re", "they we what you"),
        "am": ("'m", "i"),
    }
    irregular = {"ain't": "is not", "can't": "cannot", "won't": "will not", "shan't": "shall not", "ma'am": "madam"}
    regular = {word + end: f"{word} {full}" for full, (end, words) in ends.items() for word in words.split()}
    return irregular | {"how'd'y": "how do you"} | regular


CONTRACTIONS = _contractions()
CONTRACT = Substitutes({full: (short,) for short, full in CONTRACTIONS.items()}, followed_by="(?= )")
EXPAND = Substitutes({short: (full,) for short, full in CONTRACTIONS.items()})

# Raycipe's own short lists; HELM's are many times as long, and are given as files.
MISSPELLINGS = _pairs(
    "about:abotu,baout after:aftre again:agian always:allways another:anohter answer:anwser beautiful:beatiful "
    "because:becuase,becouse before:befroe beginning:begining believe:beleive between:betwen business:buisness "
    "calendar:calender children:childern could:coudl different:diffrent,diferent every:evrey example:exmaple "
    "family:familly first:frist following:folowing friend:freind government:goverment have:haev height:heigth "
    "important:importent into:itno know:konw large:larg make:amke money:mony more:mroe necessary:neccessary "
    "number:numbre occurred:occured often:offen only:onyl other:ohter people:peopel,poeple place:palce "
    "probably:probaly question:quesiton really:realy receive:recieve same:smae school:shcool separate:seperate "
    "should:shoudl some:soem something:somethign take:tkae than:tahn that:taht the:teh their:thier then:tehn "
    "there:ther they:tehy think:thikn this:tihs through:throught time:tiem together:togehter tomorrow:tommorow "
    "until:untill very:vrey water:watre weather:wether weird:wierd what:waht when:wehn where:wheer which:wich "
    "while:whiel with:wiht without:witout word:wrod work:wokr world:wolrd would:woudl write:wirte year:yaer your:yuor"
)
DIALECT = _pairs(
    "about_to:finna am_not:ain't are_not:ain't aren't:ain't asking:askin because:cuz brother:brotha brothers:brothas "
    "coming:comin doing:doin father:fatha getting:gettin give_me:gimme has_not:ain't have_not:ain't "
    "having:havin is_not:ain't isn't:ain't looking:lookin making:makin mother:motha nothing:nuttin,nothin other:otha "
    "over:ova running:runnin saying:sayin sister:sista sisters:sistas something:somethin,sumthin sure:sho "
    "talking:talkin that:dat the:da their:dey them:dem then:den there:dere these:dese they:dey this:dis those:dose "
    "trying:tryin walking:walkin want_to:wanna with:wit,wif working:workin"
)
# Male to female, after Lauscher et al. 2022 (https://arxiv.org/abs/2202.11923); "his" is taken to come before a noun.
PRONOUNS = Substitutes(_pairs("he:she him:her his:her himself:herself"))
GENDER_TERMS = Substitutes(
    _pairs(
        "son:daughter sons:daughters father:mother fathers:mothers boy:girl boys:girls man:woman men:women "
        "brother:sister brothers:sisters nephew:niece nephews:nieces king:queen kings:queens waiter:waitress "
        "waiters:waitresses dad:mom dads:moms stepson:stepdaughter stepsons:stepdaughters stepfather:stepmother "
        "stepfathers:stepmothers stepdad:stepmom stepdads:stepmoms grandson:granddaughter grandsons:granddaughters "
        "grandfather:grandmother grandfathers:grandmothers granddad:grandma granddads:grandmas male:female "
        "males:females"
    )
)
# First names that sound white, and Black, of one gender: Bertrand & Mullainathan 2004, https://doi.org/10.3386/w9873.
_NAMES = [
    ("allison anne carrie emily jill kristen laurie meredith sarah",
     "aisha ebony keisha kenya lakisha latonya latoya tamika tanisha"),
    ("brad brendan brett geoffrey greg jay matthew neil todd",
     "darnell hakim jamal jermaine kareem leroy rasheed tremayne tyrone"),
]  # fmt: skip
FIRST_NAMES = {name: tuple(black.split()) for white, black in _NAMES for name in white.split()}


@dataclass(frozen=True)
class Words:
    """The lists that perturbations draw from, a word with what may stand in its place; none: Raycipe's short ones."""

    misspellings: Mapping[str, Sequence[str]] | None = None  # each case for itself, as HELM's
    dialect: Mapping[str, Sequence[str]] | None = None
    first_names: Mapping[str, Sequence[str]] | None = None


def perturbations(words: Words) -> dict[str, Perturb]:
    """Every perturbation by its name: text, generator -> text. ROBUSTNESS and FAIRNESS name the ones of HELM's sets."""
    misspellings = Substitutes(MISSPELLINGS) if words.misspellings is None else Substitutes(words.misspellings, False)
    spoken = Substitutes(DIALECT if words.dialect is None else words.dialect, beside=r"[\w-]")
    names = FIRST_NAMES if words.first_names is None else words.first_names
    return {
        "mild_mix": lambda text, rng: mild_mix(text, rng, misspellings),
        "lower_case": lambda text, rng: text.lower(),
        "contractions": CONTRACT.put_into,
        "expansions": EXPAND.put_into,
        "misspellings": lambda text, rng: misspell(text, rng, misspellings),
        "typos": typos,
        "spaces": spaces,
        "spaces_lost": lambda text, rng: spaces(text, rng, fewest=0),
        "dialect": spoken.put_into,
        "gender_pronouns": PRONOUNS.put_into,
        "gender_terms": GENDER_TERMS.put_into,
        "person_names": lambda text, rng: person_names(text, rng, names),
    }


def perturb(texts: Sequence[str], perturbation: Perturb, seed: int, question: str | int) -> list[str]:
    """A question and, of a perturbation of FAIRNESS, its answers, all perturbed by draws of the question's own.

    The same seed and question give the same texts, whatever else is perturbed, and a person has one name in all texts.
    """
    return [perturbation(text, generator(seed, "perturbation", question)) for text in texts]


def mild_mix(text: str, rng: np.random.Generator, misspellings: Substitutes) -> str:
    """HELM's robustness perturbation: lower case, then contractions, then misspellings, then spaces."""
    return spaces(misspell(CONTRACT.put_into(text.lower(), rng), rng, misspellings), rng)


def misspell(text: str, rng: np.random.Generator, misspellings: Substitutes, probability: float = 0.1) -> str:
    """Of the words that the list has, some as they are commonly misspelt."""
    return misspellings.put_into(text, rng, probability)


def spaces(text: str, rng: np.random.Generator, fewest: int = 1, most: int = 3) -> str:
    """Each run of spaces as long as drawn, from fewest to most; with fewest = 0, unlike HELM's, words are joined."""
    return re.sub(" +", lambda _: " " * int(rng.integers(fewest, most + 1)), text)


def typos(text: str, rng: np.random.Generator, probability: float = 0.1) -> str:
    """Some letters struck on a key that touches the right one (`NEIGHBOURS`), in their case."""
    draws = rng.random(len(text))
    struck = list(text)
    for place in np.flatnonzero(draws < probability).tolist():
        letter = text[place]
        if keys := NEIGHBOURS.get(letter.lower()):
            struck[place] = _in_case_of(letter, _draw(keys, rng))
    return "".join(struck)


def _neighbours() -> dict[str, str]:
    """The letters whose keys touch a letter's, on a QWERTY keyboard whose rows are shifted by 0, 1/4 and 3/4 key."""
    rows = (("qwertyuiop", 0.0), ("asdfghjkl", 0.25), ("zxcvbnm", 0.75))
    keys = {
        letter: (shift + place, row)
        for row, (letters, shift) in enumerate(rows)
        for place, letter in enumerate(letters)
    }
    return {
        letter: "".join(
            other
            for other, (x, y) in keys.items()
            if other != letter and abs(y - row) <= 1 and abs(x - column) <= (1 if y == row else 0.75)
        )
        for letter, (column, row) in keys.items()
    }


NEIGHBOURS = _neighbours()


def person_names(text: str, rng: np.random.Generator, names: Mapping[str, Sequence[str]] = FIRST_NAMES) -> str:
    """Every person of the list under another name, the same throughout and in each text that equal draws perturb."""
    drawn = {name: (_draw(others, rng),) for name, others in names.items()}
    return Substitutes(drawn).put_into(text, rng)


def worst_case(
    original: Mapping[Question, float],
    perturbed: Iterable[Mapping[Question, float]],
    higher_is_better: bool = True,
) -> dict[Question, float]:
    """The worst score of each question over the original and its perturbations; their mean is HELM's EM (Robustness).

    perturbed: the scores of each perturbation of a set, of the same questions. HELM's code takes the least score also
    where less is better; here it is the greatest. Raises ValueError where a perturbation has other questions.
    """
    scores = [original, *perturbed]
    for found in scores[1:]:
        if found.keys() != original.keys():
            differ = len(found.keys() ^ original.keys())
            raise ValueError(f"a perturbation scores other questions than the original: {differ} are in one alone")
    worst = min if higher_is_better else max
    return {question: worst(found[question] for found in scores) for question in original}


def read_substitutes(path: Path) -> dict[str, list[str]]:
    """A table in HELM's form, a JSON object of words with lists of their substitutes; also .gz.

    HELM's own are `correct_to_misspelling.json` and `SAE_to_AAVE_mapping.json` (Ziems et al. 2022,
    https://arxiv.org/abs/2204.03031). Raises DataError.
    """
    try:
        found = orjson.loads(_read(path))
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: not JSON ({error})") from error
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected an object of words with lists of substitutes")
    for word, others in found.items():
        if not (word and isinstance(others, list) and others and all(isinstance(other, str) for other in others)):
            raise DataError(f"{path}: '{word}': expected a word with a list of one or more strings")
    return found


def read_first_names(
    path: Path, source: str = "white_american", target: str = "black_american"
) -> dict[str, list[str]]:
    """First names of one race, each with those of another that are of its gender, or with all if it has none.

    From lines in HELM's form, `name,first_name,category,value...`, e.g. `aiesha,first_name,race,black_american,gender,
    female`; also .gz. Raises DataError, with the line, and where a race has no names.
    """
    told: dict[str, set[tuple[str, str]]] = {}
    for number, line in enumerate(_read(path).decode(errors="replace").splitlines(), 1):
        name, *fields = (field.strip().lower() for field in line.split(","))
        if not name or not fields or len(fields) % 2 == 0:
            raise DataError(f"{path}:{number}: expected name,first_name,category,value; found '{line}'")
        if fields[0] == "first_name":
            told.setdefault(name, set()).update(zip(fields[1::2], fields[2::2], strict=True))
    of_race = {race: [name for name, facts in told.items() if ("race", race) in facts] for race in (source, target)}
    if missing := [race for race, names in of_race.items() if not names]:
        raise DataError(f"{path}: no first_name has race,{missing[0]}")
    genders = {name: {fact for fact in facts if fact[0] == "gender"} for name, facts in told.items()}
    alike = {
        name: [other for other in of_race[target] if not genders[name] or genders[name] & genders[other]]
        for name in of_race[source]
    }
    return {name: others for name, others in alike.items() if others}


def _read(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
