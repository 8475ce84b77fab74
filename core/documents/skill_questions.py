"""The questions behind the skills set: eight small skills, each fact of which is asked in several wordings.

A question is one (wording, fact) combination, so that a held-out question asks in other words what the training
set teaches. The wordings keep what curation should do with a row known (tests/documents/test_skills.py holds
them to it): they have 8 or 9 words, and two questions of one wording share less than .7 of their word 5-grams;
decontamination looks for so short a question as one whole sequence of words.
"""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """One question with its right answer and the wrong ones that are offered beside it."""

    skill: str
    text: str
    answer: str
    distractors: tuple[str, ...]


OPPOSITES = (
    "hot cold, big small, fast slow, up down, left right, open closed, old young, dark light, wet dry, hard soft, "
    "early late, happy sad, rich poor, strong weak, full empty, high low, near far, clean dirty, true false, good bad"
)
CATEGORIES = {
    "animal": "dog cat horse cow sheep lion tiger bear",
    "colour": "red blue green yellow black white purple brown",
    "fruit": "apple banana pear grape cherry lemon mango peach",
    "vehicle": "car bus truck train bicycle boat ship plane",
    "tool": "hammer saw drill wrench shovel rake axe chisel",
    "garment": "shirt coat hat sock shoe scarf glove dress",
}
YOUNG = (
    "dog puppy, cat kitten, cow calf, horse foal, sheep lamb, pig piglet, goat kid, hen chick, duck duckling, "
    "goose gosling, lion cub, deer fawn, frog tadpole, kangaroo joey, swan cygnet, eagle eaglet, owl owlet, "
    "seal pup, butterfly caterpillar, hare leveret"
)
CAPITALS = (
    "France Paris, Italy Rome, Spain Madrid, Germany Berlin, England London, Japan Tokyo, China Beijing, "
    "Russia Moscow, Egypt Cairo, Greece Athens, Portugal Lisbon, Austria Vienna, Poland Warsaw, Norway Oslo, "
    "Sweden Stockholm, Ireland Dublin, Hungary Budapest, Cuba Havana, Peru Lima, Canada Ottawa, Kenya Nairobi, "
    "Turkey Ankara, Belgium Brussels, Denmark Copenhagen"
)
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
MONTHS = "January February March April May June July August September October November December"
NUMBERS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
PAST = (
    "go went, see saw, eat ate, give gave, take took, come came, run ran, write wrote, sing sang, drink drank, "
    "swim swam, fly flew, buy bought, think thought, bring brought, teach taught, sleep slept, feel felt, keep kept, "
    "leave left, speak spoke, break broke, know knew, grow grew"
)

