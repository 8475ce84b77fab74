from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from core.dedup.bloom import BloomDedup, BloomFilter, bloom_duplicates, count_ngrams
from core.documents.ledger import SPANS
from core.errors import DataError, ResourceError

unhurried = settings(deadline=None)  # the first example waits for the compiler
EXACT = 1e-9  # a rate at which no test of this size sees a false positive


def column(*texts: str) -> pa.LargeStringArray:
    return pa.array(texts, pa.large_string())


def random_hashes(count: int, seed: int) -> NDArray[np.uint64]:
    return np.random.default_rng(seed).integers(0, 2**64, count, np.uint64)


def run(options: BloomDedup, *texts: str) -> tuple[list[str | None], list[list[str]]]:
    """The evidence of dropped documents, and what is cut of each."""
    content = column(*texts)
    known = BloomFilter.create(count_ngrams(content, options), EXACT)
    verdict = bloom_duplicates(content, known, options)
    evidence: list[str | None] = verdict.evidence.to_pylist()
    assert verdict.reason.to_pylist() == [None if found is None else "seen_before" for found in evidence]
    assert verdict.spans is not None and verdict.spans.schema == SPANS
    assert set(verdict.spans["reason"].to_pylist()) <= {"seen_before"}
    parts: list[list[str]] = [[] for _ in texts]
    for span in verdict.spans.to_pylist():
        parts[span["row"]].append(texts[span["row"]].encode()[span["begin"] : span["end"]].decode())
    return evidence, parts


@pytest.mark.parametrize(
    ("expected", "rate"), [(1000, 0.5), (10_000, 0.1), (100_000, 0.01), (30, 0.01), (30_000, 0.0007)]
)
def test_the_rate_of_false_positives_is_the_stated_one_and_nothing_is_forgotten(expected: int, rate: float) -> None:
    known = BloomFilter.create(expected, rate)
    added, others = random_hashes(expected, 1), random_hashes(200_000, 2)
    known.add(added)
    assert known.contains(added).all()
    found = known.contains(others).mean()
    deviation = (rate / len(others)) ** 0.5 + rate * expected**-0.5  # of the sample, and of the filter's own fill
    assert found <= rate + 4 * deviation
    assert found >= 0.8 * rate - 4 * deviation  # it is no larger than it must be
    assert known.false_positive_rate() == pytest.approx(found, rel=0.1, abs=4 * deviation)


def test_entries_that_follow_each_other_are_as_well_spread_as_random_ones() -> None:
    known = BloomFilter.create(20_000, 0.01)
    known.add(np.arange(20_000, dtype=np.uint64))
    assert known.contains(np.arange(20_000, 220_000, dtype=np.uint64)).mean() < 0.012


