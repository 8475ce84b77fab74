"""The training log: JSON lines and TensorBoard, cut back to the checkpoint on resume."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import orjson

from core.artifacts.atomic import writable, write_bytes

LOG = "log.jsonl"
EVENTS = "events.jsonl"


class TrainingLog:
    """Writes `log.jsonl`, `events.jsonl` and `tensorboard/` in a phase's directory. Only rank 0 has one."""

    def __init__(self, directory: Path, step: int) -> None:
        """step: optimiser steps already done; what an earlier attempt logged beyond it is cut off."""
        from torch.utils.tensorboard import SummaryWriter

        self._directory = directory
        self._lines, self._events = (_opened(directory / name, step) for name in (LOG, EVENTS))
        with writable(directory):
            self._board = SummaryWriter(str(directory / "tensorboard"), purge_step=step + 1 if step else None)

    def write(self, values: dict[str, Any]) -> None:
        """One line; every number beside the step also goes to TensorBoard."""
        self._write(self._lines, values)
        with writable(self._directory):
            for name, value in values.items():
                if name != "step":
                    self._board.add_scalar(name, value, values["step"])

    def event(self, values: dict[str, Any]) -> None:
        """One line on what should not happen: a step that was skipped, a loss that stands out."""
        self._write(self._events, values)

    def close(self) -> None:
        """Ends all files."""
        self._lines.close()
        self._events.close()
        self._board.close()

    def _write(self, file: IO[bytes], values: dict[str, Any]) -> None:
        with writable(self._directory):
            file.write(orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE))
            file.flush()


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


def _opened(path: Path, step: int) -> IO[bytes]:
    if path.exists():
        kept = [line for line in path.read_bytes().splitlines() if _step(line) <= step]
        write_bytes(path, b"".join(line + b"\n" for line in kept))
    with writable(path):
        return path.open("ab")


def _step(line: bytes) -> float:
    """A line's step; a line that a crash cut in two is of no step that could be kept."""
    try:
        return float(orjson.loads(line)["step"])
    except (orjson.JSONDecodeError, KeyError):
        return float("inf")
