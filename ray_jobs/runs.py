"""`raycipe runs`: what there is, how far it is, how good it is and how much room it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from core.artifacts.stage import STARTED, read_manifest


def runs(runs_dir: Path, as_json: bool) -> None:
    """Lists every run below a directory, the newest first."""
    found = [describe(path.parent) for path in runs_dir.glob("*/recipe.yaml")]
    found.sort(key=lambda run: (run["changed"], run["run"]), reverse=True)
    if as_json:
        print(json.dumps(found))
        return
    if not found:
        print(f"no runs in {runs_dir}")
        return
    table = Table("run", "state", "scores", "size", box=None, header_style="bold")
    for run in found:
        scores = ", ".join(f"{score['task']} {score['metric']} {score['value']:.3f}" for score in run["scores"])
        table.add_row(run["run"], run["state"], scores or "-", decimal(run["bytes"]))
    Console().print(table)


def describe(run_dir: Path) -> dict[str, Any]:
    """A run's stages with their states, its state in words, the last model's scores, its size in bytes."""
    started = [path.parent for path in run_dir.rglob(STARTED) if "superseded" not in path.parts]
    stages = {
        directory.relative_to(run_dir).as_posix(): "unfinished" if read_manifest(directory) is None else "finished"
        for directory in sorted(started, key=lambda directory: (directory / STARTED).stat().st_mtime)
    }
    unfinished = [name for name, state in stages.items() if state == "unfinished"]
    state = f"{list(stages)[-1]} done" if stages else "not begun"
    files = [path for path in run_dir.rglob("*") if path.is_file() and not path.is_symlink()]
    return {
        "run": run_dir.name,
        "state": f"stopped in {unfinished[0]}" if unfinished else state,
        "stages": stages,
        "scores": _scores(run_dir / "evaluate" / "scores.json"),
        "bytes": sum(path.stat().st_size for path in files),
        "changed": max((path.stat().st_mtime for path in files), default=0.0),
        "path": str(run_dir),
    }


def _scores(path: Path) -> list[dict[str, Any]]:
    """The scores of the model that was trained last."""
    if not path.exists():
        return []
    result = orjson.loads(path.read_bytes())
    last = result["models"][-1]
    return [score for score in result["scores"] if score["model"] == last]


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("runs")
