"""TRL: pack_dataset with best-fit decreasing, of all samples at once and as SFTTrainer does, 1,000 at a time."""

from __future__ import annotations

import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import datasets
from trl.data_utils import pack_dataset

AS_TRAINER, AT_ONCE = 1000, None  # samples in a batch of Dataset.map


def main(sets: str, answer: str) -> None:
    datasets.disable_progress_bars()
    found = {}
    for path in sorted(Path(sets).glob("*.arrow"), key=lambda path: path.stat().st_size):
        capacity = int(path.stem.rsplit("-", 1)[1])
        samples = datasets.Dataset.from_file(str(path)).select_columns(["input_ids"])
        found[path.stem] = {
            name: measured(samples, capacity, batch)
            for name, batch in (("tokens", AT_ONCE), ("tokens, 1,000 at a time", AS_TRAINER))
        }
    Path(answer).write_text(json.dumps({"version": version("trl"), "sets": found}))


def measured(samples: datasets.Dataset, capacity: int, batch: int | None) -> dict[str, float]:
    options = {"batch_size": batch, "load_from_cache_file": False}
    wall, cpu = time.perf_counter(), time.process_time()
    packed = pack_dataset(samples, capacity, "bfd", map_kwargs=options)
    return {"rows": len(packed), "cpu_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}


if __name__ == "__main__":
    main(*sys.argv[1:3])
