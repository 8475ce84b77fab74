"""Checkpoints: each worker's part of weights and optimiser state as safetensors, and a JSON of where training stands.

A directory `step-00000012` holds `rank-00000.safetensors`, ... and `state.json`, which comes last: without it a
checkpoint is not there. What a file holds is a part of each parameter with the place where it begins, so that any
number of workers can read what any number has written.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from core.artifacts.atomic import writable, write_json
from core.artifacts.fingerprint import file_checksum
from core.errors import DataError
from core.training.engine import Piece, World

if TYPE_CHECKING:
    import torch

CHECKPOINTS = "checkpoints"  # in a phase's directory
STATE = "state.json"
NO_STEP = -1
FORMAT = 2  # of the files of a checkpoint


def step_directory(directory: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return directory / f"step-{step:08d}"


class CheckpointWriter:
    """Writes checkpoints in the background, and removes those that are not to be kept.

    What is to be written is copied at once; training goes on while a thread writes. An error of the thread is raised
    by the next `check`, `save` or `close`.
    """

    def __init__(self, directory: Path, world: World, keep: int, patience: float = 1800) -> None:
        """keep: so many of the latest; patience: seconds that rank 0 waits for the files of the others."""
        self._directory, self._world, self._keep, self._patience = directory, world, keep, patience
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def save(self, step: int, pieces: Iterable[Piece], state: Mapping[str, Any], best_step: int | None = None) -> None:
        """Begins to write a checkpoint, once the one before is written. best_step: a checkpoint that is kept too."""
        self.close()
        copied = [Piece(piece.key, piece.start, piece.values.detach().to("cpu", copy=True)) for piece in pieces]
        arguments = (step, copied, dict(state), best_step)
        self._thread = threading.Thread(target=self._write, args=arguments, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises what has gone wrong in the background."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def close(self) -> None:
        """Waits until all is written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.check()

    def _write(self, step: int, pieces: list[Piece], state: dict[str, Any], best_step: int | None) -> None:
        directory = step_directory(self._directory, step)
        try:
            write_part(directory, self._world.rank, pieces)
            if self._world.rank == 0:
                self._await_others(directory)
                write_json(directory / STATE, {"format": FORMAT, "world_size": self._world.size, "step": step, **state})
                self._forget(best_step)
        except BaseException as error:
            if self._world.rank == 0:
                shutil.rmtree(directory, ignore_errors=True)
            self._error = error

    def _await_others(self, directory: Path) -> None:
        """Returns when every worker has written its part."""
        until = time.monotonic() + self._patience
        missing = [rank for rank in range(self._world.size) if not _seal(directory, rank).exists()]
        while missing:
            if time.monotonic() > until:
                raise RuntimeError(f"{directory}: worker {missing[0]} has not written its part in {self._patience} s")
            time.sleep(0.05)
            missing = [rank for rank in missing if not _seal(directory, rank).exists()]

    def _forget(self, best_step: int | None) -> None:
        whole = complete(self._directory)
        best = step_directory(self._directory, best_step) if best_step is not None else None
        for directory in whole[self._keep :]:
            if directory != best:
                (directory / STATE).unlink()  # from here on it is none
                shutil.rmtree(directory)


def write_part(directory: Path, rank: int, pieces: Iterable[Piece]) -> None:
    """Writes a worker's part of a checkpoint, and last its checksum."""
    from safetensors.torch import save_file

    found = list(pieces)
    path = _part(directory, rank)
    with writable(directory):
        directory.mkdir(parents=True, exist_ok=True)
        starts = orjson.dumps({piece.key: piece.start for piece in found}).decode()
        save_file({piece.key: piece.values.contiguous() for piece in found}, path, metadata={"starts": starts})
    write_json(_seal(directory, rank), {"xxh3_128": file_checksum(path), "bytes": path.stat().st_size})


def complete(directory: Path) -> list[Path]:
    """The checkpoints of a phase that were finished, the newest first."""
    return sorted((path.parent for path in directory.glob(f"step-*/{STATE}")), reverse=True)


def forget_unfinished(directory: Path) -> None:
    """Removes what a kill has left half-written."""
    for path in directory.glob("step-*"):
        if not (path / STATE).exists():
            shutil.rmtree(path, ignore_errors=True)


def read_state(directory: Path, fingerprint: str) -> dict[str, Any]:
    """Where training stands in a checkpoint. Raises DataError where it is broken, another version's or recipe's."""
    try:
        state: dict[str, Any] = orjson.loads((directory / STATE).read_bytes())
        known, found = state["format"], state["fingerprint"]
        state["step"], state["world_size"], state["progress"]
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise DataError(f"{directory}: not a whole checkpoint ({error})") from error
    if known != FORMAT:
        raise DataError(f"{directory}: a checkpoint in format {known}, and this version reads {FORMAT}")
    if found != fingerprint:
        raise DataError(f"{directory}: a checkpoint of another recipe or data ({found})")
    return state


