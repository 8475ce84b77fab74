"""Training on Ray Train survives killed workers and drivers, a killed Ray and a worker that hangs.

One run goes its way in peace and one is disturbed again and again; what they leave must be the same to the last bit.
"""

from __future__ import annotations

import itertools
import json
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

from core.training.log import latest
from tests.ray_jobs.conftest import environment, raycipe
from tests.ray_jobs.test_train import prepared, weights

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
    zero_stage: 3
    max_steps: {STEPS}
    global_batch_size: 16
    micro_batch_size: 2
    learning_rate: 1.0e-3
    log_every_steps: 1
    checkpoints: {{every_steps: 3}}
  sft:
    <<: *phase
    zero_stage: 0
    method: lora
    lora: {{dropout: 0.1}}
  dpop:
    <<: *phase
    data: {{sources: [pairs], sequence_length: 64}}
    preference: {{beta: 0.3, dpop_lambda: 50}}
resources: {{workers: 2, device: cpu, max_failures: 1, collective_timeout: 20}}
"""
PHASES = ("pretrain", "sft", "dpop")
TIMES = ("seconds", "tokens_per_second", "tokens_per_second_per_device", "mfu", "data_wait", "memory_bytes")
TIMES += ("seconds_left",)


def write_recipe(directory: Path) -> Path:
    """The recipe, beside sixty pairs whose preferred completion is the reversed prompt."""
    words = itertools.permutations("red blue green black white".split(), 3)
    pairs = [{"prompt": f"Reverse: {a} {b} {c}", "chosen": f"{c} {b} {a}", "rejected": f"{a} {c} {b}"} for a, b, c in words]
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
        command = [sys.executable, "-m", "ray_jobs.train", recipe, "--runs-dir", run.parent, *arguments]
        impatient = environment(TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S="2")  # with a worker that no longer answers
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=impatient)

    def reach(self, phase: str, step: int) -> None:
        """Waits until a step of a phase is logged, which must not be the phase's last."""
        log = self.run / "train" / phase / "log.jsonl"
        while (line := latest(log)) is None or line["step"] < step:
            assert self.process.poll() is None, self.end()[1]
            time.sleep(0.02)
        assert line["step"] < STEPS, f"{phase} was over before it could be disturbed"

    def end(self) -> tuple[int, str]:
        """The exit code, and what was said."""
        _, said = self.process.communicate()
        return self.process.returncode, said


def rank_of(worker: psutil.Process) -> int:
    """A worker's rank, told by the heartbeat file that it holds open."""
    names = [Path(file.path).name for file in worker.open_files()]
    return next(int(name.removeprefix("rank-")) for name in names if name.startswith("rank-"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, ray_cluster) -> Path:
    """The run directory of a run that nobody disturbed."""
    directory = tmp_path_factory.mktemp("undisturbed")
    answer = raycipe("train", write_recipe(directory), "--runs-dir", directory, "--address", ray_cluster)
    assert answer.code == 0, answer.err
    return directory / "survives"


@dataclass
class Disturbed:
    """A run that was disturbed, and what the commands said that ended early."""

    run: Path
    killed_ray: tuple[int, str]
    stuck: tuple[int, str]
    stuck_rank: int
    stuck_worker: psutil.Process
    references: dict[Path, int]  # when each file of the reference was written, in ns, as the first command left them


@pytest.fixture(scope="module")
def disturbed(undisturbed, tmp_path_factory, ray_cluster) -> Disturbed:
    """The same command given again and again, each time disturbed otherwise, until the run is finished."""
    directory = tmp_path_factory.mktemp("disturbed")
    recipe = write_recipe(directory)
    run = prepared(undisturbed, directory)
    there = ("--address", ray_cluster)

    command = Command(recipe, run)  # with a Ray of its own
    command.reach("pretrain", 5)
    ours("RayTrainWorker")[0].kill()
    command.reach("pretrain", 10)
    (raylet,) = (process for process in ours("raylet/raylet") if command.process.pid == process.ppid())
    raylet.kill()
    killed_ray = command.end()

    command = Command(recipe, run, *there)
    command.reach("sft", 4)
    ours("RayTrainWorker")[1].kill()
    command.reach("sft", 11)
    stuck = ours("RayTrainWorker")[1]
    stuck_rank = rank_of(stuck)
    stuck.send_signal(signal.SIGSTOP)
    told_stuck = command.end()

    command = Command(recipe, run, *there)
    command.reach("dpop", 7)
    references = {path: path.stat().st_mtime_ns for path in (run / "reference").rglob("*.safetensors")}
    command.process.kill()
    command.end()

    command = Command(recipe, run, *there)
    command.reach("dpop", 13)
    ours("RayTrainWorker")[0].kill()
    code, said = command.end()
    assert code == 0, said
    return Disturbed(run, killed_ray, told_stuck, stuck_rank, stuck, references)


def logged(phase: Path) -> list[dict[str, Any]]:
    """The lines of a log, without what depends on time and memory."""
    lines = [orjson.loads(line) for line in (phase / "log.jsonl").read_bytes().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


@pytest.mark.parametrize("phase", PHASES)
def test_a_disturbed_phase_ends_in_the_same_losses_and_weights(undisturbed, disturbed, phase):
    calm, survived = undisturbed / "train" / phase, disturbed.run / "train" / phase
    assert logged(calm) == logged(survived)
    assert [line["step"] for line in logged(survived)] == list(range(1, STEPS + 1))
    first, second = weights(calm), weights(survived)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not orjson.loads((survived / "summary.json").read_bytes())["refused_checkpoints"]


def test_a_finished_reference_is_not_computed_again(disturbed):
    assert {path.parent.name for path in disturbed.references} == {"train"}
    assert disturbed.references == {path: path.stat().st_mtime_ns for path in disturbed.references}


def test_a_killed_ray_ends_the_command_with_3_and_a_plain_word(disturbed):
    code, said = disturbed.killed_ray
    assert code == 3, said
    assert "Traceback" not in said
    assert "error: Ray's raylet" in said
    assert "The same command goes on from here" in said


def test_a_worker_that_hangs_is_named_and_ends_the_command_with_3(disturbed):
    code, said = disturbed.stuck
    assert code == 3, said
    assert "Traceback" not in said
    assert "error: train.sft: worker " in said
    assert f"rank {disturbed.stuck_rank}" in said
    assert "waited in vain for another" in said
    assert not disturbed.stuck_worker.is_running()
