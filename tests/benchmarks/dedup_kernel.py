"""Where near-deduplication in one process spends its time, beside the floor: reading Parquet and hashing
n-grams, of which one minimum per document is kept.

    python -m tests.benchmarks.dedup_kernel --documents 60000 --out FILE.json

The documents are those of `dedup_corpus`. CPU seconds of this process, the fastest of some runs; `dedup_systems` has
the comparison with others, `dedup_scale` the whole command.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.dedup.candidates import candidate_pairs
from core.dedup.minhash import MinhashDedup, band_keys, near_duplicates
from core.dedup.ngrams import ordered_ngrams
from core.dedup.verification import exact_jaccards, similar_pairs
from tests.benchmarks.dedup_corpus import NGRAM, SEED, corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000, help="documents, with the planted ones")
    parser.add_argument("--planted", type=float, default=0.2, help="share of planted near-duplicates")
    parser.add_argument("--threshold", type=float, default=0.8, help="Jaccard similarity of duplicates")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each step, of which the fastest counts")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()

    texts = corpus(arguments.documents, int(arguments.documents * arguments.planted))
    options = MinhashDedup(threshold=arguments.threshold, ngram=NGRAM)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "documents.parquet"
        pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), path, compression="zstd")
        rows = steps(path, options, arguments.repeats)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    floor = sum(row["cpu_seconds"] for row in rows if row["floor"])
    whole = sum(row["cpu_seconds"] for row in rows if not row["beside"])
    print(f"{len(texts):,} documents, {megabytes:.1f} MB, {'x'.join(map(str, options.banding))} bands x rows\n")
    print(f"{'step':30}{'CPU s':>8}{'share':>8}{'MB/CPU-s':>10}")
    for row in rows:
        row["share"] = None if row["beside"] else row["cpu_seconds"] / whole
        share = "" if row["share"] is None else f"{row['share']:.0%}"
        print(f"{row['step']:30}{row['cpu_seconds']:>8.2f}{share:>8}{megabytes / row['cpu_seconds']:>10.0f}")
    print(f"{'all':30}{whole:>8.2f}{'':8}{megabytes / whole:>10.0f}")
    print(f"\nThe floor, reading and hashing alone, is {floor / whole:.0%} of all.")
    if arguments.out:
        about = {"documents": len(texts), "megabytes": megabytes, "banding": list(options.banding)}
        found = {"corpus": about, "steps": rows, "cpu_seconds": whole, "floor_share": floor / whole}
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")


def steps(path: Path, options: MinhashDedup, repeats: int) -> list[dict[str, Any]]:
    """CPU seconds of each step; floor: it is a part of the floor; beside: it is no part of the work itself."""
    rows: list[dict[str, Any]] = []

    def run(step: str, work: Callable[[], Any], floor: bool = False, beside: bool = False) -> Any:
        work()  # compiles
        fastest, found = float("inf"), None
        for _ in range(repeats):
            start = time.process_time()
            found = work()
            fastest = min(fastest, time.process_time() - start)
        rows.append({"step": step, "cpu_seconds": fastest, "floor": floor, "beside": beside})
        return found

    content = run("read Parquet", partial(_read, path), floor=True)
    least = MinhashDedup(ngram=options.ngram, permutations=1, bands=1, rows_per_band=1, verify=False)
    run("(n-gram hashes, one minimum)", partial(band_keys, content, least, SEED), floor=True, beside=True)
    run("(n-gram hashes written out)", partial(ordered_ngrams, content, options.ngram), beside=True)
    keys = run("keys of bands", partial(band_keys, content, options, SEED))
    pairs = run("candidate pairs", partial(candidate_pairs, keys))
    like, jaccards = run(
        "exact similarity",
        partial(similar_pairs, content, pairs, options.ngram, options.unit, options.threshold, every=False),
    )

    def clusters() -> pa.Table:
        lengths = np.ones(len(content), np.int64)
        exact = partial(_exact, content, options)
        return near_duplicates(like, jaccards, lengths, options, None, exact)

    run("clusters", clusters)
    return rows


def _read(path: Path) -> pa.LargeStringArray:
    return pq.read_table(path)["text"].combine_chunks().cast(pa.large_string())


def _exact(content: pa.LargeStringArray, options: MinhashDedup, pairs: Any) -> Any:
    return exact_jaccards(content, pairs, options.ngram, options.unit)


if __name__ == "__main__":
    main()
