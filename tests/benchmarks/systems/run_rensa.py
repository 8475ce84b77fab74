"""rensa: signatures in Rust from Python's n-grams, 16 bands of 8 rows, no verification."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq
from rensa import RMinHash, RMinHashLSH
from word_grams import grams_of


def main(corpus: str, answer: str) -> None:
    texts = pq.read_table(corpus)["text"].to_pylist()
    index = RMinHashLSH(threshold=0.8, num_perm=128, num_bands=16)
    signatures = RMinHash.from_token_sets(map(grams_of, texts), 128, 42)
    index.insert_many(signatures)
    pairs = [(row, other) for row, others in enumerate(index.query_all(signatures)) for other in others if other > row]
    Path(answer).write_text(json.dumps({"version": version("rensa"), "pairs": pairs}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