def check_part(directory: Path, rank: int) -> None:
    """Raises DataError where a worker's part is not what was written."""
    path, seal = _part(directory, rank), _seal(directory, rank)
    try:
        wanted = orjson.loads(seal.read_bytes())["xxh3_128"]
        if file_checksum(path) != wanted:
            raise DataError(f"{path}: is not what was written (truncated or changed)")
    except (OSError, orjson.JSONDecodeError, KeyError) as error:
        raise DataError(f"{directory}: not a whole checkpoint ({error})") from error


def newest_valid(directory: Path, fingerprint: str, world: World) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that holds, the same on every worker, and why each newer one was refused.

    Rank 0 says which are there, as a network's file system may show others fewer; each worker checks some of the parts.
    """
    refused = []
    candidates = iter(complete(directory) if world.rank == 0 else ())
    while True:
        step, parts = NO_STEP, 0
        for candidate in candidates:
            try:
                state = read_state(candidate, fingerprint)
            except DataError as error:
                refused.append(str(error))
                continue
            step, parts = state["step"], state["world_size"]
            break
        step, parts = said_by_first([step, parts], world)
        if step == NO_STEP:
            return None, refused
        found = step_directory(directory, step)
        broken = _first_broken(found, parts, world)
        if broken is None:
            return found, refused
        refused.append(f"{_part(found, broken)}: is not what was written (truncated or changed)")


def said_by_first(numbers: Sequence[int], world: World) -> list[int]:
    """What rank 0 says, on every worker."""
    import torch
    import torch.distributed as dist

    found = torch.tensor([int(number) for number in numbers], device=world.device)
    if world.size > 1 and len(numbers):
        dist.broadcast(found, 0)
    return [int(number) for number in found]


def _first_broken(directory: Path, parts: int, world: World) -> int | None:
    import torch
    import torch.distributed as dist

    broken = parts
    for rank in range(world.rank, parts, world.size):
        try:
            check_part(directory, rank)
        except DataError:
            broken = rank
            break
    if world.size > 1:
        found = torch.tensor(broken, device=world.device)
        dist.all_reduce(found, op=dist.ReduceOp.MIN)
        broken = int(found)
    return broken if broken < parts else None


class CheckpointPieces:
    """The tensors of a checkpoint, read where they are asked for."""

    def __init__(self, directory: Path, parts: int) -> None:
        from safetensors import safe_open

        self._directory = directory
        self._places: dict[str, list[tuple[int, int, Any]]] = {}
        for rank in range(parts):
            file: Any = safe_open(_part(directory, rank), framework="pt")
            starts = orjson.loads(file.metadata()["starts"])
            for key in file.keys():  # noqa: SIM118 - a file of safetensors is no mapping
                start, length = starts[key], file.get_slice(key).get_shape()[0]
                self._places.setdefault(key, []).append((start, start + length, file))

    def sizes(self) -> dict[str, int]:
        """How many elements each parameter has."""
        return {
            key.removesuffix("/weight"): max(stop for _, stop, _ in places)
            for key, places in self._places.items()
            if key.endswith("/weight")
        }

    def read(self, key: str, start: int, stop: int) -> torch.Tensor:
        """values[start:stop] of the whole, flattened. Raises DataError where they are not there."""
        import torch

        found, at = [], start
        for begin, end, file in sorted(self._places.get(key, ()), key=lambda place: place[:2]):
            if begin <= at < end and at < stop:
                upto = min(end, stop)
                found.append(file.get_slice(key)[at - begin : upto - begin])
                at = upto
        if at < stop or not found:
            raise DataError(f"{self._directory}: has no {key} from {at} to {stop}")
        return found[0] if len(found) == 1 else torch.cat(found)


def require_same_model(directory: Path, pieces: CheckpointPieces, sizes: Mapping[str, int]) -> None:
    """Raises DataError where a checkpoint is of other parameters than those to be trained (name: elements)."""
    found = pieces.sizes()
    if found != dict(sizes):
        differing = sorted(name for name in found.keys() | sizes.keys() if found.get(name) != sizes.get(name))
        raise DataError(f"{directory}: holds the weights of another model ({differing[0]} and {len(differing)} in all)")


def _part(directory: Path, rank: int) -> Path:
    return directory / f"rank-{rank:05d}.safetensors"


def _seal(directory: Path, rank: int) -> Path:
    return directory / f"rank-{rank:05d}.json"
