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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.artifacts.atomic import write_bytes, write_json
from core.errors import RaycipeError
from core.models.memory import free_memory, memory_in_use
from ray_jobs.train import FAILURE, fit_on_workers, ray_world

LOOK, RARELY = 0.01, 0.2  # seconds between two looks at the directory, at first and after some seconds
PATIENCE = 5.0  # seconds that a process that ends waits for a piece of work
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
            if self._group is not None and (self._group.size != size or not self._group.is_well()):
                self._end()
            self._group = self._group or _Group(directory, size)
            try:
                result = self._group.do(function, arguments)
            except BaseException:
                self._end()
                raise
            if not self._group.is_well():
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
        """Ends the group: then its workers hold nothing any more. Not one that is at work for longer: this process ends
        without it, and Ray ends what belongs to a process."""
        if self._lock.acquire(timeout=PATIENCE):
            try:
                self._end()
            finally:
                self._lock.release()

    def _end_idle(self) -> None:
        with self._lock:
            if self._timer is threading.current_thread():
                self._end()

    def _end(self) -> None:
        group, self._group = self._group, None
        if group is not None:
            group.end()


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
        for pause in _pauses():
            over = not self._run.is_alive()
            if all(answer.exists() for answer in answers):
                break
            if over:
                raise self._error or RuntimeError("a group of workers has ended, and its work is not done")
            time.sleep(pause)
        result = pickle.loads(answers[0].read_bytes())
        piece.unlink()
        return result

    def is_well(self) -> bool:
        """Whether it is to be given more work: not where Ray Train had to start the workers again, as failures are then
        to be counted anew, nor where memory was not given back."""
        return self._run.is_alive() and not (self._directory / SPENT).exists()

    def end(self) -> None:
        """Ends the workers and waits for it."""
        try:
            self._give(None, ())
        except (OSError, RaycipeError):  # the disk is full: they end where their directory is no more
            shutil.rmtree(self._directory, ignore_errors=True)
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
    begun = directory / f"{BEGUN}.{world.rank}"
    write_json(directory / SPENT if begun.exists() else begun, {})
    done: Path | None = None
    while (piece := _next_piece(directory, done)) is not None:
        function, arguments = pickle.loads(piece.read_bytes())
        if function is None:
            return
        answer = _answer(piece, world.rank)
        answer.unlink(missing_ok=True)  # of a worker before, that was lost
        try:
            result = pickle.dumps(function(*arguments))
        except RaycipeError:
            write_json(directory / FAILURE, {})  # so that Ray ends the others, who may wait for this one, and the run
            raise
        del function, arguments
        free_memory(world.device)
        if memory_in_use(world.device) > LEFT:
            write_json(directory / SPENT, {})
        write_bytes(answer, result)
        done = piece


def _next_piece(directory: Path, done: Path | None) -> Path | None:
    """Waits for the piece of work after one that is done; None where the directory is no more."""
    for pause in _pauses():
        piece = max(directory.glob("*.work"), default=done)
        if piece != done:
            return piece
        if not directory.exists():
            break
        time.sleep(pause)
    return None


def _pauses() -> Iterator[float]:
    """Seconds between looks, short at first."""
    pause = LOOK
    while True:
        yield pause
        pause = min(1.02 * pause, RARELY)
