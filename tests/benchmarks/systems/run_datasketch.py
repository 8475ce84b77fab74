"""datasketch: signatures in numpy from Python's n-grams, 16 bands of 8 rows, no verification."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pyarrow.parquet as pq
from datasketch import MinHash, MinHashLSH
from word_grams import grams_of


def main(corpus: str, answer: str) -> None:
    index = MinHashLSH(threshold=0.8, num_perm=128, params=(16, 8))
    pairs = []
    for row, text in enumerate(pq.read_table(corpus)["text"].to_pylist()):
        grams = grams_of(text)
        if not grams:
            continue
        signature = MinHash(num_perm=128, seed=42)
        signature.update_batch([gram.encode() for gram in grams])
        pairs += [(other, row) for other in index.query(signature)]
        index.insert(row, signature, check_duplication=False)
    Path(answer).write_text(json.dumps({"version": version("datasketch"), "pairs": pairs}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
