from __future__ import annotations

import gzip
import json
import re
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from core.evaluation.perturbations import (
    CONTRACT,
    DIALECT,
    EXPAND,
    FAIRNESS,
    FIRST_NAMES,
    MISSPELLINGS,
    NEIGHBOURS,
    ROBUSTNESS,
    Substitutes,
    Words,
    misspell,
    perturb,
    perturbations,
    read_first_names,
    read_substitutes,
    typos,
    worst_case,
)

ALL = perturbations(Words())
TEXTS = st.lists(st.sampled_from([*MISSPELLINGS, *DIALECT, *FIRST_NAMES, "He", "HIS", "is not", "42", "3.5", "?"]))


def once(name: str, text: str, words: Words | None = None) -> str:
    [found] = perturb([text], perturbations(words or Words())[name], 0, "question")
    return found


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("lower_case", "Who Was NAPOLEON?", "who was napoleon?"),
        ("contractions", "She is a doctor, and I am a student", "She's a doctor, and I'm a student"),
        ("contractions", "It is not so. I do not know; so it is.", "It's not so. I don't know; so it is."),
        ("expansions", "She's a doctor, and I'm a student. DON'T!", "She is a doctor, and I am a student. DO NOT!"),
        ("expansions", "Won't he? Can't you? How'd they?", "Will not he? Cannot you? How did they?"),
        ("dialect", "They see the mother there.", "Dey see da motha dere."),
        ("dialect", "the so-over-the-top show", "da so-over-the-top show"),
        ("gender_pronouns", "He saw him with his dog himself; he's HIM", "She saw her with her dog herself; she's HER"),
        ("gender_pronouns", "The theme of this history", "The theme of this history"),
        ("gender_terms", "Father and son, the MEN", "Mother and daughter, the WOMEN"),
    ],
)
def test_worked_examples(name: str, text: str, expected: str) -> None:
    assert once(name, text) == expected


def test_helms_robustness_is_four_steps_in_order() -> None:
    table = {"doesn't": ["dosent"], "Believe": ["Never"], "believe": ["beleive"]}
    mild_mix = perturbations(Words(misspellings=table))["mild_mix"]
    found = [perturb(["He does not Believe it"], mild_mix, 0, question)[0] for question in range(200)]
    second, third = ({text.split()[place] for text in found} for place in (1, 2))
    assert second == {"doesn't", "dosent"}  # the contraction may be misspelt
    assert third == {"believe", "beleive"}  # the word was in lower case before
    assert {gap for text in found for gap in re.findall(" +", text)} == {" ", "  ", "   "}
    assert {tuple(text.split())[::3] for text in found} == {("he", "it")}


def test_a_tenth_of_the_words_is_misspelt_and_a_tenth_of_the_letters_mistyped() -> None:
    rng = np.random.default_rng(0)
    words = misspell("because " * 5000, rng, Substitutes({"because": ["becuase", "becouse"]})).split()
    shares = [words.count(word) / 5000 for word in ("because", "becuase", "becouse")]
    assert shares == pytest.approx([0.9, 0.05, 0.05], abs=0.015)
    letters = typos("Gq" * 5000, rng)
    assert sum(a != b for a, b in zip(letters, "Gq" * 5000, strict=True)) / 10_000 == pytest.approx(0.1, abs=0.015)
    assert set(letters[::2]) == {"G", *NEIGHBOURS["g"].upper()}
    assert set(letters[1::2]) == {"q", *NEIGHBOURS["q"]}


def test_keys_touch_each_other_and_not_themselves() -> None:
    assert {letter: set(NEIGHBOURS[letter]) for letter in "qgm"} == {
        "q": set("wa"),
        "g": set("tyfhvb"),
        "m": set("njk"),
    }
    assert all(letter in NEIGHBOURS[other] and letter != other for letter in NEIGHBOURS for other in NEIGHBOURS[letter])


@given(TEXTS, st.sampled_from(sorted(ALL)), st.integers(0, 2**32), st.integers(0, 100))
def test_the_same_seed_and_question_give_the_same_text_with_the_same_digits(
    pieces: list[str], name: str, seed: int, question: int
) -> None:
    text = " ".join(pieces)
    [found] = perturb([text], ALL[name], seed, question)
    assert [found] == perturb([text], perturbations(Words())[name], seed, question)
    assert [char for char in found if char.isdigit()] == [char for char in text if char.isdigit()]
    if name == "typos":
        assert len(found) == len(text)
    if name == "lower_case":
        assert found == text.lower()
    if name in ("spaces", "spaces_lost"):
        assert found.replace(" ", "") == text.replace(" ", "")
    if name == "spaces":
        assert found.split() == text.split()


@given(st.text())
def test_any_text_can_be_perturbed(text: str) -> None:
    for name, perturbation in ALL.items():
        [found] = perturb([text], perturbation, 1, 1)
        assert isinstance(found, str), name


@given(st.lists(st.sampled_from(["we", "do not", "I am", "cannot", "they have", "stay", "is not", "42"])))
def test_what_is_contracted_and_expanded_is_the_text_again(pieces: list[str]) -> None:
    text = " ".join([*pieces, "end"])
    rng = np.random.default_rng(0)
    assert EXPAND.put_into(CONTRACT.put_into(text, rng), rng) == text


