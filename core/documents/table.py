"""The document table: the one shape that text, dialogues and preference pairs have between the stages."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.large_string())]))

DOCUMENTS = pa.schema(
    [
        ("id", pa.string()),  # {source}:{file number}:{row}, or the id column that the source declares
        ("source", pa.string()),
        ("text", pa.large_string()),  # exactly one of text, messages and prompt/chosen/rejected is not null
        ("messages", MESSAGES),
        ("prompt", pa.large_string()),
        ("chosen", pa.large_string()),
        ("rejected", pa.large_string()),
        ("meta", pa.large_string()),  # a JSON object, or null
    ]
)


def content(documents: pa.Table) -> pa.LargeStringArray:
    """All text of each document, for filters and deduplication: messages and pairs joined by newlines.

    Returns one non-null string per row.
    """
    documents = documents.combine_chunks()
    text = _one(documents["text"])
    if text.null_count == 0:
        return text
    messages = _one(documents["messages"])
    dialogue = pc.binary_join(_message_contents(messages), pa.scalar("\n", pa.large_string()))
    pair = pc.binary_join_element_wise(
        *(documents[name] for name in ("prompt", "chosen", "rejected")), pa.scalar("\n", pa.large_string())
    )
    return _one(pc.fill_null(pc.coalesce(text, dialogue, pair), ""))


def buffers(texts: pa.LargeStringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of the column and offsets int64[rows + 1] into them, without a copy, read-only. Nulls are empty."""
    if texts.null_count:
        texts = pc.fill_null(texts, "")
    _, starts, text = texts.buffers()
    data = np.frombuffer(text if text is not None else b"", np.uint8)
    offsets = np.zeros(1, np.int64)
    if len(texts):
        offsets = np.frombuffer(starts, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    data.flags.writeable = False  # one type of arguments, so that each kernel is compiled once
    offsets.flags.writeable = False
    return data, offsets


def _message_contents(messages: pa.ListArray) -> pa.ListArray:
    """The contents alone, as a list per document; null stays null. A null content counts as empty."""
    contents = pc.fill_null(pc.struct_field(pc.list_flatten(messages), "content"), "")
    lengths = pc.fill_null(pc.list_value_length(messages), 0)
    offsets = pc.cumulative_sum(pa.chunked_array([pa.array([0], lengths.type), lengths]))
    return pa.ListArray.from_arrays(_one(offsets), contents, mask=pc.is_null(messages))


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
