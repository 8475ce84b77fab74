"""What the reference model gives the samples of preference pairs: computed once, kept in files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from core.artifacts.atomic import atomic_path
from core.errors import DataError
from core.tokens.shards import TokenRows
from core.training.batches import Batch, collate, without_targets
from core.training.checkpoints import said_by_first
from core.training.engine import World
from core.training.order import micro_batches

ROWS_PER_PIECE = 256  # of which a file is made, and which a killed run does again at most


class ReferenceLogps:
    """log p of each sample's target tokens under the model that a phase starts from, by row."""

    def __init__(self, directory: Path, rows: TokenRows) -> None:
        """directory: of one split, whole. Raises DataError where a file is missing or broken."""
        from safetensors.numpy import load_file

        self._begins = np.concatenate([[0], np.cumsum(rows.samples)])
        try:
            parts = [load_file(_piece(directory, first))["logps"] for first in range(0, len(rows), ROWS_PER_PIECE)]
        except Exception as error:  # safetensors has errors of its own
            raise DataError(f"{directory}: not whole ({error}). Delete it to have it computed again.") from error
        self._logps = np.concatenate([np.empty(0, np.float32), *parts])
        if len(self._logps) != self._begins[-1]:
            raise DataError(f"{directory}: {len(self._logps)} samples, and the token shards have {self._begins[-1]}")

    def of(self, row: int) -> np.ndarray:
        """fp32[samples of the row]."""
        return self._logps[self._begins[row] : self._begins[row + 1]]


def compute_reference(
    forward: Callable[[Batch], torch.Tensor],
    rows: TokenRows,
    directory: Path,
    *,
    micro_batch_size: int,
    padding: int,
    world: World,
) -> None:
    """Computes what is not there yet, each piece of rows by all workers together.

    forward: a batch without reference to fp32[samples], its log-probabilities, in evaluation mode; every worker calls
    it equally often.
    """
    from safetensors.numpy import save_file

    firsts = range(0, len(rows), ROWS_PER_PIECE)
    there = said_by_first([_piece(directory, first).exists() for first in firsts], world)
    missing = [first for first, is_there in zip(firsts, there, strict=True) if not is_there]
    begins = np.concatenate([[0], np.cumsum(rows.samples)])
    for first in missing:
        numbers = list(range(first, min(first + ROWS_PER_PIECE, len(rows))))
        start = int(begins[first])
        logps = torch.zeros(int(begins[numbers[-1] + 1]) - start, device=world.device)
        for mine in micro_batches(numbers, micro_batch_size, world.rank, world.size):
            batch = collate([rows[number] for number in mine or numbers[:1]], padding, world.device)
            with torch.no_grad():
                found = forward(batch if mine else without_targets(batch))
            places = [np.arange(begins[number], begins[number + 1]) - start for number in mine]
            if places:
                logps[torch.from_numpy(np.concatenate(places)).to(logps.device)] = found
        if world.size > 1:
            dist.all_reduce(logps)
        if world.rank == 0:
            with atomic_path(_piece(directory, first)) as temporary:
                save_file({"logps": logps.cpu().numpy()}, temporary)
    if world.size > 1:
        dist.barrier()


def _piece(directory: Path, first: int) -> Path:
    return directory / f"rows-{first:09d}.safetensors"
