"""Sweeps of the quickstart: what ASHA finds for how many tokens beside a grid, and what a trial costs beyond training.

    python -m tests.benchmarks.sweep --out tests/benchmarks/results/sweep.json

Both sweeps are the commands that a user gives, over the space `quickstart`, with the same data, the same model to begin
with and the same questions. The overhead is of trials one after the other, after the first; a trial's parts are told
apart by the moments that it leaves with its reports. Beside it is what Ray Train takes for a group of workers that does
nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from core.evaluation.paired import compare_samples
from core.tuning.trials import Trial, read_trials, trial_directory

ASHA = ["sweep.scheduler=asha", "sweep.rungs=3", "sweep.reduction_factor=4", "sweep.rungs_by=validation_loss"]
PARTS = ("grid", "asha", "overhead")
TRIALS = 6  # of the overhead


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--parts", nargs="*", choices=("grid", "asha", "overhead"), default=["grid", "asha", "overhead"]
    )
    parser.add_argument(
        "--work", type=Path, help="directory of the runs; a run that is finished there is not done again"
    )
    parser.add_argument("--set", nargs="*", default=[], help="overrides of the quickstart, for a quick look")
    parser.add_argument("--out", type=Path, help="JSON file for the figures; parts that are not measured stay in it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        work = arguments.work or Path(directory)
        work.mkdir(parents=True, exist_ok=True)
        found: dict[str, Any] = {}
        if "grid" in arguments.parts:
            found["grid"] = carried_out(work, "grid", *arguments.set)
        if "asha" in arguments.parts:
            found["asha"] = carried_out(work, "asha", *ASHA, *arguments.set) | compared(work)
        if "overhead" in arguments.parts:
            found["overhead"] = {
                "in Tune's process": overhead(work, 1),
                "two workers of Ray Train": overhead(work, 2),
            }
            found["floor"] = floor(2)
        if arguments.out:
            kept = json.loads(arguments.out.read_bytes()) if arguments.out.exists() else {}
            arguments.out.write_text(json.dumps(kept | found, indent=2) + "\n")
            show(kept | found)
        else:
            show(found)


def carried_out(work: Path, name: str, *overrides: str) -> dict[str, Any]:
    """A sweep of the quickstart by the command, and what it took."""
    command = [sys.executable, "-m", "ray_jobs.cli", "sweep", "quickstart", *overrides]
    command += ["--runs-dir", str(work), "--run-name", name]
    began = time.monotonic()
    subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, stdout=subprocess.DEVNULL)
    rows = json.loads((work / name / "sweep" / "sweep.json").read_bytes())["trials"]
    best = next(row for row in rows if row["best"])
    return {
        "trials": len(rows),
        "to_the_end": sum(row["status"] == "finished" for row in rows),
        "tokens": sum(row["tokens"] for row in rows),
        "training_seconds": round(sum(row["seconds"] for row in rows), 1),
        "wall_seconds": round(time.monotonic() - began, 1),
        "best": {name: best[name] for name in ("trial", "values", "score", "stderr")},
        "ties": sum(row["tie"] for row in rows),
    }


def compared(work: Path) -> dict[str, Any]:
    """ASHA's best beside the grid's, on the same questions."""
    samples = []
    for name in ("grid", "asha"):
        best = json.loads((work / name / "sweep" / "sweep.json").read_bytes())["best"]["trial"]
        samples.append(trial_directory(work / name / "sweep", best) / "samples" / "skills_choice.jsonl")
    row = next(row for row in compare_samples(*samples, seed=0) if row["metric"] == "acc")
    return {"less_the_grids_best": {name: row[name] for name in ("difference", "low", "high", "p_value")}}


def overhead(work: Path, workers: int) -> dict[str, float]:
    """Seconds of a short trial beyond its training loop and its scoring, by parts: the median of all but the first."""
    name = f"overhead-{workers}"
    space = work / "short.py"
    rates = [number / 1000 for number in range(1, TRIALS + 1)]
    space.write_text(
        f'from ray import tune\n\n\ndef space():\n    return {{"train.sft.learning_rate": tune.grid_search({rates})}}\n'
    )
    overrides = [f"sweep.space={space}", "train.sft.epochs=0.05", f"resources.workers={workers}", "sweep.concurrent=1"]
    carried_out(work, name, *overrides, "train.pretrain.max_steps=20", "evaluate.limit=20")
    trials = read_trials(work / name / "sweep")
    parts = [_parts(before, trial) for before, trial in pairwise(trials)]
    whole = {part: round(median(each[part] for each in parts), 2) for part in parts[0]}
    return {"first trial": round(_first(trials), 2), **whole}


def floor(workers: int) -> dict[str, float]:
    """Seconds of a run of Ray Train that trains nothing, from a process of Ray Tune's."""
    command = [sys.executable, "-m", "tests.benchmarks.ray_floor", str(workers)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout  # Tune's words among it
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def _parts(before: Trial, trial: Trial) -> dict[str, float]:
    assert trial.last is not None and before.last is not None
    moments = trial.last.moments
    parts = {
        "report, Tune, placement, process": moments["entered"] - before.last.moments["scored"],
        "recipe; hand-over to the workers": moments["worker_began"] - moments["entered"],
        "model, data, export": moments["worker_ended"] - moments["worker_began"] - trial.last.seconds,
        "end of the workers": moments["trained"] - moments["worker_ended"],
    }
    told = {"training": trial.last.seconds, "scoring": moments["scored"] - moments["trained"]}
    return {**parts, "overhead": sum(parts.values()), **told}


def _first(trials: list[Trial]) -> float:
    """The overhead of the first trial, from when all of them were laid out."""
    assert trials[0].last is not None
    begun = max((trial.directory / "trial.json").stat().st_mtime for trial in trials)
    return trials[0].last.moments["trained"] - begun - trials[0].last.seconds


def show(found: dict[str, Any]) -> None:
    """Prints what was found as tables of ratios and seconds."""
    console = Console(width=160)
    if "grid" in found and "asha" in found:
        table = Table("", "trials", "to the end", "tokens", "share of the grid's", "wall s", "best score", box=None)
        for name in ("grid", "asha"):
            row = found[name]
            share = row["tokens"] / found["grid"]["tokens"]
            score = f"{row['best']['score']:.3f} ± {row['best']['stderr']:.3f}"
            cells = (row["trials"], row["to_the_end"], row["tokens"], f"{share:.2f}", row["wall_seconds"], score)
            table.add_row(name, *map(str, cells))
        console.print(table)
        console.print(f"ASHA's best less the grid's: {found['asha']['less_the_grids_best']}")
    if "overhead" in found:
        kinds = found["overhead"]
        table = Table("seconds of a trial", *kinds, box=None)
        for part in next(iter(kinds.values())):
            table.add_row(part, *(f"{kind[part]:.2f}" for kind in kinds.values()))
        console.print(table)
        told = "; ".join(f"{kind}: {seconds:.1f} s" for kind, seconds in found["floor"].items())
        console.print(f"a run of Ray Train with two workers alone: {told}")


if __name__ == "__main__":
    main()
