"""One part of each document: what somebody says in a dialogue, or a side of a preference pair."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from core.documents.table import MESSAGES, content

OnePart = Literal["system", "user", "assistant", "prompt", "chosen", "rejected"]
Part = Literal["all", "system", "user", "assistant", "prompt", "chosen", "rejected"]
Parts = Part | Annotated[list[OnePart], Field(min_length=1)]

SIDES = ("prompt", "chosen", "rejected")
PART_WORDS = "all, or one or several of system, user, assistant (of dialogues), prompt, chosen, rejected (of pairs)"


def part_of(documents: pa.Table, parts: Parts) -> pa.LargeStringArray:
    """The text of a part of each document: turns and sides in their order, joined by newlines.

    Null where a document has no such part; of `all`, its content, never.
    """
    if parts == "all":
        return content(documents)
    names = _names(parts)
    documents = documents.combine_chunks()
    sides = [documents[name].combine_chunks() for name in SIDES if name in names]
    joined = pc.binary_join_element_wise(*sides, pa.scalar("\n", pa.large_string())) if sides else None
    said = _said(documents["messages"].combine_chunks(), names)
    return said if joined is None else pc.coalesce(said, joined)


def edited_part(
    documents: pa.Table, parts: Parts, chosen: pa.BooleanArray, edit: Callable[[pa.LargeStringArray], pa.Array]
) -> pa.Table:
    """The documents with a part of the chosen ones edited: every turn and side by itself.

    chosen: boolean per row, not null; edit: gives as many texts as it gets, none of them null.
    """
    names = _names(parts)
    documents = documents.combine_chunks()

    def changed(texts: pa.Array, which: pa.Array) -> pa.Array:
        which = pc.and_(which, pc.is_valid(texts))
        return pc.replace_with_mask(texts, which, edit(texts.filter(which)).cast(texts.type))

    for name in ("text", *SIDES) if parts == "all" else SIDES:
        if parts == "all" or name in names:
            place = documents.schema.get_field_index(name)
            column = changed(documents[name].combine_chunks(), chosen)
            documents = documents.set_column(place, documents.schema.field(name), column)
    messages = documents["messages"].combine_chunks()
    turns, document = pc.list_flatten(messages), pc.list_parent_indices(messages)
    roles, contents = pc.struct_field(turns, "role"), pc.struct_field(turns, "content")
    of_part = pc.and_(chosen.take(document), _is_of(roles, names))
    new = pa.StructArray.from_arrays([roles, changed(contents, of_part)], fields=list(MESSAGES.value_type))
    lengths = pc.fill_null(pc.list_value_length(messages), 0).to_numpy()
    dialogues = _lists(lengths, new, pc.is_null(messages))
    return documents.set_column(documents.schema.get_field_index("messages"), "messages", dialogues.cast(MESSAGES))


def _names(parts: Parts) -> set[str]:
    if parts == "all":
        return {"system", "user", "assistant", *SIDES}
    return {parts} if isinstance(parts, str) else set(parts)


def _said(messages: pa.ListArray, names: set[str]) -> pa.LargeStringArray:
    """What those roles say in each dialogue; null where they have no turn."""
    turns = pc.list_flatten(messages)
    wanted = _is_of(pc.struct_field(turns, "role"), names)
    contents = pc.fill_null(pc.struct_field(turns, "content").filter(wanted), "")
    document = pc.list_parent_indices(messages).filter(wanted).to_numpy()
    lengths = np.bincount(document, minlength=len(messages))
    return pc.binary_join(_lists(lengths, contents, pa.array(lengths == 0)), pa.scalar("\n", pa.large_string()))


def _is_of(roles: pa.Array, names: set[str]) -> pa.BooleanArray:
    return pc.is_in(roles, value_set=pa.array(sorted(names), pa.string()))


def _lists(lengths: np.ndarray, values: pa.Array, null: pa.BooleanArray) -> pa.ListArray:
    """Lists of so many of the values each; null where they are said to be."""
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, values, mask=null)
