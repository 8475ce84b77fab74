"""What is wrong with a sweep is found before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import RaycipeError
from ray_jobs.run import run_stages
from tests.ray_jobs.test_sweep import RECIPE, SPACE

pytestmark = pytest.mark.ray

BAD_SPACES = {
    "unknown key": ({"train.sft.learning_rat": "tune.choice([1e-3])"}, 2, "did you mean 'learning_rate'"),
    "unknown phase": ({"train.stf.learning_rate": "tune.choice([1e-3])"}, 2, "train.stf"),
    "forbidden value": ({"train.sft.learning_rate": "tune.choice([1e-3, -1.0])"}, 2, "train.sft.learning_rate"),
    "forbidden end": ({"train.sft.lora.rank": "tune.randint(-4, 8)"}, 2, "train.sft.lora.rank"),
    "forbidden together": ({"train.sft.global_batch_size": "tune.choice([8, 6])"}, 2, "micro_batch_size 4"),
    "no distribution": ({"train.sft.learning_rate": "tune.randn(1, 2)"}, 2, "expected choice, grid_search"),
    "a range of data": ({"train.sft.data.sequence_length": "tune.randint(64, 128)"}, 2, "take choices, no range"),
    "no training": ({"evaluate.limit": "tune.choice([5, 6])"}, 2, "only training and data are swept"),
    "fails": ({"train.sft.learning_rate": "tune.choice(nothing)"}, 2, "space() fails: NameError"),
}


MANY = [f"train.{phase}.micro_batch_size=1" for phase in ("pretrain", "sft")]


def attempt(tmp_path: Path, *overrides: str) -> RaycipeError:
    """The error of a sweep that must not start."""
    (tmp_path / "swept.yaml").write_text(RECIPE)
    if not (tmp_path / "rates.py").exists():
        (tmp_path / "rates.py").write_text(SPACE)
    with pytest.raises(RaycipeError) as caught:
        run_stages(["sweep"], str(tmp_path / "swept.yaml"), list(overrides), None, tmp_path / "runs", None, None, False)
    started = [path.name for path in (tmp_path / "runs").glob("*/*") if path.name not in (".lock", "recipe.yaml")]
    assert started == []
    return caught.value


@pytest.mark.parametrize("case", BAD_SPACES)
def test_a_space_that_does_not_fit_the_recipe(case: str, ray_cluster: str, tmp_path: Path) -> None:
    keys, code, told = BAD_SPACES[case]
    body = ", ".join(f'"{key}": {domain}' for key, domain in keys.items())
    (tmp_path / "rates.py").write_text(f"from ray import tune\n\ndef space():\n    return {{{body}}}\n")
    error = attempt(tmp_path)
    assert error.exit_code == code
    assert told in str(error)


@pytest.mark.parametrize(
    ("overrides", "code", "told"),
    [
        (["sweep=null"], 2, "sweep.space says what is tried, and is not there"),
        (["sweep.space=birbl"], 2, "did you mean 'birbal'"),
        (["sweep.space=gone.py"], 2, "no file gone.py"),
        (["sweep.objective=mmlu"], 2, "no task of evaluate.tasks gives 'mmlu'"),
        (["sweep.objective=skills_choice.f1"], 2, "gives no metric 'f1', but acc, acc_norm"),
        (["sweep.objective=validation_loss", "train.sft.data.validation=0"], 2, "train.sft.data.validation is 0"),
        (["evaluate=null"], 2, "evaluate.tasks says what is scored"),
        (["sweep.searcher=random"], 2, "searcher random needs trials"),
        (["sweep.against=device_hours"], 2, "it goes with searcher optuna"),
        (["sweep.rungs_by=validation_loss"], 2, "rungs_by goes with scheduler asha"),
        (["sweep.size=big"], 2, "size 'big' is none of sizes"),
        (["sweep.settings=[train.sft.epochz=1]"], 2, "epochz"),
        (["sweep.searcher=optuna", "sweep.trials=2", "sweep.scheduler=pbt"], 2, "take searcher grid or random"),
        (["sweep.loggers=[mlflow]"], 3, "mlflow is not installed"),
        ([*MANY, "resources.workers=8"], 3, "8 are asked for, and the cluster has room for 2"),
        (["resources.cpus_per_worker=4"], 3, "no worker of 4 CPUs fits on a node"),
        (["resources.device=gpu"], 3, "Ray sees no GPU"),
    ],
)
def test_a_sweep_that_cannot_be(overrides: list[str], code: int, told: str, ray_cluster: str, tmp_path: Path) -> None:
    error = attempt(tmp_path, *overrides)
    assert error.exit_code == code
    assert told in str(error)


def test_a_constraint_that_nothing_keeps(ray_cluster: str, tmp_path: Path) -> None:
    (tmp_path / "rates.py").write_text(SPACE.replace("values[", "0 and values["))
    assert "keeps its constraint" in str(attempt(tmp_path))
