"""A recipe that goes its whole way in seconds, and the command as a user gives it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = """\
name: small
model:
  config: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 4}
  tokenizer: {train: {vocabulary: 600}}
data:
  sources:
    library: {python_library: {kinds: [topics]}}
    skills: {skills: {rows: 400}}
  steps:
    - length: {min_words: 5}
    - refusals: {}
    - exact_dedup: {}
    - minhash_dedup: {}
    - decontaminate: {against: {heldout: {skills: {rows: 400}}}}
  mixture: {library: 40, skills: all}
train:
  pretrain:
    data: {sources: [library], sequence_length: 128, validation: 5}
    max_steps: 20
    global_batch_size: 8
    micro_batch_size: 4
    learning_rate: 1.0e-3
    log_every_steps: 1
    checkpoints: {every_steps: 5}
  sft:
    data: {sources: [skills], sequence_length: 128}
    method: lora
    max_steps: 10
    global_batch_size: 8
    micro_batch_size: 4
    learning_rate: 1.0e-3
    log_every_steps: 1
evaluate: {tasks: [skills_choice, skills_generate], limit: 12, chat_template: true}
resources: {workers: 2, device: cpu}
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The small recipe, as a file that a test may change."""
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


class Answer:
    """What a command printed and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


def environment(**more: str) -> dict[str, str]:
    """The tests' environment for a command; CPUs only, nothing from a hub."""
    kept = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    return {**kept, "HF_HUB_OFFLINE": "1", "COLUMNS": "120", **more}


def raycipe(*arguments: object, timeout: float = 600, **more: str) -> Answer:
    """Gives a `raycipe` command in a process of its own."""
    command = [sys.executable, "-m", "ray_jobs.cli", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment(**more))
    return Answer(done.returncode, done.stdout, done.stderr)
