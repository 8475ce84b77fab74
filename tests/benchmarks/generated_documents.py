"""Documents of any number from a seed, as Parquet, for measurements of growth and scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

SEED = 42
WORDS = 60  # of a document
VOCABULARY = 50_000
COPIED = 10  # every how many-th document is an earlier one with one word changed, at a Jaccard similarity above .83
ROWS = 50_000  # of a row group
LETTERS = np.array([*b"abcdefghijklmnopqrstuvwxyz"], np.uint8)


def write_short(documents: int, path: Path) -> int:
    """Documents of `WORDS` words, as `COPIED` says; returns the bytes of their text."""
    rng = np.random.default_rng(SEED)
    vocabulary = pa.array([f"{_letters(number)}{number % 7}" for number in range(VOCABULARY)])
    words = (rng.random((documents, WORDS), np.float32) ** 2 * VOCABULARY).astype(np.uint16)  # the first are frequent
    copies = np.arange(COPIED - 1, documents, COPIED)
    originals = (rng.random(len(copies)) * (copies // COPIED + 1)).astype(np.int64) * COPIED
    words[copies] = words[originals + rng.integers(0, COPIED - 1, len(copies))]
    words[copies, rng.integers(0, WORDS, len(copies))] = rng.integers(0, VOCABULARY, len(copies))
    size = 0
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())]), compression="zstd") as writer:
        for begin in range(0, documents, ROWS):
            part = words[begin : begin + ROWS]
            ends = pa.array(np.arange(0, part.size + 1, WORDS, dtype=np.int32))
            lists = pa.ListArray.from_arrays(ends, vocabulary.take(pa.array(part.ravel())))
            texts = pc.binary_join(lists, " ")
            size += pc.sum(pc.binary_length(texts)).as_py()
            writer.write_table(pa.table({"text": texts}))
    return size


def write_exchanged(texts: pa.Array, number: int, path: Path) -> int:
    """The texts with the letters of the alphabet exchanged for one another, so that no longer words are alike but what
    is similar stays so; number 0: as they are. Returns the bytes of their text.
    """
    order = np.random.default_rng(number).permutation(len(LETTERS)) if number else np.arange(len(LETTERS))
    table = np.arange(256, dtype=np.uint8)
    table[LETTERS] = LETTERS[order]
    table[LETTERS - 32] = LETTERS[order] - 32  # capital letters alike
    validity, offsets, data = texts.buffers()
    exchanged = pa.py_buffer(table[np.frombuffer(data, np.uint8)])
    texts = pa.Array.from_buffers(texts.type, len(texts), [validity, offsets, exchanged], offset=texts.offset)
    pq.write_table(pa.table({"text": texts}), path, compression="zstd", row_group_size=10_000)
    size: int = pc.sum(pc.binary_length(texts)).as_py()
    return size


def _letters(number: int) -> str:
    """A word of one to four letters, another for each number."""
    found = ""
    while True:
        found += chr(LETTERS[number % 26])
        number //= 26
        if not number:
            return found
