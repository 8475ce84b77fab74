"""The training log: JSON lines and TensorBoard, cut back to the checkpoint on resume."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import orjson

from core.artifacts.atomic import writable
from core.training.engine import World

LOG = "log.jsonl"
EVENTS = "events.jsonl"
SAMPLES = "samples"


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


class SampleLog:
    """Writes what each worker was trained on to `samples/rank-00000.jsonl`, ... in a phase's directory.

    A line for each optimiser step: step; rank; rows, the numbers of the packed rows in the order in which they were
    run; documents, the ids of the samples in them. A file for each worker, since they may be on different machines.
    """

    def __init__(self, directory: Path, step: int, world: World) -> None:
        """step: optimiser steps already done; lines beyond it are cut off, those of workers that are no more too."""
        self._rank = world.rank
        self._path = directory / SAMPLES / f"rank-{world.rank:05d}.jsonl"
        with writable(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        for path in self._path.parent.glob("rank-*.jsonl"):
            if int(path.stem.removeprefix("rank-")) % world.size == world.rank:
                _cut(path, step)
        with writable(self._path):
            self._lines = self._path.open("ab")

    def write(self, step: int, rows: Sequence[int], documents: Sequence[str]) -> None:
        """This worker's part of step `step` (1-based)."""
        line = {"step": step, "rank": self._rank, "rows": rows, "documents": documents}
        with writable(self._path):
            self._lines.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))
            self._lines.flush()

    def close(self) -> None:
        """Ends the file."""
        self._lines.close()


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
    with writable(path):
        file = path.open("ab")
    _cut(path, step)
    return file


def _cut(path: Path, step: int) -> None:
    """Takes the lines beyond a step off the end: what is before them is not read."""
    if not path.stat().st_size:
        return
    with writable(path), path.open("rb+") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as lines:
        end = lines.rfind(b"\n") + 1
        while end and _step(lines[(begin := lines.rfind(b"\n", 0, end - 1) + 1) : end]) > step:
            end = begin
        file.truncate(end)


def _step(line: bytes) -> float:
    """A line's step; a line that a crash cut in two is of no step that could be kept."""
    try:
        return float(orjson.loads(line)["step"])
    except (orjson.JSONDecodeError, KeyError):
        return float("inf")
