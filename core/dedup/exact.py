"""Documents that are the same, found by a hash of their content."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray
from pydantic import Field

from core.dedup.ngrams import buffers
from core.options import Options


class ExactDedup(Options):
    """Drops documents whose content occurred before."""

    normalise: bool = Field(
        False,
        description="Count texts as the same that differ only in case (Unicode case folding) or in white space.",
    )


def content_keys(content: pa.LargeStringArray, options: ExactDedup) -> NDArray[np.uint64]:
    """XXH3 of each document's bytes in UTF-8, 128 bits: uint64[rows, 2]."""
    data, offsets = buffers(content)
    view = memoryview(data.data)
    texts = (view[start:stop] for start, stop in pairwise(offsets.tolist()))
    as_hashed = map(_normalised, texts) if options.normalise else texts
    digests = b"".join(map(xxhash.xxh3_128_digest, as_hashed))
    return np.frombuffer(digests, ">u8").astype(np.uint64).reshape(-1, 2)


def _normalised(text: memoryview) -> bytes:
    return " ".join(str(text, "utf-8").casefold().split()).encode()


def first_occurrences(keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The first row with the same keys, int64[rows]: the row that is kept for each, itself where it is kept.

    keys: uint64[rows, columns]. Time and memory are linear in the rows, however many of them are the same.
    """
    from core.dedup import key_kernels as kernels

    return kernels.first_occurrences(np.ascontiguousarray(keys))
