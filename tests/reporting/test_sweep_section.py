"""What a run's page says of its sweep."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import DataError
from core.reporting.options import Report
from core.reporting.run_report import write_run_report
from core.reporting.sweep_charts import varied_pair
from core.reporting.sweep_files import read_sweep
from tests.reporting.made_run import HOSTILE

SIZES = [("200K", 1), ("200K", 2), ("200K", 3), ("400K", 1), ("400K", 2), ("700K", 1)]


def trial(number: int, score: float | None, status: str = "finished", **more: Any) -> dict[str, Any]:
    size, epochs = SIZES[number]
    values = {"sweep.size": size, "train.sft.epochs": epochs, "train.sft.learning_rate": 10.0 ** -(3 + number % 3)}
    work = {"share": 1.0, "steps": 40, "tokens": 1000 * epochs, "seconds": 60.0 * epochs, "device_hours": epochs / 60}
    return {"trial": number, "status": status, "values": values, "score": score, "stderr": 0.02, **work, **more}


def made_sweep() -> dict[str, Any]:
    trials = [
        trial(0, 0.61),
        trial(1, 0.72, tie=True, pareto=True),
        trial(2, 0.74, best=True, pareto=True),
        trial(3, 0.5, "stopped", share=0.25),
        trial(4, None, "failed", error=HOSTILE),
        trial(5, 0.66),
    ]
    return {
        "space": "birbal",
        "objective": "mmlu",
        "higher_is_better": True,
        "searcher": "optuna",
        "scheduler": "asha",
        "start": {"model": "base", "score": 0.4, "stderr": 0.02},
        "best": {"trial": 2, "overrides": []},
        "recipe": "0",
        "keys": ["sweep.size", "train.sft.epochs", "train.sft.learning_rate"],
        "importance": {"train.sft.learning_rate": 0.7, "train.sft.epochs": 0.2, "sweep.size": 0.1},
        "trials": trials,
        "curves": [
            [] if each["score"] is None else [[0.25, 300, 0.45, 0.03], [1.0, 1000, each["score"], 0.02]]
            for each in trials
        ],
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of which only the sweep is there."""
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep/sweep.json").write_text(json.dumps(made_sweep()))
    (tmp_path / "sweep/manifest.json").write_text("{}")
    (tmp_path / "sweep/best.yaml").write_text("extends: birbal-200k\ntrain:\n  sft:\n    epochs: 3\n")
    return tmp_path


def test_the_page_tells_the_sweep(run: Path) -> None:
    page = write_run_report(run, Report()).read_text()
    assert "6 trials, 1 stopped, 1 failed; space birbal, optuna search, asha." in page
    assert "Best on mmlu: trial 2; 1 other is not told from it" in page
    assert "train.sft.learning_rate explains most of the differences (70.0" in page
    assert "within noise" in page
    assert "extends" in page and "birbal-200k" in page
    assert "<script>document.title" not in page


def test_the_charts_show_every_scored_trial(run: Path) -> None:
    write_run_report(run, Report())
    charts = {path.stem: list(csv.DictReader(path.open())) for path in (run / "report/charts").glob("*.csv")}
    assert [row["trial"] for row in charts["Parallel-coordinates"]] == ["0", "1", "2", "3", "5"]
    assert [row["trial"] for row in charts["Score-against-budget"] if row["pareto"] == "true"] == ["1", "2"]
    assert len(charts["Learning-curves-of-trials"]) == 10
    heat = {(row["size"], row["epochs"]): row["trial"] for row in charts["Scores-by-size-and-epochs"]}
    assert heat == {("200K", "1"): "0", ("200K", "2"): "1", ("200K", "3"): "2", ("700K", "1"): "5"}
    assert charts["Importance-of-parameters"][0]["parameter"] == "train.sft.learning_rate"


def test_a_sweep_of_one_trial_has_a_table_and_no_charts(run: Path) -> None:
    made = made_sweep()
    (run / "sweep/sweep.json").write_text(
        json.dumps(made | {"trials": made["trials"][2:3], "curves": made["curves"][2:3]})
    )
    page = write_run_report(run, Report()).read_text()
    assert "1 trial; space birbal" in page
    assert not list((run / "report/charts").glob("Parallel*"))


def test_what_is_set_against_each_other_is_size_and_epochs_first(run: Path) -> None:
    found = read_sweep(run)
    assert found is not None
    assert varied_pair(found[0]) == ("sweep.size", "train.sft.epochs")


def test_a_run_without_a_finished_sweep_says_nothing_of_it(run: Path) -> None:
    (run / "sweep/manifest.json").unlink()
    assert read_sweep(run) is None


def test_a_broken_table_is_told_with_its_place(run: Path) -> None:
    (run / "sweep/sweep.json").write_text(json.dumps(made_sweep() | {"keys": 3}))
    with pytest.raises(DataError, match=r"sweep\.json: keys"):
        write_run_report(run, Report())
