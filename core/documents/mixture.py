"""How many documents of each source are kept, chosen by seed and id alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import xxhash


def sample(ids: pa.Array | Iterable[str], count: int, seed: int) -> np.ndarray:
    """bool[documents]: the `count` documents with the smallest key, or all where there are fewer.

    A smaller count chooses a subset of what a larger one chooses, and a document's key depends on nothing but its
    id and the seed: neither on the order nor on the other documents. Of equal ids the earlier goes first.
    """
    return select(keys(ids, seed), count)


def keys(ids: pa.Array | Iterable[str], seed: int) -> np.ndarray:
    """uint64[documents]: xxh3-64 of each id. Keys of shards can be gathered where their ids would be too many."""
    names = ids.to_pylist() if isinstance(ids, pa.Array | pa.ChunkedArray) else ids
    salt = seed & (1 << 64) - 1
    return np.fromiter((xxhash.xxh3_64_intdigest(name.encode(), salt) for name in names), np.uint64)


def select(document_keys: np.ndarray, count: int) -> np.ndarray:
    """bool[documents]: the `count` smallest keys; of equal ones the earlier."""
    chosen = np.zeros(len(document_keys), bool)
    chosen[np.argsort(document_keys, kind="stable")[: max(0, count)]] = True
    return chosen
