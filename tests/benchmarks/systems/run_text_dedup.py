"""text-dedup: its command `text_dedup.minhash`, 16 bands of 8 rows, in one process; it writes what it keeps."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

from text_dedup import minhash


def main(corpus: str, answer: str, directory: str) -> None:
    options = {
        "--path": "parquet",
        "--data_files": corpus,
        "--split": "train",
        "--cache_dir": f"{directory}/cache",
        "--output": f"{directory}/kept",
        "--column": "text",
        "--ngram": "5",
        "--num_perm": "128",
        "--b": "16",
        "--r": "8",
        "--num_proc": "1",
        "--hash_func": "xxh3",  # its fastest
        "--hash_bits": "32",
    }
    minhash.main([word for option in options.items() for word in option], standalone_mode=False)
    clusters = {row: minhash.uf.find(row) for row in list(minhash.uf.parent)}
    Path(answer).write_text(json.dumps({"version": version("text-dedup"), "clusters": list(clusters.items())}))


if __name__ == "__main__":
    main(*sys.argv[1:4])
