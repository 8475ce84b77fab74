from __future__ import annotations

import gzip
import inspect
import itertools
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.documents.table import buffers
from core.errors import DataError
from core.filters import quality_kernels
from core.filters.fasttext_model import carried_model
from core.filters.quality import FastTextQuality, Quality, quality, quality_scores
from core.filters.quality_model import QualityModel, QualityTraining, score, train_quality
from tests.filters.conftest import pairs, texts

GOOD = ["because", "therefore", "explain", "example", "understand", "answer", "question", "why"]
BAD = ["buy", "cheap", "click", "here", "now", "sale", "free", "shipping"]
MASK = (1 << 64) - 1
TEXT = st.lists(
    st.sampled_from(["ab", "AB", "_1", "é", "Ü", "世", "界", "🙂", "'", ".", " ", "\n", "\u3000", "न"]), max_size=20
)
SMALL = QualityTraining(hash_bits=10)


def arrow(contents: list[str]) -> pa.Array:
    return pa.array(contents, pa.large_string())


def made(words: list[str], number: int, seed: int) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices([*words, "the", "a", "of"], k=30)) for _ in range(number)]


def hashed(word: bytes) -> int:
    value = 0xCBF29CE484222325
    for byte in word:
        value = (value ^ byte) * 0x9E3779B97F4A7C15 & MASK
    return mixed(value)


def mixed(value: int) -> int:
    value = (value ^ value >> 32) * 0x9E3779B97F4A7C15 & MASK
    return value ^ value >> 32


def words(text: str) -> list[str]:
    """Runs of letters, digits and _ below U+3000, and every other character that is no ASCII white space alone."""
    found, run = [], ""
    for character in text + " ":
        part = character == "_" or (character.isascii() and character.isalnum()) or "\x80" <= character < "\u3000"
        if part:
            run += character.lower() if character.isascii() else character
            continue
        found += [run] if run else []
        run = ""
        found += [character] if character > " " else []
    return found


@settings(deadline=None)  # the first call compiles
@given(st.lists(TEXT.map("".join), min_size=1, max_size=4))
def test_features_are_the_hashed_words_and_pairs_of_python(contents: list[str]) -> None:
    ends, found = quality_kernels.features(*buffers(arrow(contents)), 12)
    weights = np.random.default_rng(1).normal(size=1 << 12).astype(np.float32)
    means = quality_kernels.mean_weights(*buffers(arrow(contents)), weights)
    for row, text in enumerate(contents):
        hashes = [hashed(word.encode()) for word in words(text)]
        both = itertools.pairwise(hashes)
        expected = hashes + [mixed((one * 0x9E3779B97F4A7C15 + other) & MASK) for one, other in both]
        numbers = [value >> 52 for value in expected]
        assert found[ends[row] : ends[row + 1]].tolist() == numbers
        assert means[row] == pytest.approx(weights[numbers].mean(dtype=float) if numbers else 0, abs=1e-6)


