from __future__ import annotations

import pickle
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.dedup.decontaminate import Decontaminate, EvaluationIndex, contamination
from core.documents.source import Fields, Source

AGAINST = {"questions": Source(files="questions.jsonl", fields=Fields(text="question"))}
LONG = "Natalia sold clips to 48 of her friends in April, and then she sold half as many in May."
SHORT = "What is the capital of the Swiss Confederation?"
unhurried = settings(deadline=None)  # the first example waits for the compiler


def column(*texts: str) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def options(ngram: int = 13, minimum: int = 8) -> Decontaminate:
    return Decontaminate(against=AGAINST, ngram=ngram, minimum=minimum)


def index(*items: str, ngram: int = 13, minimum: int = 8) -> EvaluationIndex:
    return EvaluationIndex.build([f"q{i}" for i in range(len(items))], column(*items), options(ngram, minimum))


def evidence(found: EvaluationIndex, *texts: str) -> list[str | None]:
    verdict = contamination(column(*texts), found)
    hits: list[str | None] = verdict.evidence.to_pylist()
    assert verdict.reason.to_pylist() == [None if hit is None else "contaminated" for hit in hits]
    return hits


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def test_thirteen_words_of_an_item_in_sequence_are_a_leak_and_twelve_are_not() -> None:
    part = LONG.split()[2:15]
    thirteen = "clips to 48 of her friends in april and then she sold half"
    assert evidence(index(LONG), "Before: " + "  ".join(part) + "!", " ".join(part[:-1]), " ".join(part[1:])) == [
        f"q0: {thirteen}",
        None,
        None,
    ]


def test_an_item_of_fewer_words_is_a_leak_as_a_whole() -> None:
    found = index(LONG, SHORT)
    whole = "what is the capital of the swiss confederation"
    assert evidence(
        found, f"Quiz. {SHORT.upper()} Bern.", SHORT[:-16], "is the capital of the Swiss Confederation?"
    ) == [
        f"q1: {whole}",
        None,
        None,
    ]


def test_items_shorter_than_the_minimum_are_counted_and_not_searched_for() -> None:
    found = index("one two three four five six seven", "", SHORT)
    assert found.too_short == 2
    assert evidence(found, "one two three four five six seven", "") == [None, None]


def test_case_and_punctuation_do_not_count_in_any_script() -> None:
    found = index(
        "Ο ΣΟΦΟΣ λέει: ένα δύο τρία τέσσερα πέντε", "हम सब — एक दो तीन चार पाँच", "你好 世界 一 二 三 四 五 六"
    )
    assert found.too_short == 0
    assert evidence(
        found,
        "«ο σοφος» ΛΈΕΙ ένα, δύο; ΤΡΊΑ τέσσερα πέντε",
        "ο σοφοσ λέει ένα δύο τρία τέσσερα πέντε",
        "हम, सब, एक, दो, तीन, चार, पाँच।",
        "「你好」，世界。一、二、三、四、五、六！",
    ) == [
        "q0: ο σοφος λέει ένα δύο τρία τέσσερα πέντε",
        None,  # no final sigma
        f"q1: {' '.join(words('हम सब एक दो तीन चार पाँच'))}",
        "q2: 你好 世界 一 二 三 四 五 六",
    ]


def test_the_first_leak_in_the_text_is_told_and_at_one_place_the_longest() -> None:
    start = " ".join(words(LONG)[:9])
    found = index(SHORT, start, LONG)
    first_words = " ".join(words(LONG)[:13])
    assert evidence(found, f"{LONG} {SHORT}", f"{SHORT} {LONG}", f"{start} {SHORT}") == [
        f"q2: {first_words}",
        f"q0: {' '.join(words(SHORT))}",
        f"q1: {start}",
    ]


def test_of_items_with_the_same_words_the_first_is_told() -> None:
    assert evidence(index(SHORT, SHORT.lower()), SHORT) == [f"q0: {' '.join(words(SHORT))}"]


def test_a_hash_that_other_words_share_drops_nothing_and_the_search_goes_on() -> None:
    """Two items that trade their hashes: what a collision would look like."""
    found = index(SHORT, "one two three four five six seven eight", LONG)
    short = [int(np.flatnonzero(found.items == item)[0]) for item in (0, 1)]
    items = found.items.copy()
    items[short] = items[short[::-1]]
    colliding = replace(found, items=items)
    leak = f"q2: {' '.join(words(LONG)[:13])}"
    assert evidence(colliding, SHORT, f"{SHORT} {SHORT} {LONG}", LONG) == [None, leak, leak]


def test_the_index_is_the_same_in_another_process() -> None:
    found = pickle.loads(pickle.dumps(index(LONG, SHORT)))
    assert evidence(found, SHORT) == evidence(index(LONG, SHORT), SHORT) != [None]


def test_nothing_to_search_for_or_in_drops_nothing() -> None:
    assert evidence(index(), SHORT) == [None]
    assert evidence(index("too short"), SHORT, "") == [None, None]
    assert evidence(index(SHORT)) == []


def test_a_minimum_beyond_the_ngram_is_refused() -> None:
    with pytest.raises(ValidationError, match="minimum is 14 words, more than the 13 of ngram"):
        options(minimum=14)


WORDS = st.lists(st.sampled_from(["a", "B", "c", "é", "中"]), max_size=12)


@unhurried
@given(st.lists(WORDS, max_size=4), st.lists(WORDS, min_size=1, max_size=4))
def test_leaks_are_those_of_a_brute_force_search(items: list[list[str]], texts: list[list[str]]) -> None:
    ngram, minimum = 4, 2
    found = evidence(index(*map(" ".join, items), ngram=ngram, minimum=minimum), *map(" ".join, texts))
    sequences: dict[str, str] = {}
    for number, item in enumerate(items):
        whole = [word.lower() for word in item]
        size = min(len(whole), ngram)
        for i in range(len(whole) - size + 1 if size >= minimum else 0):
            sequences.setdefault(" ".join(whole[i : i + size]), f"q{number}")
    for text, hit in zip(texts, found, strict=True):
        lowered = [word.lower() for word in text]
        at = [
            " ".join(lowered[i : i + size])
            for i in range(len(lowered))
            for size in range(ngram, minimum - 1, -1)
            if i + size <= len(lowered)
        ]
        expected = next((f"{sequences[words]}: {words}" for words in at if words in sequences), None)
        assert hit == expected
