"""Sweeps on Ray Tune: every searcher and scheduler, killed and gone on with, and what becomes of the best trial."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
import torch

from core.tuning.table import TIMES
from core.tuning.trials import Trial, read_trials
from ray_jobs.run import run_stages
from tests.ray_jobs.conftest import environment, raycipe
from tests.ray_jobs.test_train import weights

pytestmark = pytest.mark.ray

RECIPE = """\
name: swept
model:
  config: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 4}
  tokenizer: {train: {vocabulary: 600}}
data:
  sources:
    library: {python_library: {kinds: [topics]}}
    skills: {skills: {rows: 400}}
  mixture: {library: 40, skills: all}
train:
  pretrain:
    data: {sources: [library], sequence_length: 128, validation: 5}
    max_steps: 4
    global_batch_size: 8
    micro_batch_size: 4
  sft:
    data: {sources: [skills], sequence_length: 128, validation: 10}
    method: lora
    max_steps: 8
    global_batch_size: 8
    micro_batch_size: 4
    log_every_steps: 1
sweep: {space: rates.py, objective: skills_choice}
evaluate: {tasks: [skills_choice, skills_generate], limit: 12, chat_template: true}
resources: {device: cpu}
"""
SPACE = """\
from ray import tune


def space():
    return {
        "train.sft.learning_rate": tune.loguniform(1e-3, 1e-2),
        "train.sft.lora.rank": tune.choice([4, 8]),
    }


def allowed(values):
    return values["train.sft.learning_rate"] < 9e-3 or values["train.sft.lora.rank"] == 8
"""
DATA = ("curate", "tokenize", "train")


def read(path: Path) -> Any:
    return orjson.loads(path.read_bytes())


def table(run: Path) -> list[dict[str, str]]:
    """sweep.csv without what depends on the time."""
    with (run / "sweep/sweep.csv").open() as file:
        return [
            {name: cell for name, cell in row.items() if name not in (*TIMES, "pareto")} for row in csv.DictReader(file)
        ]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("recipe")
    (directory / "rates.py").write_text(SPACE)
    (directory / "swept.yaml").write_text(RECIPE)
    return directory / "swept.yaml"


@pytest.fixture(scope="module")
def grid(ray_cluster: str, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a grid that nobody disturbed."""
    runs = tmp_path_factory.mktemp("grid")
    run_stages(["sweep"], str(recipe), [], None, runs, None, None, False)
    return runs / "swept"


def swept(grid: Path, recipe: Path, runs: Path, *overrides: str) -> tuple[dict[str, Any], list[Trial]]:
    """Carries out a sweep on the data and the shared phase that the grid has made: its result and its trials."""
    for stage in DATA:
        shutil.copytree(grid / stage, runs / "swept" / stage)
    run_stages(["sweep"], str(recipe), list(overrides), None, runs, None, None, False)
    return read(runs / "swept/sweep/sweep.json"), read_trials(runs / "swept/sweep")


def test_a_grid_takes_every_allowed_combination_and_scores_each(grid: Path) -> None:
    rows = table(grid)
    assert [(row["train.sft.learning_rate"], row["train.sft.lora.rank"]) for row in rows] == [
        ("0.001", "4"),
        ("0.001", "8"),
        ("0.00316228", "4"),
        ("0.00316228", "8"),
        ("0.01", "8"),  # not 4: the space forbids it
    ]
    assert {(row["status"], row["steps"], row["share"]) for row in rows} == {("finished", "8", "1.0")}
    result = read(grid / "sweep/sweep.json")
    scores = [row["score"] for row in result["trials"]]
    assert [row["best"] for row in result["trials"]].index(True) == scores.index(max(scores))
    assert (result["start"]["model"], len(result["start"]["rows"])) == ("pretrain", 2)  # two metrics of one task


def test_what_trials_share_is_made_once(grid: Path) -> None:
    trials = [trial.directory for trial in read_trials(grid / "sweep")]
    assert {(trial / "tokenize").resolve() for trial in trials} == {grid / "tokenize"}
    assert {(trial / "train/pretrain").resolve() for trial in trials} == {grid / "train/pretrain"}
    assert not (grid / "train/sft").exists()