def test_a_trained_model_tells_the_sides_apart_and_comes_back_from_its_files(tmp_path: Path) -> None:
    model = train_quality([arrow(made(GOOD, 200, 1))], [arrow(made(BAD, 200, 2))], SMALL, 7)
    assert model.report["accuracy"] > 0.95 and model.report["auc"] > 0.95
    assert model.report["documents"]["positive"] == {"trained": 180, "held_out": 20}
    fresh = arrow(made(GOOD, 5, 3) + made(BAD, 5, 4))
    assert (score(fresh, model) > 0.5).tolist() == [True] * 5 + [False] * 5
    model.save(tmp_path / "model")
    loaded = QualityModel.load(tmp_path / "model")
    assert loaded.report == model.report
    assert np.array_equal(score(fresh, loaded), score(fresh, model))
    (tmp_path / "model" / "quality.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError, match="train it again"):
        QualityModel.load(tmp_path / "model")


def test_training_hangs_on_seed_and_documents_not_on_batches() -> None:
    good, bad = arrow(made(GOOD, 90, 1)), arrow(made(BAD, 90, 2))
    options = QualityTraining(hash_bits=10, max_documents=40)
    one = train_quality([good], [bad], options, 7)
    other = train_quality([good.slice(0, 13), good.slice(13)], [bad.slice(0, 50), bad.slice(50)], options, 7)
    assert np.array_equal(one.weights, other.weights) and one.report == other.report
    assert one.report["documents"]["negative"] == {"trained": 36, "held_out": 4}
    assert not np.array_equal(one.weights, train_quality([good], [bad], options, 8).weights)


def test_each_training_option_has_its_effect() -> None:
    good, bad = [arrow(made(GOOD, 60, 1))], [arrow(made(BAD, 60, 2))]
    plain = train_quality(good, bad, SMALL, 7)
    assert len(train_quality(good, bad, QualityTraining(hash_bits=8), 7).weights) == 256
    half = train_quality(good, bad, QualityTraining(hash_bits=10, held_out=0.5), 7)
    assert half.report["documents"]["positive"] == {"trained": 30, "held_out": 30}
    strong = train_quality(good, bad, QualityTraining(hash_bits=10, regularization=1.0), 7)
    assert np.abs(strong.weights).max() < np.abs(plain.weights).max() / 100


def test_too_few_documents_are_named() -> None:
    with pytest.raises(DataError, match=r"quality.train.positive: 9 documents"):
        train_quality([arrow(["", *made(GOOD, 9, 1)])], [arrow(made(BAD, 60, 2))], SMALL, 7)


def test_documents_below_the_least_score_are_dropped() -> None:
    model = train_quality([arrow(made(GOOD, 100, 1))], [arrow(made(BAD, 100, 2))], SMALL, 7)
    documents = texts(made(GOOD, 1, 3)[0], made(BAD, 1, 4)[0], "")
    scores = quality_scores(documents["text"].combine_chunks(), model)
    options = Quality.model_validate({"model": "unused", "min_score": float(scores[2])})
    expected = [(None, None), ("low_quality", f"{round(float(scores[1]), 3)}"), (None, None)]
    found = pairs(quality(documents, options, model))
    assert [reason for reason, _ in found] == [reason for reason, _ in expected]
    assert found[1][1] is not None and float(found[1][1]) == pytest.approx(scores[1], abs=1e-3)
    other = Quality.model_validate({"model": "unused", "min_score": 1.0, "sources": ["other"]})
    assert pairs(quality(documents, other, model)) == [(None, None)] * 3


def test_a_fasttext_model_is_asked_for_its_label() -> None:
    model = FastTextQuality(carried_model(), "__label__en")
    model.check()
    scores = quality_scores(arrow(["This is an English sentence.", "Das ist ein deutscher Satz."]), model)
    assert scores.dtype == np.float32 and scores[0] > 0.8 and scores[1] < 0.1
    with pytest.raises(DataError, match="has no label __label__hq"):
        FastTextQuality(carried_model(), "__label__hq").check()


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"min_score": 0.5}, "exactly one of train"),
        (
            {
                "model": "a.bin",
                "train": {"positive": {"a": {"files": "a.txt"}}, "negative": {"b": {"files": "b.txt"}}},
                "min_score": 0.5,
            },
            "exactly one of train",
        ),
        ({"model": "a.bin"}, "exactly one of min_score and top_fraction"),
        ({"model": "a.bin", "min_score": 0.5, "top_fraction": 0.1}, "exactly one of min_score and top_fraction"),
        ({"model": "a.bin", "top_fraction": 0.0}, "greater than 0"),
        (
            {
                "train": {"positive": {"a": {"files": "a.txt"}}, "negative": {"a": {"files": "b.txt"}}},
                "min_score": 0.5,
            },
            "positive and negative both name a: give their sources different names",
        ),
    ],
)
def test_options_that_contradict_are_refused(declared: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Quality.model_validate(declared)


def test_instructions_are_told_from_source_code() -> None:
    folder = Path(os.environ.get("RAYCIPE_TEST_DATA", "../shared/data"), "instruct")
    if not folder.is_dir():
        pytest.skip("no test data")
    lines = [line for path in sorted(folder.glob("*.gz")) for line in gzip.decompress(path.read_bytes()).splitlines()]
    good = [" ".join(str(value) for value in json.loads(line).values()) for line in lines[:300]]
    sources = [inspect.getsource(module) for module in (inspect, json.decoder, random, os)]
    bad = [source[start : start + 800] for source in sources for start in range(0, len(source), 800)]
    model = train_quality([arrow(good)], [arrow(bad)], QualityTraining(hash_bits=16), 1)
    assert model.report["auc"] > 0.95
