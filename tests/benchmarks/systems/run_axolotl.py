"""axolotl: rows from lengths by its multipack sampler, with the defaults of its recipes, in one process."""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from axolotl.utils.samplers import MultipackBatchSampler

GROUP, SAMPLES_PER_ROW = 100_000, 200  # sample_packing_group_size, sample_packing_bin_size


def main(sets: str, answer: str) -> None:
    found = {}
    for path in sorted(Path(sets).glob("*.npy"), key=lambda path: path.stat().st_size):  # the first one compiles
        capacity = int(path.stem.rsplit("-", 1)[1])
        lengths = np.load(path)
        order = np.random.default_rng(0).permutation(len(lengths)).tolist()
        wall, cpu = time.perf_counter(), time.process_time()
        sampler = MultipackBatchSampler(
            order, 1, capacity, lengths, SAMPLES_PER_ROW, drop_last=False, group_size=GROUP, num_processes=1
        )
        rows = len(sampler.generate_batches())
        found[path.stem] = {
            "lengths": {
                "rows": rows,
                "cpu_seconds": time.process_time() - cpu,
                "wall_seconds": time.perf_counter() - wall,
            }
        }
    Path(answer).write_text(json.dumps({"version": version("axolotl"), "sets": found}))


if __name__ == "__main__":
    main(*sys.argv[1:3])
