"""Snapshots of a leaderboard, made from a seed."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SHOTS = {"ARC": 25, "HellaSwag": 10, "MMLU": 5, "TruthfulQA": 0}
HEADING = ["Model", "Average", *(f"{name} ({shots}-shot)" for name, shots in SHOTS.items()), "Parameters", "URL"]
HOSTILE = "<script>document.title = 'ran'</script></script><img src=x onerror=\"document.title = 'ran'\">"


def row(model: str, *scores: float, average: float | str | None = None, size: str = "", url: str = "") -> list[str]:
    """A row of a snapshot; the average is right unless another is given."""
    mean = round(sum(scores) / len(scores), 2) if average is None else average
    return [model, str(mean), *map(str, scores), size, url]


def write_snapshot(directory: Path, date: str, rows: Sequence[Sequence[str]], heading: Sequence[str] = HEADING) -> Path:
    """A CSV snapshot of a date, given as 2023-05-23."""
    path = directory / f"{date.replace('-', '')}.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([heading, *rows])
    return path


def write_snapshots(directory: Path, models: int, dates: int, named: str = "org/model-{number}-{size}b") -> list[Path]:
    """Weekly snapshots of many models, whose scores are drawn around their own ability and size."""
    random = np.random.default_rng(7)
    sizes = random.choice([1, 3, 7, 13, 30, 65, 70], models)
    ability = np.log(sizes) * 6 + random.normal(0, 5, models)
    levels = np.array([[40], [55], [30], [38]])
    scores = np.clip(levels + ability + random.normal(0, 3, (4, models)), 1, 99).round(1)
    paths = []
    for number in range(dates):
        here = range(0, models - number, 1)
        rows = [
            row(
                named.format(number=each, size=sizes[each]),
                *scores[:, each].tolist(),
                url=f"https://example.org/{each}",
            )
            for each in here
        ]
        date = datetime.date(2023, 5, 1) + datetime.timedelta(weeks=number)
        paths.append(write_snapshot(directory, str(date), rows))
    return paths
