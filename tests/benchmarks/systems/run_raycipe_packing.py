"""raycipe in this process: rows from lengths (its packing alone, and best fit alone), and rows of tokens as files."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow as pa

from core.tokens.packing import best_fit, pack
from core.tokens.shards import write_rows


def main(sets: str, answer: str) -> None:
    found = {}
    for path in sorted(Path(sets).glob("*.arrow"), key=lambda path: path.stat().st_size):  # the first one compiles
        capacity = int(path.stem.rsplit("-", 1)[1])
        lengths = np.load(path.with_suffix(".npy"))
        found[path.stem] = {
            "lengths": measured(lambda lengths=lengths, capacity=capacity: rows_of(pack(lengths, capacity))),
            "best fit alone": measured(lambda lengths=lengths, capacity=capacity: rows_of(best_fit(lengths, capacity))),
            "tokens": measured(lambda path=path, capacity=capacity: written(path, capacity)),
        }
    Path(answer).write_text(json.dumps({"version": version("raycipe"), "sets": found}))


def rows_of(row_of_each: np.ndarray) -> int:
    return int(row_of_each.max()) + 1


def written(path: Path, capacity: int) -> int:
    with pa.memory_map(str(path)) as source:
        return write_rows(pa.ipc.open_stream(source).read_all(), path.with_suffix(".rows"), capacity, packing=True)


def measured(work: Callable[[], int]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    rows = work()
    return {"rows": rows, "cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}


if __name__ == "__main__":
    main(*sys.argv[1:3])