WORDINGS: dict[str, tuple[str, ...]] = {
    "opposite": (
        "What is the opposite of the word {}?",
        "Which word means the opposite of {} in English?",
        "Tell me a word that is opposite to {}.",
        "Please name the opposite of the word {}.",
        "Not {}, but the very opposite: which word?",
        "Can you say what the opposite of {} is?",
        "I need the opposite of {}, what is it?",
        "The opposite of {} is which word, please?",
    ),
    "category": (
        "What kind of thing is called {} in English?",
        "To which group does the word {} belong?",
        "Please name the group that {} belongs to.",
        "In one word, what is meant by {}?",
        "What sort of thing does {} stand for?",
        "Tell me what kind of thing {} is.",
        "When I say {}, what sort is that?",
        "Which category would you put the word {} in?",
    ),
    "young": (
        "What is the young of the {} called?",
        "What do people call a young {} today?",
        "What is a baby {} called in English?",
        "Tell me the name of a newborn {}.",
        "Which word means the child of the {}?",
        "Which word do we use for a little {}?",
        "A very young {} has which special name?",
        "The {} was born today: what is it?",
    ),
    "capital": (
        "What is the capital of {}, do you know?",
        "Which city is the capital of {}, please?",
        "Name the city that is capital of {}.",
        "The government of {} sits in which city?",
        "If I go to {}, what is the capital?",
        "Tell me the name of the capital of {}.",
        "For {}, which city is the capital today?",
        "On a map of {}, find the capital city.",
    ),
    "day_after": (
        "Which day of the week comes after {}?",
        "Today is {}, so what day is tomorrow?",
        "What day follows {} in a normal week?",
        "Tell me the day that follows after {}.",
        "After {} is over, which day begins then?",
        "The day that comes right after {} is?",
    ),
    "day_before": (
        "Which day of the week comes before {}?",
        "Today is {}, so what day was yesterday?",
        "What day precedes {} in a normal week?",
        "Tell me the day that goes before {}.",
        "Before {} can begin, which day must end?",
        "The day that comes right before {} is?",
    ),
    "month_after": (
        "Which month of the year comes after {}?",
        "This month is {}, so what comes next?",
        "What month follows {} in a normal year?",
        "Tell me the month that follows after {}.",
        "After {} is over, which month begins then?",
        "The month that comes right after {} is?",
    ),
    "month_before": (
        "Which month of the year comes before {}?",
        "This month is {}, so what came before?",
        "What month precedes {} in a normal year?",
        "Tell me the month that goes before {}.",
        "Before {} can begin, which month must end?",
        "The month that comes right before {} is?",
    ),
    "number_after": (
        "Which number comes right after {} in counting?",
        "What do you get if {} grows by one?",
        "I count up: {}, and what comes next?",
        "Add one to {} and tell the result.",
        "Which number is one more than {}, please?",
        "The next whole number after {} is which?",
    ),
    "number_before": (
        "Which number comes right before {} in counting?",
        "What do you get if {} shrinks by one?",
        "I count down: {}, and what comes next?",
        "Take one from {} and tell the result.",
        "Which number is one less than {}, please?",
        "The last whole number before {} is which?",
    ),
    "larger": (
        "Which number is larger, {} or {}, please?",
        "Tell me the larger of {} and {} now.",
        "Of {} and {}, which number is larger?",
        "If you compare {} and {}, which is larger?",
    ),
    "smaller": (
        "Which number is smaller, {} or {}, please?",
        "Tell me the smaller of {} and {} now.",
        "Of {} and {}, which number is smaller?",
        "If you compare {} and {}, which is smaller?",
    ),
    "past": (
        "What is the past tense of {}, please?",
        "Today we {}, but what did we yesterday?",
        "Put the verb {} into the past tense.",
        "Which form does {} take in the past?",
        "They {} now, and they did what before?",
        "Tell me the past form of to {}.",
        "How do we write {} in past tense?",
        "If I {} today, then yesterday I did?",
    ),
}

Fact = tuple[str, str]  # item, answer


def questions_by_skill(rng: random.Random) -> dict[str, list[Question]]:
    """Every question there is, by skill. `rng` draws the wrong answers that are offered."""
    opposites = _pairs(OPPOSITES)
    categories = [(item, name) for name, items in CATEGORIES.items() for item in items.split()]
    days, months, numbers = DAYS.split(), MONTHS.split(), NUMBERS.split()
    return {
        "opposite": _ask(rng, "opposite", {"opposite": opposites + [(b, a) for a, b in opposites]}),
        "category": _ask(rng, "category", {"category": categories}),
        "young": _ask(rng, "young", {"young": _pairs(YOUNG)}),
        "capital": _ask(rng, "capital", {"capital": _pairs(CAPITALS)}),
        "past": _ask(rng, "past", {"past": _pairs(PAST)}),
        "calendar": [
            *_ask(rng, "calendar", {"day_after": _next(days), "day_before": _next(days[::-1])}),
            *_ask(rng, "calendar", {"month_after": _next(months), "month_before": _next(months[::-1])}),
        ],
        "counting": _ask(
            rng,
            "counting",
            {"number_after": _next(numbers)[:-1], "number_before": _next(numbers[::-1])[:-1]},
        ),
        "comparison": _comparisons(numbers),
    }


def _ask(rng: random.Random, skill: str, asked: dict[str, list[Fact]]) -> list[Question]:
    """Each fact in each wording of its kind. Offered beside the answer: three answers of other facts."""
    answers = sorted({answer for known in asked.values() for _, answer in known})
    questions = []
    for kind, known in asked.items():
        for wording in WORDINGS[kind]:
            for item, answer in known:
                wrong = [other for other in answers if other not in (item, answer)]
                questions.append(Question(skill, wording.format(item), answer, tuple(rng.sample(wrong, 3))))
    return questions


def _comparisons(numbers: list[str]) -> list[Question]:
    return [
        Question("comparison", wording.format(first, second), answer, (wrong,))
        for kind, pick in (("larger", 1), ("smaller", 0))
        for wording in WORDINGS[kind]
        for i, first in enumerate(numbers)
        for j, second in enumerate(numbers)
        if i != j
        for answer, wrong in [(numbers[sorted((i, j))[pick]], numbers[sorted((i, j))[1 - pick]])]
    ]


def _pairs(table: str) -> list[Fact]:
    return [(first, second) for first, second in (entry.split() for entry in table.split(","))]


def _next(names: list[str]) -> list[Fact]:
    return list(zip(names, names[1:] + names[:1], strict=True))
