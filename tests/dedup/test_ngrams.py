from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.dedup.ngrams import CODE_POINTS, Shingles, Unit, character_tables, ordered_ngrams, shingles
from tests.dedup.reference import in_word, words_of

PIECES = ["a", "B", "_", "9", " ", "\n", ".", "'", "é", "É", "İ", "Σ", "ΟΔΟΣ", "ß", "ſ", "中", "文", "。", "हि", "में"]
PIECES += ["👍", "👩‍👩‍👧", "e\u0301", "\u200b", "\u00ad", "ǅ", "①", "²", "𝕬", "𐐀", "\U000e0041", "word", "Word "]
TEXT = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))

unhurried = settings(deadline=None)  # the first example waits for the compiler


def column(*texts: str | None) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def tokens(text: str, unit: Unit) -> list[str]:
    words = words_of(text)
    return words if unit == "word" else list(" ".join(words))


def brute_force(text: str, n: int, unit: Unit) -> list[str]:
    """Every n-gram in order, as a text that has the same tokens."""
    found = tokens(text, unit)
    joint = " " if unit == "word" else ""
    if 0 < len(found) < n:
        return [joint.join(found)]
    return [joint.join(found[i : i + n]) for i in range(len(found) - n + 1)]


def sets(found: Shingles) -> list[list[int]]:
    return [part.tolist() for part in np.split(found.hashes, found.offsets[1:-1])]


def hashes_of(grams: list[str]) -> list[int]:
    """The hash of each n-gram as the whole of a short document."""
    return [int(found) for found in shingles(column(*grams), 1000, "word").hashes]


def test_every_code_point_is_lowered_and_counted_as_part_of_a_word_or_not() -> None:
    _, folded = character_tables()
    by_neighbours = {ord("Σ"), ord("İ")}
    for code in set(range(CODE_POINTS)) - set(range(0xD800, 0xE000)) - by_neighbours:
        lowered = chr(code).lower()
        assert folded[code] == (ord(lowered) if in_word(lowered) else 0), hex(code)


@unhurried
@given(st.lists(TEXT, min_size=1, max_size=6), st.integers(1, 6))
def test_word_ngrams_are_those_of_python(texts: list[str], n: int) -> None:
    for text, found in zip(texts, sets(shingles(column(*texts), n)), strict=True):
        assert found == sorted(set(hashes_of(brute_force(text, n, "word"))))
        assert len(found) == len(set(brute_force(text, n, "word")))


@unhurried
@given(st.lists(TEXT, min_size=1, max_size=6), st.integers(1, 6))
def test_character_ngrams_of_two_texts_are_shared_as_in_python(texts: list[str], n: int) -> None:
    expected = [set(brute_force(text, n, "character")) for text in texts]
    found = [set(part) for part in sets(shingles(column(*texts), n, "character"))]
    for one, first in zip(expected, found, strict=True):
        assert len(one) == len(first)
        assert [len(one & other) for other in expected] == [len(first & other) for other in found]


@unhurried
@given(TEXT, st.integers(1, 6))
def test_ordered_ngrams_keep_order_and_repeats(text: str, n: int) -> None:
    assert ordered_ngrams(column(text), n).hashes.tolist() == hashes_of(brute_force(text, n, "word"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("  ... \n", 0),
        ("Word", 1),
        ("don't stop_here 3.14", 5),
        ("深度学习。模型 训练", 3),
        ("हिन्दी में", 2),  # vowel signs are combining marks
        ("राम रीम", 2),
        ("e\u0301te\u0301", 1),
        ("1️⃣ ❤️", 1),
        ("naïve NAÏVE Naïve", 1),
        ("ok👍ok 👩‍👩‍👧", 1),
        ("ΟΔΟΣ οδος", 1),  # a final sigma
        ("ΟΔΟΣ.Α", 2),  # not a final one for Python
        ("İ i̇ i", 2),
    ],
)
def test_words_of_every_script_are_counted(text: str, words: int) -> None:
    assert len(set(tokens(text, "word"))) == words
    assert len(shingles(column(text), 1).hashes) == words


def test_a_text_with_fewer_tokens_than_an_ngram_is_one_ngram_and_an_empty_one_none() -> None:
    found = shingles(column("one two", "", "One, Two!", "two one"), 5)
    assert np.diff(found.offsets).tolist() == [1, 0, 1, 1]
    assert found.hashes[0] == found.hashes[1] != found.hashes[2]


def test_slices_nulls_and_empty_columns_are_read_rightly() -> None:
    whole = column("skipped text", "a b c", None, "ΣΑΣ d", "also skipped")
    part = shingles(whole[1:4], 1)
    assert sets(part) == sets(shingles(column("a b c", "", "σας d"), 1))
    assert shingles(whole[:0], 3).offsets.tolist() == [0]
    assert shingles(column(None, None), 3).offsets.tolist() == [0, 0, 0]


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_few_ngrams_many_times_over_come_out_once_each(different: int, n: int, seed: int) -> None:
    words = [f"w{number}" for number in np.random.default_rng(seed).integers(0, different, 3000)]
    (found,) = sets(shingles(column(" ".join(words)), n))
    assert found == sorted(set(found))
    assert len(found) == len({tuple(words[i : i + n]) for i in range(len(words) - n + 1)})


@pytest.mark.parametrize("filler", ["", " é"])
def test_a_document_of_five_megabytes_has_all_its_ngrams(filler: str) -> None:
    numbers = np.random.default_rng(0).integers(0, 5000, 900_000)
    text = " ".join(f"w{number}" for number in numbers) + filler
    assert len(text) > 5_000_000
    triples = np.unique(np.stack([numbers[:-2], numbers[1:-1], numbers[2:]], axis=1), axis=0)
    assert len(shingles(column(text), 3).hashes) == len(triples) + bool(filler)
