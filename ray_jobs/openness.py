"""`raycipe openness`: how open releases of models are, by the Model Openness Framework."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from core.reporting.formats import visible
from core.reporting.openness import NAMES, TITLES, Openness, Release, evaluate, read_release
from ray_jobs.progress import table_console


def openness(files: list[Path], as_json: bool) -> None:
    """Prints each file's class, percentages and what is missing; nothing before all of them are read."""
    found = [(release, evaluate(release)) for release in map(read_release, files)]
    if as_json:
        answers = [_as_json(release, result) for release, result in found]
        print(json.dumps(answers if len(answers) > 1 else answers[0]))
        return
    console = table_console()
    for number, (release, result) in enumerate(found):
        if number:
            console.print()
        _show(console, release, result)


def _as_json(release: Release, result: Openness) -> dict[str, Any]:
    return {
        "file": str(release.path),
        "class": NAMES[result.classification] if result.classification else "none",
        "percent": {str(number): result.percent[number] for number in sorted(NAMES)},
        "missing": {str(number): dict(result.missing[number]) for number in sorted(NAMES)},
    }


def _show(console: Console, release: Release, result: Openness) -> None:
    console.print(f"{visible(release.model)}: {_told(result.classification)}", style="bold", soft_wrap=True)
    console.print(str(release.path), style="dim", soft_wrap=True)
    percents = Table("class", "", "there", box=None, header_style="bold")
    percents.columns[2].justify = "right"
    for number in NAMES:
        percents.add_row(NAMES[number], TITLES[number], f"{result.percent[number]} %")
    console.print(percents)
    following = (result.classification or 4) - 1
    if following not in NAMES:
        console.print("nothing is missing")
        return
    missing = Table(f"missing for Class {NAMES[following]}", "why", box=None, header_style="bold")
    for name, reason in result.missing[following].items():
        missing.add_row(name, visible(reason))
    console.print(missing)


def _told(classification: int | None) -> str:
    return f"Class {NAMES[classification]}, {TITLES[classification]}" if classification else "no class"


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("openness")
