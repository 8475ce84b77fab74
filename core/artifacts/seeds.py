"""Randomness from the recipe's seed through named streams, never from global state."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream that `names` name, e.g. derive_seed(42, "shuffle", "sft", epoch).

    Streams of different names are independent; adding one changes no other.
    """
    key = "\0".join(map(str, (seed, *names))).encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A numpy generator for a named stream."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *names)))
