"""What a sweep looks for, from what a recipe says and what its tasks give."""

from __future__ import annotations

import math

import pytest

from core.errors import RecipeError
from core.evaluation.options import Evaluate
from core.evaluation.task_files import OWN, TaskFile
from core.tuning.objective import Objective, make_objective, metrics_of

CHOICE, GENERATE = (TaskFile(name, OWN / f"{name}.yaml", {}) for name in ("skills_choice", "skills_generate"))
TASKS = {"skills": [CHOICE, GENERATE], "skills_choice": [CHOICE]}
EVALUATE = Evaluate(tasks=["skills_choice"])


def row(task: str, metric: str, value: float, stderr: float | None) -> dict[str, object]:
    return {"task": task, "metric": metric, "filter": "none", "value": value, "stderr": stderr}


def test_a_task_stands_for_its_first_metric_and_a_group_for_the_mean_of_its_tasks() -> None:
    assert make_objective("skills_choice", EVALUATE, TASKS).parts == {("skills_choice", "acc"): 1}
    assert make_objective("skills_choice.acc_norm", EVALUATE, TASKS).parts == {("skills_choice", "acc_norm"): 1}
    assert make_objective("skills", EVALUATE, TASKS).parts == {
        ("skills_choice", "acc"): 0.5,
        ("skills_generate", "exact_match"): 0.5,
    }


def test_weights_make_a_mean_with_its_error() -> None:
    objective = make_objective({"skills_choice.acc_norm": 3, "skills_generate": 1}, EVALUATE, TASKS)
    rows = [
        row("skills_choice", "acc", 0.1, 0.5),
        row("skills_choice", "acc_norm", 0.8, 0.04),
        row("skills_generate", "exact_match", 0.4, 0.08),
    ]
    score = objective.score(rows)
    assert score.value == pytest.approx(0.75 * 0.8 + 0.25 * 0.4)
    assert score.stderr == pytest.approx(math.hypot(0.75 * 0.04, 0.25 * 0.08))
    assert objective.score([{**each, "stderr": None} for each in rows]).stderr is None


def test_validation_loss_is_better_low_and_needs_no_task() -> None:
    objective = make_objective("validation_loss", None, {})
    assert objective == Objective({}, higher_is_better=False)
    assert objective.better(1.0, 2.0)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ("skills_chioce", "did you mean 'skills_choice'"),
        ("skills_choice.f1", "gives no metric 'f1', but acc, acc_norm"),
        ("mmlu", "there are skills, skills_choice, skills_generate and validation_loss"),
        ({"skills_choice": 0.0}, "expected a weight of more than 0"),
    ],
)
def test_an_objective_that_no_task_gives_is_told(wanted: str | dict[str, float], told: str) -> None:
    with pytest.raises(RecipeError, match=r"sweep\.objective") as caught:
        make_objective(wanted, EVALUATE, TASKS)
    assert told in str(caught.value)


def test_metrics_that_are_better_high_and_low_are_not_added_up(tmp_path) -> None:
    (tmp_path / "rolling.yaml").write_text("task: rolling\noutput_type: loglikelihood_rolling\n")
    rolling = TaskFile("rolling", tmp_path / "rolling.yaml", {})
    assert metrics_of(rolling) == {"word_perplexity": False, "byte_perplexity": False, "bits_per_byte": False}
    with pytest.raises(RecipeError, match="some are better high and others low"):
        make_objective({"rolling": 1, "skills_choice": 1}, EVALUATE, {**TASKS, "rolling": [rolling]})