def test_a_sweep_that_is_finished_is_not_done_again(
    grid: Path, recipe: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = (grid / "sweep/sweep.json").stat().st_mtime_ns
    run_stages(["sweep"], str(recipe), [], None, grid.parent, None, None, True)
    said = capfd.readouterr()
    assert "sweep: finished earlier" in said.err
    assert json.loads(said.out)["sweep"]["best"]["trial"] == read(grid / "sweep/sweep.json")["best"]["trial"]
    assert (grid / "sweep/sweep.json").stat().st_mtime_ns == before


def test_run_takes_the_best_trial_on_without_training_it_again(
    grid: Path, recipe: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(grid, runs / "swept", symlinks=True)
    stages = ["curate", "tokenize", "train", "evaluate", "report"]
    run_stages(stages, str(recipe), [], None, runs, None, None, True)
    said = capfd.readouterr()
    best = read(grid / "sweep/sweep.json")["best"]["trial"]
    assert f"sweep: taking on its best trial, {best}:" in said.err
    assert "train sft: finished earlier" in said.err
    assert {row["task"] for row in json.loads(said.out)["evaluate"]["scores"]} == {"skills_choice", "skills_generate"}
    first = weights(runs / "swept/train/sft")
    second = weights(grid / f"sweep/trials/{best:04d}/train/sft")
    assert all(torch.equal(first[name], second[name]) for name in second)
    run_stages(["report"], str(recipe), ["train.sft.max_steps=9"], None, runs, None, None, False)
    assert f"its best trial, {best}, is left: the sweep was of other data or training" in capfd.readouterr().err


def test_the_best_as_a_recipe_is_the_trials(grid: Path, recipe: Path) -> None:
    from core.recipe.resolve import load_recipe

    best = load_recipe(str(grid / "sweep/best.yaml")).recipe
    values = next(row["values"] for row in read(grid / "sweep/sweep.json")["trials"] if row["best"])
    assert best.train["sft"].learning_rate == values["train.sft.learning_rate"]
    assert best.train["sft"].lora.rank == values["train.sft.lora.rank"]
    assert best.train["pretrain"] == load_recipe(str(recipe)).recipe.train["pretrain"]


class Command:
    """A `raycipe sweep` under way on a cluster."""

    def __init__(self, recipe: Path, runs: Path, cluster: str, *overrides: str) -> None:
        command = [sys.executable, "-m", "ray_jobs.sweep", recipe, *overrides, "--runs-dir", runs, "--address", cluster]
        self.process = subprocess.Popen(list(map(str, command)), env=environment(), stderr=subprocess.PIPE, text=True)
        self.trials = runs / "swept/sweep/trials"

    def wait_for(self, pattern: str) -> list[Path]:
        """Waits until trials have left such files."""
        while not (found := sorted(self.trials.glob(pattern))):
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.02)
        return found


def ray_processes(*names: str) -> list[psutil.Process]:
    """Ray's processes below this one by what they are named after."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if any(name in " ".join(process.cmdline()) for name in names):
                found.append(process)
    return found


def test_a_killed_worker_and_a_killed_driver_change_nothing_in_the_table(
    grid: Path, recipe: Path, tmp_path: Path, ray_cluster: str
) -> None:
    for stage in DATA:
        shutil.copytree(grid / stage, tmp_path / "swept" / stage)
    command = Command(recipe, tmp_path, ray_cluster)
    command.wait_for("*/train/sft/log.jsonl")
    killed = ray_processes("run_trial", "ImplicitFunc")
    assert killed
    killed[0].kill()
    (first, *_) = command.wait_for("*/end.json")
    command.process.kill()
    command.process.wait()
    reports = first.with_name("reports.json")
    scored = reports.stat().st_mtime_ns
    answer = raycipe("sweep", recipe, "--runs-dir", tmp_path, "--address", ray_cluster)
    assert answer.code == 0, answer.err
    assert table(tmp_path / "swept") == table(grid)
    assert reports.stat().st_mtime_ns == scored  # what was finished was not done again


def test_asha_stops_trials_at_rungs_and_what_goes_on_is_as_if_it_had_not_halted(
    grid: Path, recipe: Path, tmp_path: Path
) -> None:
    options = ("sweep.scheduler=asha", "sweep.reduction_factor=2", "sweep.concurrent=1")
    result, trials = swept(grid, recipe, tmp_path, *options, "sweep.rungs_by=validation_loss")
    stopped = [trial for trial in trials if trial.status == "stopped"]
    finished = [trial for trial in trials if trial.status == "finished"]
    assert stopped and finished
    assert {report.step for trial in finished for report in trial.reports} == {2, 4, 8}
    assert all(trial.reports[-1].step < 8 for trial in stopped)
    assert not any((trial.directory / "train/sft/checkpoints").exists() for trial in stopped)
    undisturbed = {tuple(trial.values.values()): trial for trial in read_trials(grid / "sweep")}
    for trial in finished:
        same = undisturbed[tuple(trial.values.values())]
        assert trial.last is not None and same.last is not None
        for figure in ("score", "loss", "validation_loss", "tokens"):
            assert getattr(trial.last, figure) == getattr(same.last, figure)
    tokens = sum(row["tokens"] for row in result["trials"])
    assert tokens < sum(int(row["tokens"]) for row in table(grid))


def test_tpe_weighs_score_against_device_hours(grid: Path, recipe: Path, tmp_path: Path) -> None:
    options = ("sweep.searcher=optuna", "sweep.trials=3", "sweep.against=device_hours", "sweep.concurrent=1")
    options += ("train.sft.zero_stage=1",)  # scored in the process that DeepSpeed was at work in
    result, trials = swept(grid, recipe, tmp_path, *options, "sweep.objective={skills_choice: 3, skills_generate: 1}")
    assert [trial.status for trial in trials] == ["finished"] * 3
    assert len({trial.values["train.sft.learning_rate"] for trial in trials}) == 3
    assert any(row["pareto"] for row in result["trials"])
    for trial in trials:
        assert trial.last is not None
        rows = {(row["task"], row["metric"]): row["value"] for row in trial.last.rows}
        mean = 0.75 * rows["skills_choice", "acc"] + 0.25 * rows["skills_generate", "exact_match"]
        assert trial.score == pytest.approx(mean)


def test_population_based_training_goes_on_from_the_best_with_another_rate(
    grid: Path, recipe: Path, tmp_path: Path
) -> None:
    options = ("sweep.scheduler=pbt", "sweep.rungs=4", "sweep.objective=validation_loss", "sweep.searcher=random")
    _, trials = swept(grid, recipe, tmp_path, *options, "sweep.trials=4")
    assert [trial.status for trial in trials] == ["finished"] * 4
    changed = [trial for trial in trials if trial.last and trial.last.values != trial.values]
    assert changed
    for trial in changed:
        assert trial.last is not None
        assert trial.last.step == 8
        rate = "train.sft.learning_rate"  # taken over at the first rung, it may be that of all reports there are
        assert trial.last.values[rate] != trial.values[rate]


def test_a_trial_of_two_workers_trains_on_ray_train(grid: Path, recipe: Path, tmp_path: Path) -> None:
    from ray.util import placement_group_table

    overrides = ("resources.workers=2", "sweep.trials=1", "sweep.scheduler=median", "sweep.rungs=2")
    _, (trial,) = swept(grid, recipe, tmp_path, *overrides)
    assert [report.step for report in trial.reports] == [4, 8]
    assert read(trial.directory / "train/sft/summary.json")["workers"] == 2
    assert {group["state"] for group in placement_group_table().values()} == {"REMOVED"}  # the workers hold nothing
    (same,) = [each for each in read_trials(grid / "sweep") if each.values == trial.values]
    assert trial.last is not None and same.last is not None
    assert trial.last.loss == pytest.approx(same.last.loss, rel=1e-4)


def test_trials_of_two_workers_have_the_same_ones_and_a_killed_one_is_replaced(
    grid: Path, recipe: Path, tmp_path: Path, ray_cluster: str
) -> None:
    for stage in DATA:
        shutil.copytree(grid / stage, tmp_path / "swept" / stage)
    more = ("resources.workers=2", "sweep.trials=4", "train.sft.checkpoints.every_steps=2")
    command = Command(recipe, tmp_path, ray_cluster, *more)
    command.wait_for("0000/end.json")
    first = ray_processes("RayTrainWorker")
    command.wait_for("0001/train/sft/log.jsonl")
    assert set(ray_processes("RayTrainWorker")) == set(first)
    first.pop().kill()
    command.wait_for("0003/end.json")
    assert command.process.wait() == 0, command.process.communicate()[1]
    assert not (tmp_path / "swept/sweep/groups").exists()
    undisturbed = {tuple(trial.values.values()): trial for trial in read_trials(grid / "sweep")}
    for trial in read_trials(tmp_path / "swept/sweep"):
        same = undisturbed[tuple(trial.values.values())]
        assert trial.status == "finished"
        assert trial.last is not None and same.last is not None
        assert trial.last.loss == pytest.approx(same.last.loss, rel=1e-4)


def test_a_trial_that_fails_is_told_and_the_others_go_on(grid: Path, recipe: Path, tmp_path: Path) -> None:
    space = recipe.with_name("steep.py")
    space.write_text(
        'from ray import tune\n\ndef space():\n    return {"train.sft.learning_rate": tune.grid_search([1e30, 1e-3])}\n'
    )
    _, (steep, good) = swept(grid, recipe, tmp_path, f"sweep.space={space}")
    assert (steep.status, good.status) == ("failed", "finished")
    assert steep.error is not None and "Try a lower learning_rate" in steep.error