def test_a_filter_is_of_the_known_optimal_size() -> None:
    known = BloomFilter.create(1_000_000, 0.01)
    assert known.probes == 7
    assert known.size / 1_000_000 == pytest.approx(9.59, abs=0.01)
    assert known.bits.nbytes == -(-known.size // 64) * 8
    assert BloomFilter.create(0, 0.9).bits.nbytes >= 8
    assert not BloomFilter.create(0, 0.5).contains(random_hashes(100, 3)).any()


def test_a_filter_beyond_the_memory_is_refused_with_both_sizes() -> None:
    with pytest.raises(
        ResourceError, match=r"10,000,000,000,000,000 n-grams .* takes 11,991,193.4 GB, and this machine has"
    ):
        BloomFilter.create(10**16, 0.01)


def test_a_filter_with_too_many_entries_says_its_real_rate() -> None:
    known = BloomFilter.create(1000, 0.01)
    assert known.false_positive_rate() == 0
    known.add(random_hashes(5000, 4))
    assert known.false_positive_rate() > 0.5
    assert known.contains(random_hashes(10_000, 5)).mean() == pytest.approx(known.false_positive_rate(), abs=0.05)


def test_a_saved_filter_is_the_same_one(tmp_path: Path) -> None:
    known = BloomFilter.create(1000, 0.01)
    known.add(random_hashes(1000, 6))
    known.save(tmp_path / "known.part")
    again = BloomFilter.load(tmp_path / "known.part")
    assert (again.size, again.probes) == (known.size, known.probes)
    assert np.array_equal(again.bits, known.bits)
    again.add(random_hashes(10, 7))
    assert again.contains(random_hashes(10, 7)).all()


def test_a_file_that_is_no_filter_is_refused_by_name(tmp_path: Path) -> None:
    BloomFilter.create(1000, 0.01).save(tmp_path / "cut")
    whole = (tmp_path / "cut").read_bytes()
    np.save(tmp_path / "shorter.npy", np.load(tmp_path / "cut")[:-1])
    (tmp_path / "cut").write_bytes(whole[:500])
    (tmp_path / "text").write_text("no filter")
    np.save(tmp_path / "other.npy", np.zeros(10))
    for name in ("cut", "text", "other.npy", "shorter.npy", "missing"):
        with pytest.raises(DataError, match=name):
            BloomFilter.load(tmp_path / name)


def test_paragraphs_seen_before_are_cut_with_their_line_ends() -> None:
    options = BloomDedup(unit="paragraph", ngram=2)
    assert run(options, "a b c\n\nd e f\n", "new words here\nd e f\na b c") == (
        [None, None],
        [[], ["d e f\n", "a b c"]],
    )


def test_documents_seen_before_are_dropped_and_say_how_much_of_them() -> None:
    options = BloomDedup(unit="document", ngram=2)
    evidence, parts = run(options, "a b c\nd", "x y z", "a b c d", "a b c d e")
    assert evidence == [None, None, "3 of 3 2-grams", None]  # 3 of 4 is not more than .8
    assert parts == [[], [], [], []]


def test_by_both_a_document_is_dropped_for_its_paragraphs_together() -> None:
    first = "a b c d e f g h i j k l\nm n"
    second = "a b c d e f g h i j k l\nx y"
    assert run(BloomDedup(unit="both", ngram=2), first, second, second) == (
        [None, "11 of 12 2-grams", "12 of 12 2-grams"],
        [[], [], []],
    )
    third = "a b c\nx y z w v"
    assert run(BloomDedup(unit="both", ngram=2), "a b c", third, "x y z w v u") == (
        [None, None, None],
        [[], ["a b c\n"], []],
    )


def test_the_share_that_is_too_much_is_that_of_the_threshold() -> None:
    texts = ("a b c d e", "a b c x y")  # 2 of 4
    assert run(BloomDedup(unit="document", ngram=2, threshold=0.5), *texts)[0] == [None, None]
    assert run(BloomDedup(unit="document", ngram=2, threshold=0.49), *texts)[0] == [None, "2 of 4 2-grams"]


def test_texts_of_fewer_tokens_count_as_one_ngram_down_to_the_minimum() -> None:
    texts = ("one two\n\nthree", "one two\nthree")
    assert run(BloomDedup(unit="paragraph", ngram=3), *texts)[1] == [[], []]
    assert run(BloomDedup(unit="paragraph", ngram=3, min_ngram=2), *texts)[1] == [[], ["one two\n"]]
    assert run(BloomDedup(unit="paragraph", ngram=3, min_ngram=1), *texts)[1] == [[], ["one two\n", "three"]]
    with pytest.raises(ValidationError, match="min_ngram is 4 tokens, more than the 3 of ngram"):
        BloomDedup(ngram=3, min_ngram=4)


def test_case_and_punctuation_count_and_white_space_does_not() -> None:
    options = BloomDedup(unit="document", ngram=2)
    evidence, _ = run(
        options, "Hello, world!", "Hello ,\tworld !", "hello world", "你好，世界", "你 好，世界", "हिन्दी में"
    )
    assert [found is not None for found in evidence] == [False, True, False, False, True, False]


def test_a_stricter_rate_takes_a_larger_filter() -> None:
    assert BloomDedup().false_positive_rate == 0.01
    sizes = [
        BloomFilter.create(1000, BloomDedup(false_positive_rate=rate).false_positive_rate).size for rate in (0.1, 0.001)
    ]
    assert sizes[1] == pytest.approx(3 * sizes[0], rel=0.01)


def reference(
    texts: list[str], unit: str, ngram: int, least: int, threshold: float
) -> tuple[list[bool], list[list[str]]]:
    """The same with a set that makes no mistakes; tokens are parted by single spaces."""
    known: set[tuple[str, ...]] = set()
    dropped: list[bool] = []
    cut: list[list[str]] = []
    for text in texts:
        own: list[str] = []
        seen = total = 0
        for part in [text] if unit == "document" else text.splitlines(keepends=True):
            tokens = part.split()
            grams = [tuple(tokens[i : i + ngram]) for i in range(len(tokens) - ngram + 1)]
            if not grams and len(tokens) >= least:
                grams = [tuple(tokens)]
            here = sum(gram in known for gram in grams)
            seen, total = seen + here, total + len(grams)
            if here > threshold * len(grams):
                own.append(part)
            else:
                known.update(grams)
        dropped.append(unit != "paragraph" and seen > threshold * total)
        cut.append([] if unit == "document" or dropped[-1] else own)
    return dropped, cut


LINES = st.lists(st.sampled_from(["a", "b", "é", "中", "\n"]), max_size=15).map(" ".join)


@unhurried
@given(
    st.lists(LINES, max_size=6),
    st.sampled_from(["paragraph", "document", "both"]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.3, 0.8]),
)
def test_verdicts_are_those_of_an_exact_set(
    texts: list[str], unit: str, ngram: int, least: int, threshold: float
) -> None:
    least = min(least, ngram)
    options = BloomDedup.model_validate({"unit": unit, "ngram": ngram, "min_ngram": least, "threshold": threshold})
    evidence, parts = run(options, *texts)
    assert ([found is not None for found in evidence], parts) == reference(texts, unit, ngram, least, threshold)


def test_batches_make_no_difference() -> None:
    texts = column(*(f"document {i % 7} has words\nand a line {i % 5} of its own" for i in range(60)))
    options = BloomDedup(ngram=3)
    whole, split = (BloomFilter.create(count_ngrams(texts, options), 0.01) for _ in range(2))
    verdict = bloom_duplicates(texts, whole, options)
    parts = [bloom_duplicates(part, split, options) for part in (texts[:17], texts[17:])]
    assert pa.concat_arrays([part.evidence for part in parts]).equals(verdict.evidence)
    assert np.array_equal(whole.bits, split.bits)


def test_nothing_and_separators_alone_are_never_seen_before() -> None:
    for texts in ((), ("", ""), (" \n\n\t", " \n\n\t")):
        for unit in ("paragraph", "document", "both"):
            evidence, parts = run(BloomDedup.model_validate({"unit": unit}), *texts)
            assert evidence == [None] * len(texts)
            assert parts == [[] for _ in texts]


def test_a_document_of_50_megabytes_takes_seconds() -> None:
    texts = column("the same line again and again\n" * 1_700_000)
    options = BloomDedup(ngram=3)
    start = time.monotonic()
    count = count_ngrams(texts, options)
    assert count == 4 * 1_700_000
    verdict = bloom_duplicates(texts, BloomFilter.create(count, 0.01), options)
    assert verdict.evidence.to_pylist() == [f"{count - 4} of {count} 3-grams"]
    assert time.monotonic() - start < 10
