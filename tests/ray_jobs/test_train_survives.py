"""Training on Ray Train survives killed workers and drivers, a killed Ray and a worker that hangs.

One run goes its way in peace and one is disturbed again and again; what they leave must be the same to the last bit.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest
import torch
from ray.train import WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError, WorkerHealthCheckTimeoutError

from core.training.health import HEARTBEATS, Heartbeat
from core.training.log import latest
from ray_jobs.train import why_workers_died
from tests.ray_jobs.conftest import Answer, environment, raycipe
from tests.ray_jobs.test_train import weights
from tests.training.test_trainer import samples

pytestmark = pytest.mark.ray

STEPS = 24
RECIPE = f"""\
name: survives
model:
  config: {{hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 4}}
  tokenizer: {{train: {{vocabulary: 400}}}}
data:
  sources:
    skills: {{skills: {{rows: 400}}}}
    pairs: {{files: pairs.jsonl, fields: {{prompt: prompt, chosen: chosen, rejected: rejected}}}}
train:
  pretrain: &phase
    data: {{sources: [skills], sequence_length: 128}}
    max_steps: {STEPS}
    global_batch_size: 16
    micro_batch_size: 2
    learning_rate: 1.0e-3
    log_every_steps: 1
    log_sample_ids: true
    checkpoints: {{every_steps: 3}}
  sft:
    <<: *phase
    method: lora
    lora: {{dropout: 0.1}}
  dpop:
    <<: *phase
    data: {{sources: [pairs], sequence_length: 64}}
    zero_stage: 3
    global_batch_size: 8
    preference: {{beta: 0.3, dpop_lambda: 50}}
resources: {{workers: 2, device: cpu}}
"""
RESTARTS = {"pretrain": 2, "sft": 1, "dpop": 2}  # of the disturbed run
FIGURES = ("step", "epoch", "loss", "learning_rate", "gradient_norm", "tokens", "target_tokens", "chosen_logps")


def write_recipe(directory: Path) -> Path:
    """The recipe, beside sixty pairs whose preferred completion is the reversed prompt."""
    words = itertools.permutations(["red", "blue", "green", "black", "white"], 3)
    pairs = [
        {"prompt": f"Reverse: {a} {b} {c}", "chosen": f"{c} {b} {a}", "rejected": f"{a} {c} {b}"} for a, b, c in words
    ]
    (directory / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (directory / "survives.yaml").write_text(RECIPE)
    return directory / "survives.yaml"


def ours(name: str) -> list[psutil.Process]:
    """The processes of that name below this one: other tests' Rays on this machine are left alone."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if any(name in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:  # it has ended meanwhile
            continue
    return found


class Command:
    """A `raycipe train` under way."""

    def __init__(self, recipe: Path, run: Path, *arguments: str) -> None:
        self.run = run
        command = [sys.executable, "-m", "ray_jobs.train", recipe, "--json", "--runs-dir", run.parent, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        hasty = environment(TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S="2")  # with a worker that no longer answers
        self.process = subprocess.Popen(list(map(str, command)), text=True, env=hasty, **pipes)

    def reach(self, phase: str, step: int) -> None:
        """Waits until a step of a phase is logged, which must not be the phase's last."""
        log = self.run / "train" / phase / "log.jsonl"
        while (line := latest(log)) is None or line["step"] < step:
            assert self.process.poll() is None, self.end().err
            time.sleep(0.02)
        assert line["step"] < STEPS, f"{phase} was over before it could be disturbed"

    def end(self) -> Answer:
        """How it ended."""
        out, err = self.process.communicate()
        return Answer(self.process.returncode, out, err)


def rank_of(worker: psutil.Process) -> int:
    """A worker's rank, told by the heartbeat file that it holds open."""
    paths = [Path(file.path) for file in worker.open_files()]
    return next(int(path.name.removeprefix("rank-")) for path in paths if path.parent.name == HEARTBEATS)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, ray_cluster) -> Path:
    """The run directory of a run that nobody disturbed."""
    directory = tmp_path_factory.mktemp("undisturbed")
    recipe = write_recipe(directory)
    answer = raycipe("train", recipe, "--runs-dir", directory, "--address", ray_cluster)
    assert answer.code == 0, answer.err
    return directory / "survives"


@dataclass
class Disturbed:
    """A run that was disturbed, and how its commands ended."""

    run: Path
    ray_killed: Answer
    stuck: Answer
    stuck_rank: int
    stuck_worker: psutil.Process
    last: Answer
    reference: dict[Path, int]  # when each file of the reference was written, in ns, before the phase was disturbed


