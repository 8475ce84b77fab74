"""Scores of lm-eval's result files and of our own runs."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import pytest

from core.errors import DataError
from core.reporting.leaderboard.board import build
from core.reporting.leaderboard.entries import Benchmark
from core.reporting.leaderboard.files import read_source
from tests.reporting.made_leaderboard import row, write_snapshot

# As lm-eval 0.4.13 writes them, less what is not read.
RESULTS: dict[str, Any] = {
    "results": {
        "arc_challenge": {
            "alias": "arc_challenge",
            "sample_len": 100,
            "acc,none": 0.5,
            "acc_stderr,none": 0.05,
            "acc_norm,none": 0.53,
            "acc_norm_stderr,none": 0.05,
        },
        "arc_easy": {"alias": "arc_easy", "acc,none": 0.6, "acc_norm,none": 0.57, "acc_norm_stderr,none": 0.05},
        "mmlu": {"acc,none": 0.25, "acc_stderr,none": 0.01, "alias": "mmlu"},
        "mmlu_stem": {"acc,none": 0.2, "acc_stderr,none": 0.01, "alias": " - stem"},
        "mmlu_anatomy": {"alias": "  - anatomy", "acc,none": 0.2},
        "gsm8k": {"alias": "gsm8k", "exact_match,flexible-extract": 0.4, "exact_match,strict-match": 0.3},
        "wikitext": {"alias": "wikitext", "word_perplexity,none": 20.5, "word_perplexity_stderr,none": "N/A"},
    },
    "group_subtasks": {"mmlu": ["mmlu_stem"], "mmlu_stem": ["mmlu_anatomy"]},
    "n-shot": {"arc_challenge": 25, "arc_easy": 0, "mmlu_anatomy": 5, "gsm8k": 5, "wikitext": 0},
    "higher_is_better": {"arc_easy": {"acc": True, "acc_norm": True}, "wikitext": {"word_perplexity": False}},
    "config": {"model": "hf", "model_args": "pretrained=org/tiny,dtype=float32", "model_num_parameters": 134515008},
    "date": 1717200000.5,
    "model_source": "hf",
    "model_name": "org/tiny",
}


def write_results(directory: Path, name: str = "results_2024-06-02T10-00-00.123456.json", **changed: Any) -> Path:
    path = directory / name
    path.write_text(json.dumps({**RESULTS, **changed}), "utf-8")
    return path


def write_run(directory: Path, finished: str | None = "2026-01-31T09:30:00+00:00") -> Path:
    """A run of which base and sft are scored."""

    def score(model: str, task: str, metric: str, value: float, trained_on: bool = False) -> dict[str, Any]:
        return {"model": model, "task": task, "metric": metric, "filter": "none", "value": value, "stderr": 0.01,
                "samples": 20, "higher_is_better": True, "trained_on": trained_on}  # fmt: skip

    run = directory / "quickstart"
    files: dict[str, Any] = {
        "evaluate/scores.json": {
            "models": ["base", "sft"],
            "scores": [
                score("base", "skills_choice", "acc", 0.25),
                score("base", "skills_choice", "acc_norm", 0.3),
                score("sft", "skills_choice", "acc_norm", 0.9, trained_on=True),
            ],
            "comparison": None,
            "seconds": 3.0,
        },
        "train/sft/summary.json": {"parameters": 429888},
        "contamination/contamination.json": {"tasks": [{"task": "skills_choice", "items": 20, "dirty": 4}]},
    }
    if finished:
        files["evaluate/manifest.json"] = {"finished": finished, "recipe": {"few_shot": 2}}
    for name, content in files.items():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(json.dumps(content), "utf-8")
    return run / "evaluate" / "scores.json"


def test_lm_evals_tasks_have_the_leaderboards_names_only_where_they_measure_the_same(tmp_path):
    source = read_source(write_results(tmp_path))
    (entry,) = source.entries
    assert {name: float(value) for name, value in entry.scores.items()} == {
        Benchmark("ARC", 25): 53.0,
        Benchmark("arc_easy", 0): 57.0,
        Benchmark("MMLU", 5): 25.0,
        Benchmark("GSM8K", 5): 30.0,
    }
    assert (entry.model, entry.date, entry.listed) == ("org/tiny", datetime.date(2024, 6, 2), False)
    assert entry.parameters == (134515008, "file")
    assert len(source.notes) == 1 and "wikitext is left out: word_perplexity" in source.notes[0]


def test_a_result_file_without_a_date_in_its_name_has_that_of_its_evaluation(tmp_path):
    assert read_source(write_results(tmp_path, "mine.json")).entries[0].date == datetime.date(2024, 6, 1)


@pytest.mark.parametrize(
    ("name", "changed", "told"),
    [
        ("mine.json", {"date": None}, "date: no such key, and no date in the file's name"),
        ("results_2024-13-01T00.json", {}, "the date 2024-13-01 does not exist"),
        ("mine.json", {"results": [1]}, "results: Input should be a valid dictionary"),
        ("mine.json", {"model_name": None, "config": {}}, "model_name: no such key"),
    ],
)
def test_what_is_wrong_with_a_result_file_is_named(tmp_path, name, changed, told):
    with pytest.raises(DataError, match=told):
        read_source(write_results(tmp_path, name, **changed))


def test_a_runs_scores_come_with_date_shots_size_and_what_its_training_has_seen(tmp_path):
    base, sft = read_source(write_run(tmp_path)).entries
    assert (base.model, sft.model) == ("quickstart/base", "quickstart/sft")
    assert base.date == datetime.date(2026, 1, 31)
    assert {name: float(value) for name, value in base.scores.items()} == {Benchmark("skills_choice", 2): 30.0}
    assert base.flags == ("4 of 20 items of skills_choice seen in training",)
    assert sft.flags == ("trained on skills_choice's own training data", *base.flags)
    assert (base.parameters.number, sft.parameters.number) == (None, 429888)


def test_a_runs_scores_without_their_manifest_have_the_date_of_the_file(tmp_path):
    path = write_run(tmp_path, finished=None)
    os.utime(path, (1717200000, 1717200000))
    (base, _) = read_source(path).entries
    assert (base.date, list(base.scores)) == (datetime.date(2024, 6, 1), [Benchmark("skills_choice", None)])


def test_measured_models_take_their_place_in_the_latest_snapshot(tmp_path):
    snapshot = write_snapshot(tmp_path, "2023-05-23", [row("a", 60, 60, 60, 60), row("b", 50, 50, 50, 50)])
    tasks = (("arc_challenge", 25, "acc_norm"), ("hellaswag", 10, "acc_norm"), ("mmlu", 5, "acc"))
    tasks += (("truthfulqa_mc2", 0, "acc"),)
    results = {task: {f"{metric},none": 0.55} for task, _, metric in tasks}
    shots = {task: number for task, number, _ in tasks}
    board = build(
        [
            read_source(snapshot),
            read_source(write_results(tmp_path, results=results, group_subtasks={}, **{"n-shot": shots})),
        ]
    )
    assert [(each.entry.model, each.rank) for each in board.latest] == [("a", 1), ("org/tiny", 2), ("b", 3)]
    assert board.dates == [datetime.date(2023, 5, 23)]
