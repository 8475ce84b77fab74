"""Packed rows as the tensors of one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


def collate(rows: Sequence[Row], padding: int, device: torch.device | str = "cpu") -> Batch:
    """Rows, padded on the right to the longest of them."""
    import torch

    width = max(len(row.input_ids) for row in rows)
    input_ids = np.full((len(rows), width), padding, np.int64)
    position_ids = np.empty((len(rows), width), np.int64)
    targets = np.full((len(rows), width), IGNORED, np.int64)
    for index, row in enumerate(rows):
        tokens = len(row.input_ids)
        input_ids[index, :tokens] = row.input_ids
        lengths = np.append(row.sequence_lengths, width - tokens)
        position_ids[index] = np.arange(width) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        for start, end in row.loss_mask.reshape(-1, 2):
            targets[index, start:end] = row.input_ids[start:end]
    return Batch(*(torch.from_numpy(array).to(device) for array in (input_ids, position_ids, targets)))