@pytest.fixture(scope="module")
def disturbed(undisturbed, tmp_path_factory, ray_cluster) -> Disturbed:
    """The same command given again and again, each time disturbed otherwise, until the run is finished."""
    recipe = undisturbed.parent / "survives.yaml"
    run = tmp_path_factory.mktemp("disturbed") / "survives"
    for stage in ("curate", "tokenize"):
        shutil.copytree(undisturbed / stage, run / stage)
    there = ("--address", ray_cluster)

    command = Command(recipe, run)  # with a Ray of its own
    command.reach("pretrain", 5)
    ours("RayTrainWorker")[0].kill()
    command.reach("pretrain", 10)
    (raylet,) = (process for process in ours("raylet/raylet") if process.ppid() == command.process.pid)
    raylet.kill()
    ray_killed = command.end()

    command = Command(recipe, run, "resources.collective_timeout=10", "resources.max_failures=0", *there)
    command.reach("sft", 7)
    stuck = ours("RayTrainWorker")[1]
    stuck_rank = rank_of(stuck)
    stuck.send_signal(signal.SIGSTOP)
    gave_up = command.end()

    command = Command(recipe, run, *there)
    command.reach("dpop", 7)
    reference = {path: path.stat().st_mtime_ns for path in (run / "reference").rglob("*.safetensors")}
    command.process.kill()
    command.end()

    command = Command(recipe, run, *there)
    command.reach("dpop", 13)
    ours("RayTrainWorker")[0].kill()
    return Disturbed(run, ray_killed, gave_up, stuck_rank, stuck, command.end(), reference)


def logged(phase: Path) -> list[dict[str, Any]]:
    """The lines of a log, without what depends on the time and the machine."""
    lines = [orjson.loads(line) for line in (phase / "log.jsonl").read_bytes().splitlines()]
    return [{name: line.get(name) for name in FIGURES} for line in lines]


@pytest.mark.parametrize("phase", RESTARTS)
def test_a_disturbed_phase_ends_in_the_same_samples_losses_and_weights(undisturbed, disturbed, phase):
    assert disturbed.last.code == 0, disturbed.last.err
    calm, survived = undisturbed / "train" / phase, disturbed.run / "train" / phase
    assert logged(calm) == logged(survived)
    assert [line["step"] for line in logged(survived)] == list(range(1, STEPS + 1))
    assert samples(calm) == samples(survived)
    assert [(line["rank"], line["step"]) for line in samples(survived)] == list(
        itertools.product(range(2), range(1, STEPS + 1))
    )
    first, second = weights(calm), weights(survived)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    summary = json.loads(disturbed.last.out)["train"][phase]
    assert (summary["restarts"], summary["refused_checkpoints"]) == (RESTARTS[phase], [])


def test_a_finished_reference_is_not_computed_again(disturbed):
    assert {path.parent.name for path in disturbed.reference} == {"train"}
    assert disturbed.reference == {path: path.stat().st_mtime_ns for path in disturbed.reference}


def test_a_killed_ray_ends_the_command_with_3_and_a_plain_word(disturbed):
    answer = disturbed.ray_killed
    assert answer.code == 3, answer.err
    assert "Traceback" not in answer.err
    assert "error: Ray's raylet" in answer.err
    assert "The same command goes on from here" in answer.err


def test_a_worker_that_hangs_is_named_and_ends_the_command_with_3(disturbed):
    answer = disturbed.stuck
    assert answer.code == 3, answer.err
    assert "Traceback" not in answer.err
    assert "error: train.sft: worker " in answer.err
    assert "waited in vain for another" in answer.err
    assert f"rank {disturbed.stuck_rank}" in answer.err
    assert not disturbed.stuck_worker.is_running()


def test_other_patience_does_not_undo_what_was_trained(disturbed):
    assert not (disturbed.run / "superseded").exists()


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        (
            {0: RuntimeError("Timed out waiting 8000ms for recv")},
            "worker 0 waited in vain .*; nothing .* of rank 1, 2$",
        ),
        (
            {1: WorkerHealthCheckFailedError("ping:", ValueError("died"))},
            r"worker 1 died \(died\), .* was full$",
        ),
        ({2: WorkerHealthCheckTimeoutError("hanging for 600 s")}, "worker 2 no longer answers$"),
        ({0: RuntimeError("Connection closed by peer"), 1: KeyError("a bug of ours")}, None),
        ({1: KeyError("a bug of ours")}, None),
    ],
)
def test_workers_that_died_or_hang_are_told_from_those_with_an_error_of_their_own(tmp_path, failures, told):
    said = why_workers_died(WorkerGroupError("", failures), tmp_path, workers=3)
    assert re.match(told, said) if told else said is None


def test_the_worker_that_has_come_less_far_is_named(tmp_path):
    for rank, step in enumerate((7, 6, 7)):
        Heartbeat(tmp_path / HEARTBEATS, rank).at(step)
    said = why_workers_died(WorkerGroupError("", {0: RuntimeError("Timed out")}), tmp_path, workers=3)
    assert said.endswith("behind the others (step 7): rank 1 (step 6)")
    ended_by_nccl = WorkerHealthCheckFailedError("ping:", ValueError("died"))
    said = why_workers_died(WorkerGroupError("", {0: ended_by_nccl, 2: ended_by_nccl}), tmp_path, workers=3)
    assert said.endswith("or that it waited for one that hangs: behind the others (step 7): rank 1 (step 6)")
