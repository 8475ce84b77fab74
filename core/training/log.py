"""The training log: JSON lines and TensorBoard, cut back to the checkpoint on resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from core.artifacts.atomic import writable, write_bytes


class TrainingLog:
    """Writes `log.jsonl` and `tensorboard/` in a phase's directory. Only rank 0 has one."""

    def __init__(self, directory: Path, step: int) -> None:
        """step: optimiser steps already done; what an earlier attempt logged beyond it is cut off."""
        from torch.utils.tensorboard import SummaryWriter

        self._path = directory / "log.jsonl"
        if self._path.exists():
            kept = [line for line in self._path.read_bytes().splitlines() if _step(line) <= step]
            write_bytes(self._path, b"".join(line + b"\n" for line in kept))
        with writable(self._path):
            self._file = self._path.open("ab")
            self._board = SummaryWriter(str(directory / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, values: dict[str, Any]) -> None:
        """One line; every number beside the step also goes to TensorBoard."""
        with writable(self._path):
            self._file.write(orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE))
            self._file.flush()
            for name, value in values.items():
                if name != "step":
                    self._board.add_scalar(name, value, values["step"])

    def close(self) -> None:
        """Ends both files."""
        self._file.close()
        self._board.close()


def latest(path: Path) -> dict[str, Any] | None:
    """The last whole training line of a log, read from its end; None where there is none yet."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    whole = [orjson.loads(line) for line in lines if _step(line) != float("inf")]
    return next((line for line in reversed(whole) if "loss" in line), None)


def _step(line: bytes) -> float:
    """A line's step; a line that a crash cut in two is of no step that could be kept."""
    try:
        return float(orjson.loads(line)["step"])
    except (orjson.JSONDecodeError, KeyError):
        return float("inf")