def test_other_seeds_and_questions_give_other_texts() -> None:
    text = "a b c d e f g h i j"
    found = {perturb([text], ALL["spaces"], seed, question)[0] for seed in range(4) for question in range(4)}
    assert len(found) == 16


def test_words_are_joined_only_where_asked() -> None:
    joined, parted = (once(name, "ab " * 300) for name in ("spaces_lost", "spaces"))
    assert {len(gap) for gap in re.findall("(?<=b) *", joined)} == {0, 1, 2, 3}
    assert {len(gap) for gap in re.findall("(?<=b) *", parted)} == {1, 2, 3}


def test_a_person_has_one_name_of_the_same_gender_in_a_question_and_its_answers() -> None:
    question = "Emily met Greg. EMILY, who is Greg? Emilys know, O'Emily too"
    drawn = set()
    for number in range(30):
        found, answer = perturb([question, "Greg, not Emily"], ALL["person_names"], 0, number)
        her, him = answer.split(", not ")[::-1]
        assert found == f"{her} met {him}. {her.upper()}, who is {him}? Emilys know, O'{her} too"
        assert her.lower() in FIRST_NAMES["emily"] and him.lower() in FIRST_NAMES["greg"]
        drawn |= {her, him}
    assert len(drawn) > 8
    assert not set(FIRST_NAMES["emily"]) & set(FIRST_NAMES["greg"])


def test_sets_are_helms() -> None:
    assert (ROBUSTNESS, FAIRNESS) == (("mild_mix",), ("dialect", "gender_pronouns", "person_names"))
    assert {*ROBUSTNESS, *FAIRNESS} <= ALL.keys()


def test_the_worst_of_a_question_and_its_perturbations_counts() -> None:
    original = {"a": 1.0, "b": 1.0, "c": 0.0, "d": 0.5}
    perturbed = [{"a": 1.0, "b": 0.0, "c": 1.0, "d": 0.75}, {"d": 0.25, "c": 1.0, "b": 1.0, "a": 1.0}]
    least = worst_case(original, perturbed)
    assert least == {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.25}
    assert fmean(least.values()) == 1.25 / 4
    assert worst_case(original, perturbed, higher_is_better=False) == {"a": 1.0, "b": 1.0, "c": 1.0, "d": 0.75}
    assert worst_case(original, []) == original
    with pytest.raises(ValueError, match="2 are in one alone"):
        worst_case({"a": 1.0}, [{"b": 1.0}])


def test_helms_misspellings_are_read_and_used(shared_data) -> None:
    path = shared_data / "helm" / "correct_to_misspelling.json.gz"
    if not path.exists():
        pytest.skip(f"no {path.name} among the test data")
    table = read_substitutes(path)
    assert len(table) == 6523
    helms = Substitutes(table, any_case=False)
    text = "Already, the new product is not available about 1890."
    rng = np.random.default_rng(0)
    found = {helms.put_into(text, rng).split()[0] for _ in range(100)}
    assert found == {f"{other}," for other in table["Already"]}
    assert helms.put_into("ALREADY 1890", rng) == "ALREADY 1890"
    with_all = perturbations(Words(misspellings=table))["mild_mix"]
    changed = {perturb([text], with_all, 0, question)[0].split()[0] for question in range(100)}
    assert changed == {"already,", *(f"{other}," for other in table["already"])}
    assert all(word not in others for word, others in table.items())


def test_tables_are_read_and_broken_ones_refused(tmp_path) -> None:
    path = tmp_path / "dialect.json"
    path.write_text(json.dumps({"With": ["wit"], "about to": ["finna"]}))
    assert once("dialect", "With me, about to go", Words(dialect=read_substitutes(path))) == "Wit me, finna go"
    (tmp_path / "dialect.json.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert read_substitutes(tmp_path / "dialect.json.gz") == read_substitutes(path)
    assert once("dialect", "With me", Words(dialect={})) == "With me"
    for text, said in (
        ("{", "not JSON"),
        ("[]", "an object of words"),
        ('{"a": []}', "'a': expected a word with a list"),
        ('{"a": "b"}', "'a'"),
        ('{"": ["b"]}', "''"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            read_substitutes(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_substitutes(tmp_path / "none.json")
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(b"{}")[:-6])
    with pytest.raises(DataError, match="cannot be read"):
        read_substitutes(tmp_path / "cut.json.gz")


def test_first_names_are_read_by_race_and_gender(tmp_path) -> None:
    path = tmp_path / "names.txt"
    lines = [
        "Aiesha,first_name,race,black_american,gender,female",
        "Jamel,first_name,race,black_american,gender,male",
        "Amanda, first_name, race, white_american, gender, female",
        "Adam,first_name,race,white_american,gender,male",
        "Robin,first_name,race,white_american",
        "li,last_name,race,chinese",
    ]
    path.write_text("\n".join(lines))
    names = read_first_names(path)
    assert names == {"amanda": ["aiesha"], "adam": ["jamel"], "robin": ["aiesha", "jamel"]}
    assert once("person_names", "Adam, Amanda and Emily", Words(first_names=names)) == "Jamel, Aiesha and Emily"
    with pytest.raises(DataError, match="no first_name has race,martian"):
        read_first_names(path, target="martian")
    path.write_text("\n".join([*lines, "adam,first_name,race"]))
    with pytest.raises(DataError, match=r"names\.txt:7: expected name,first_name,category,value"):
        read_first_names(path)
