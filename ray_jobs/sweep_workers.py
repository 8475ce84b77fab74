"""A group of Ray Train's workers that stays in a process of Ray Tune's: started once, it works for trial after trial.

What it does lies as files in a directory that every node sees: a piece of work, numbered, until all workers have done
it, and beside it what each of them returned. The process that hands out work alone decides when the group ends. Where
that process is killed, Ray ends the group, which belongs to it; where a worker is, Ray Train starts the group anew, and
it takes up the piece again.
"""

from __future__ import annotations

import pickle
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.artifacts.atomic import write_bytes, write_json
from core.errors import RaycipeError
from core.training.devices import free_memory
from ray_jobs.train import FAILURE, fit_on_workers, ray_world

LOOK = 0.01  # seconds between two looks at the directory
KEPT = 2.0  # seconds for which workers wait for the next trial
BEGUN, SPENT = "begun", "spent"  # a group has begun; it is not to be kept
LEFT = 2**30  # bytes of a GPU that may be in use still when a piece of work is done


@dataclass(frozen=True)
class Size:
    """A group as Ray Train is asked for it. cpus: of a worker; patience: seconds to wait for another worker."""

    workers: int
    use_gpu: bool
    cpus: int
    patience: float
    max_failures: int


class KeptWorkers:
    """The group of this process, if there is one now."""

    def __init__(self) -> None:
        self._group: _Group | None = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def run(self, directory: Path, size: Size, function: Callable[..., Any], *arguments: Any) -> Any:
        """What `function` returns on the first worker, when all have come to its end.

        directory: for the group's own files. Raises TrainingFailedError where workers are lost once too often.
        """
        with self._lock:
            self._timer = None  # one that still runs ends nothing then
            if self._group is not None and self._group.size != size:
                self._end()
            self._group = self._group or _Group(directory, size)
            try:
                result = self._group.do(function, arguments)
            except BaseException:
                self._end()
                raise
            if self._group.is_spent():
                self._end()
            return result

    def rest(self) -> None:
        """Has the group end unless it is asked for work soon: a trial is over."""
        with self._lock:
            if self._group is not None:
                self._timer = threading.Timer(KEPT, self._end_idle)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Ends the group: then its workers hold nothing any more."""
        with self._lock:
            self._end()

    def _end_idle(self) -> None:
        with self._lock:
            if self._timer is threading.current_thread():
                self._end()

    def _end(self) -> None:
        if self._group is not None:
            self._group.end()
            self._group = None


class _Group:
    """A run of Ray Train whose workers `_serve`."""

    def __init__(self, directory: Path, size: Size) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.size = size
        self._directory = Path(tempfile.mkdtemp(dir=directory))
        self._number = 0
        self._error: Exception | None = None
        self._run = threading.Thread(target=self._fit, daemon=True)
        self._run.start()

    def _fit(self) -> None:
        size = self.size
        config = {
            "directory": self._directory,
            "cpus": size.cpus,
            "patience": size.patience,
            "max_failures": size.max_failures,
        }
        try:
            fit_on_workers(config, size.workers, size.use_gpu, _serve)
        except Exception as error:  # raised where the work is waited for
            self._error = error

    def do(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Has the work done. Raises what ended the run of Ray Train."""
        piece = self._give(function, arguments)
        answers = [_answer(piece, rank) for rank in range(self.size.workers)]
        while True:
            over = not self._run.is_alive()
            if all(answer.exists() for answer in answers):
                break
            if over:
                raise self._error or RuntimeError("a group of workers has ended, and its work is not done")
            time.sleep(LOOK)
        result = pickle.loads(answers[0].read_bytes())
        piece.unlink()
        return result

    def is_spent(self) -> bool:
        """Whether Ray Train had to start the workers again, so that failures are to be counted anew, or memory is not
        given back."""
        return (self._directory / SPENT).exists()

    def end(self) -> None:
        """Ends the workers and waits for it."""
        self._give(None, ())
        self._run.join()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _give(self, function: Callable[..., Any] | None, arguments: tuple[Any, ...]) -> Path:
        self._number += 1
        piece = self._directory / f"{self._number:09}.work"
        write_bytes(piece, pickle.dumps((function, arguments)))
        return piece


def _answer(piece: Path, rank: int) -> Path:
    return piece.with_suffix(f".{rank}")


def _serve(config: dict[str, Any]) -> None:
    """What each worker does: one piece of work after the other."""
    world = ray_world()
    directory: Path = config["directory"]
    if world.rank == 0:
        write_json(directory / (SPENT if (directory / BEGUN).exists() else BEGUN), {})
    done: Path | None = None
    while True:
        piece = max(directory.glob("*.work"), default=None)
        if piece == done:
            piece = None
        if piece is None:
            time.sleep(LOOK)
            continue
        function, arguments = pickle.loads(piece.read_bytes())
        if function is None:
            return
        try:
            result = function(*arguments)
        except RaycipeError:
            write_json(directory / FAILURE, {})  # so that Ray ends the others, who may wait for this one, and the run
            raise
        free_memory(world.device)
        if _memory_in_use(world.device) > LEFT:
            write_json(directory / SPENT, {})
        write_bytes(_answer(piece, world.rank), pickle.dumps(result if world.rank == 0 else None))
        done = piece


def _memory_in_use(device: str) -> int:
    """Bytes of a GPU that this process' tensors take; 0 of a CPU, whose memory comes back by itself."""
    import torch

    return torch.cuda.memory_allocated(device) if torch.device(device).type == "cuda" else 0
