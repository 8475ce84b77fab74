"""raycipe in this process: the whole of `raycipe dedup` without Ray, or a part of it."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.dedup.minhash import MinhashDedup, find_near_duplicates
from core.dedup.ngrams import ordered_ngrams

SEED = 42
PARTS = ("read", "hashes", "kernel", "unverified", "whole")


def main(what: str, corpus: str, answer: str, directory: str) -> None:
    found: dict[str, object] = {"version": version("raycipe")}
    options = MinhashDedup(threshold=0.8, ngram=5)
    if what == "unverified":
        options = MinhashDedup(threshold=0.8, ngram=5, verify=False, permutations=128, bands=16, rows_per_band=8)
    if what == "whole":
        found["dropped"] = _through_files(corpus, options, Path(directory))
    else:
        content = pq.read_table(corpus, columns=["text"])["text"].combine_chunks().cast(pa.large_string())
        if what == "hashes":
            ordered_ngrams(content, options.ngram)
        elif what != "read":
            found["dropped"] = find_near_duplicates(content, options, SEED)["row"].to_pylist()
    Path(answer).write_text(json.dumps(found))


def _through_files(corpus: str, options: MinhashDedup, directory: Path) -> list[int]:
    from ray_jobs.dedup import deduplicate
    from ray_jobs.progress import Reporter

    deduplicate([corpus], directory / "out", options, "text", None, SEED, False, None, Reporter())
    rows: list[int] = pq.read_table(directory / "out" / "removed", columns=["row"])["row"].to_pylist()
    return rows


if __name__ == "__main__":
    main(*sys.argv[1:5])
