"""Rungs, importance, nested sizes and the table of a sweep."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.tuning.importance import parameter_importance
from core.tuning.objective import Objective
from core.tuning.options import Sweep
from core.tuning.rungs import Rungs
from core.tuning.subsets import largest, take_part
from core.tuning.table import SAMPLES, sweep_rows, write_csv
from core.tuning.trials import Report, read_trials, trial_directory, write_end, write_reports, write_trial

OBJECTIVE = Objective({("quiz", "acc"): 1.0}, higher_is_better=True)


def rungs(**options: Any) -> Rungs:
    return Rungs.of(Sweep(space="quickstart", objective="skills_choice", **options))


def test_rungs_of_each_scheduler() -> None:
    assert rungs().budgets == (1,)
    assert rungs(scheduler="asha", reduction_factor=3).budgets == (1, 3, 9)
    assert rungs(scheduler="median", rungs=4).budgets == (1, 2, 3, 4)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=4), st.integers(2, 4), st.integers(2, 5))
def test_every_rung_but_the_last_is_at_a_checkpoint_of_one_phase(phases: list[int], count: int, factor: int) -> None:
    of = rungs(scheduler="asha", rungs=count, reduction_factor=factor)
    every, before = of.every(sum(phases)), 0
    found: dict[int, int] = {}
    for steps in phases:
        for budget in of.budgets:
            step = of.step_in(budget, sum(phases), before, steps)
            if step is not None:
                assert 0 < step <= steps
                assert step % every == 0 or step == steps
                assert budget not in found
                found[budget] = step
        before += steps
    assert set(found) == set(of.budgets)


def test_importance_tells_what_the_score_depends_on() -> None:
    points = [{"rate": rate, "kind": kind} for rate in (1e-4, 1e-3, 1e-2) for kind in (["a"], ["b"])]
    found = parameter_importance(points, [{1e-4: 0.1, 1e-3: 0.9, 1e-2: 0.4}[point["rate"]] for point in points])
    assert next(iter(found)) == "rate"
    assert found["rate"] > 0.9
    assert sum(found.values()) == pytest.approx(1)
    assert parameter_importance(points[:3], [1, 2, 3]) == {}
    assert parameter_importance(points, [0.5] * 6) == {}


def test_the_largest_mixture_contains_all_others() -> None:
    assert largest([{"a": 10, "b": 5}, {"a": 20, "b": 5}, {"a": 15, "b": 1}]) == 1
    assert largest([{"a": 10, "b": 5}, {"a": 20, "b": 1}]) is None
    assert largest([{"a": 10, "b": "all"}, {"a": 20, "b": "all"}]) == 1
    assert largest([{"a": 10}, None]) is None


def documents(directory: Path, count: int) -> None:
    for part in range(2):
        (directory / "talk").mkdir(parents=True, exist_ok=True)
        ids = [f"talk:{part}:{number}" for number in range(count)]
        pq.write_table(pa.table({"id": ids, "text": ids}), directory / f"talk/part-{part:05d}.parquet")


def test_smaller_sizes_lie_in_larger_ones(tmp_path: Path) -> None:
    documents(tmp_path / "whole", 50)
    found = []
    for size in (10, 30, 70):
        assert take_part(tmp_path / "whole", tmp_path / str(size), {"talk": size}, seed=3) == {"talk": size}
        found.append(set(pq.read_table(tmp_path / str(size) / "talk")["id"].to_pylist()))
    assert [len(ids) for ids in found] == [10, 30, 70]
    assert found[0] < found[1] < found[2]


def trial(sweep: Path, number: int, right: list[int], status: str, hours: float) -> None:
    """A trial that answered some of ten questions."""
    directory = trial_directory(sweep, number)
    write_trial(directory, number, {"rate": number, "sources": ["a"]}, [])
    score = len(right) / 10
    report = Report(1, 1, 8, score, 0.1, None, 2.0, 100, 1.0, hours, {"rate": number, "sources": ["a"]})
    write_reports(directory, [report])
    if status == "failed":
        write_end(directory, "failed", "lost, and lost again")
    else:
        write_end(directory, "finished" if status == "finished" else "stopped")
    samples = directory / SAMPLES / "quiz.jsonl"
    samples.parent.mkdir()
    rows = [{"doc_id": n, "filter": "none", "metrics": ["acc"], "acc": float(n in right)} for n in range(10)]
    samples.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def test_the_table_marks_the_best_the_ties_and_the_front(tmp_path: Path) -> None:
    trial(tmp_path, 0, [0, 1, 2, 3, 4, 5, 6, 7, 8], "finished", 2.0)
    trial(tmp_path, 1, [0, 1, 2, 3, 4, 5, 6, 7, 9], "finished", 2.0)  # as good, on other questions
    trial(tmp_path, 2, [0], "finished", 1.0)
    trial(tmp_path, 3, list(range(10)), "stopped", 0.5)  # not to its end: no candidate
    trial(tmp_path, 4, [], "failed", 0.1)
    rows = sweep_rows(read_trials(tmp_path), OBJECTIVE, seed=0)
    assert [row["best"] for row in rows] == [True, False, False, False, False]
    assert [row["tie"] for row in rows] == [False, True, False, False, False]
    assert [row["pareto"] for row in rows] == [True, True, True, False, False]
    write_csv(tmp_path / "sweep.csv", rows)
    with (tmp_path / "sweep.csv").open() as file:
        read = list(csv.DictReader(file))
    assert [row["status"] for row in read] == ["finished", "finished", "finished", "stopped", "failed"]
    assert (read[2]["rate"], read[2]["sources"], read[4]["error"]) == ("2", '["a"]', "lost, and lost again")
