"""The engine through files finds what `find_near_duplicates` finds in memory, however it is cut up."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.dedup.key_files import save_arrays
from core.dedup.minhash import MinhashDedup, band_keys, find_near_duplicates
from ray_jobs.deduplication.document_parts import Part
from ray_jobs.deduplication.near_duplicates import Summary
from ray_jobs.deduplication.near_duplicates import find_near_duplicates as find_through_files
from ray_jobs.progress import Reporter

SEED = 42


def texts_of(path: Path, rows: np.ndarray) -> Iterator[pa.LargeStringArray]:
    texts = pq.read_table(path)["text"].combine_chunks().take(pa.array(rows))
    half = len(texts) // 2
    yield texts[:half]
    yield texts[half:]


def ids_of(number: int, rows: np.ndarray) -> pa.Array:
    return pa.array([f"{number}/{row}" for row in rows.tolist()])


def corpus(seed: int, documents: int = 300, words: int = 60) -> list[str]:
    """Copies, near-copies at all similarities, documents of one template, and some without a word."""
    rng = np.random.default_rng(seed)
    texts: list[list[str]] = []
    template = [f"t{number}" for number in range(words)]
    for number in range(documents):
        kind = rng.random()
        if texts and kind < 0.5:
            text = list(texts[rng.integers(len(texts))])
            for place in rng.integers(0, max(1, len(text)), rng.integers(0, 4)):
                if text:
                    text[place] = f"e{rng.integers(1000)}"
        elif kind < 0.7:
            text = list(template)
            text[rng.integers(words)] = f"n{number}"
        elif kind < 0.75:
            text = []
        else:
            text = [f"w{value}" for value in rng.integers(0, 100_000, rng.integers(1, words))]
        texts.append(text)
    return [" ".join(text) + "." * int(rng.integers(0, 9)) for text in texts]


def cut(texts: list[str], cuts: list[int], directory: Path, options: MinhashDedup, sources: list[str]) -> list[Part]:
    """The texts as parts, cut before the given rows; sources: of the parts, in turn."""
    directory.mkdir(parents=True)
    parts = []
    for number, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(texts)], strict=True)):
        column = pa.array(texts[begin:end], pa.large_string())
        path, keys = directory / f"texts-{number}.parquet", directory / f"keys-{number}.npz"
        pq.write_table(pa.table({"text": column}), path)
        lengths = np.array([len(text.encode()) for text in texts[begin:end]], np.int64)
        save_arrays(keys, keys=band_keys(column, options, SEED), lengths=lengths)
        source = sources[number % len(sources)]
        parts.append(Part(keys if end > begin else None, source, partial(texts_of, path), partial(ids_of, number)))
    return parts


def as_rows(summary: Summary) -> list[dict[str, object]]:
    """What was removed, all rows in the global numbering, without ids."""
    found = []
    for begin, path in zip(summary.bounds, summary.files, strict=False):
        for row in pq.read_table(path).to_pylist():
            found.append(
                {"row": int(begin) + row["row"], "kept_row": row["kept"]}
                | {name: row[name] for name in ("cluster", "jaccard")}
            )
    return found


OPTIONS = [
    MinhashDedup(ngram=2),
    MinhashDedup(ngram=2, threshold=0.6, keep="longest"),
    MinhashDedup(ngram=2, verify=False),
    MinhashDedup(ngram=1, linkage="representative", keep="longest"),
    MinhashDedup(ngram=2, across_sources=False, permutations=64),
    MinhashDedup(ngram=2, keep="priority", priority=["b"], linkage="representative"),
    MinhashDedup(preset="slimpajama"),
]


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@pytest.mark.parametrize("small", [False, True], ids=["one share", "tiny shares"])
def test_cut_into_parts_and_shares_it_removes_the_same_as_in_memory(
    options: MinhashDedup, small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if small:
        monkeypatch.setattr("ray_jobs.deduplication.first_occurrences.PARTITION", 700)
        monkeypatch.setattr("ray_jobs.deduplication.band_shares.SHARE", 900)
        monkeypatch.setattr("core.dedup.verification.CHUNK", 2000)
        monkeypatch.setattr("core.dedup.verification.BLOCK", 50)
    texts = corpus(1)
    cuts = [0, 60, 61, 61, 200]
    parts = cut(texts, cuts, tmp_path / "parts", options, ["a", "b", "c"])
    sizes = np.diff([0, *cuts, len(texts)])
    sources = pa.array(np.repeat([part.source for part in parts], sizes).tolist())
    expected = find_near_duplicates(pa.array(texts, pa.large_string()), options, SEED, sources).to_pylist()
    found = find_through_files(None, parts, options, tmp_path / "work", Reporter())
    assert len(expected) > 50
    assert as_rows(found) == expected
    assert found.removed == len(expected)
    assert found.clusters == len({row["kept_row"] for row in expected})
