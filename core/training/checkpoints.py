"""Checkpoints: trainable weights and optimiser state as safetensors, and a JSON of where training stands."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from core.artifacts.atomic import writable, write_json
from core.artifacts.fingerprint import file_checksum
from core.errors import DataError
from core.training.optimizer import Optimizer

if TYPE_CHECKING:
    import torch

STATE = "state.json"
WEIGHTS = "weights.safetensors"
OPTIMIZER = "optimizer.safetensors"


def save_checkpoint(directory: Path, optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Writes a checkpoint; state.json comes last, with the checksums of the other files."""
    from safetensors.torch import save_file

    with writable(directory):
        directory.mkdir(parents=True, exist_ok=True)
        save_file({name: p.detach().contiguous() for name, p in optimizer.parameters.items()}, directory / WEIGHTS)
        save_file(optimizer.state(), directory / OPTIMIZER)
    checksums = {name: file_checksum(directory / name) for name in (WEIGHTS, OPTIMIZER)}
    write_json(directory / STATE, {**state, "checksums": checksums})


def read_state(directory: Path, fingerprint: str) -> dict[str, Any]:
    """Where training stands in a checkpoint. Raises DataError where it is broken or another recipe's."""
    try:
        state: dict[str, Any] = orjson.loads((directory / STATE).read_bytes())
        for name, checksum in state["checksums"].items():
            if file_checksum(directory / name) != checksum:
                raise DataError(f"{directory / name}: is not what was written (truncated or changed)")
    except (OSError, orjson.JSONDecodeError, KeyError) as error:
        raise DataError(f"{directory}: not a whole checkpoint ({error})") from error
    if state["fingerprint"] != fingerprint:
        raise DataError(f"{directory}: a checkpoint of another recipe or data ({state['fingerprint']})")
    return state


def newest_valid(directories: Iterable[Path], fingerprint: str) -> tuple[Path | None, list[str]]:
    """The checkpoint that is furthest on among those that hold, and why each refused one was refused."""
    refused: list[str] = []
    steps: dict[Path, int] = {}
    for directory in directories:
        try:
            steps[directory] = read_state(directory, fingerprint)["step"]
        except DataError as error:
            refused.append(str(error))
    return max(steps, key=steps.__getitem__, default=None), refused


def load_checkpoint(directory: Path, optimizer: Optimizer) -> None:
    """Puts a checkpoint's weights and optimiser state back. Raises DataError where the weights do not fit."""
    from safetensors.torch import load_file

    weights = load_weights(directory)
    if {name: tensor.shape for name, tensor in weights.items()} != {
        name: parameter.shape for name, parameter in optimizer.parameters.items()
    }:
        raise DataError(f"{directory}: holds the weights of another model")
    for name, parameter in optimizer.parameters.items():
        parameter.data.copy_(weights[name])
    optimizer.load_state(load_file(directory / OPTIMIZER))


def load_weights(directory: Path) -> dict[str, torch.Tensor]:
    """A checkpoint's trainable weights by parameter name, on the CPU."""
    from safetensors.torch import load_file

    weights: dict[str, torch.Tensor] = load_file(directory / WEIGHTS)
    return weights
