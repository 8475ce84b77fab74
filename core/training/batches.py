"""Packed rows as the tensors of one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from core.tokens.shards import Row

if TYPE_CHECKING:
    import torch

IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """int64[rows, tokens] each. Positions restart at 0 in every packed sample, and in the padding behind the last."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    targets: torch.Tensor  # the token itself where it is to be predicted (from the one before it), else IGNORED
    samples: torch.Tensor  # which sample of the batch a token is of, counted through its rows; padding: sample_count
    sample_count: int
    reference_logps: torch.Tensor | None = None  # fp32[samples]: what the reference gives each, for preference pairs


def collate(
    rows: Sequence[Row],
    padding: int,
    device: torch.device | str = "cpu",
    *,
    width: int | None = None,
    reference_logps: Sequence[np.ndarray] | None = None,
) -> Batch:
    """Rows, padded on the right to `width` or to the longest of them. reference_logps: fp32[samples] of each row."""
    import torch

    width = width or max(len(row.input_ids) for row in rows)
    input_ids = np.full((len(rows), width), padding, np.int64)
    position_ids = np.empty((len(rows), width), np.int64)
    targets = np.full((len(rows), width), IGNORED, np.int64)
    count = sum(len(row.sequence_lengths) for row in rows)
    samples = np.full((len(rows), width), count, np.int64)
    first = 0
    for index, row in enumerate(rows):
        tokens = len(row.input_ids)
        input_ids[index, :tokens] = row.input_ids
        lengths = np.append(row.sequence_lengths, width - tokens)
        position_ids[index] = np.arange(width) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        samples[index, :tokens] = np.repeat(first + np.arange(len(lengths) - 1), row.sequence_lengths)
        first += len(lengths) - 1
        for start, end in row.loss_mask.reshape(-1, 2):
            targets[index, start:end] = row.input_ids[start:end]
    ids, positions, wanted, numbers = (
        torch.from_numpy(array).to(device) for array in (input_ids, position_ids, targets, samples)
    )
    logps = torch.from_numpy(np.concatenate(reference_logps)).to(device) if reference_logps is not None else None
    return Batch(ids, positions, wanted, numbers, count, logps)


def without_targets(batch: Batch) -> Batch:
    """A batch that nothing is learned from and that counts for nothing: what a worker runs that has no rows left."""
    import torch

    logps = batch.reference_logps[:0] if batch.reference_logps is not None else None
    return replace(batch, targets=torch.full_like(batch.targets, IGNORED), sample_count=0, reference_logps=logps)
