"""Whole turns of dialogues: where they lie in the dialogues' content, and dialogues without some of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.documents.ledger import SPANS
from core.documents.table import DOCUMENTS, MESSAGES

Numbers = NDArray[np.int64]


def turn_spans(documents: pa.Table, turns: pa.Table) -> pa.Table:
    """TURNS as SPANS of their dialogues' `content`: each from the begin to the end of a turn, in order."""
    firsts, starts = _places(documents)
    row = turns["row"].to_numpy()
    place = firsts[row] + turns["turn"].to_numpy()
    begin, end = (edge - starts[firsts[row]] for edge in (starts[place], starts[place + 1] - 1))
    nothing = pa.nulls(turns.num_rows, pa.large_string())
    spans = pa.table([row, begin, end, turns["reason"], nothing, turns["evidence"]], names=SPANS.names).cast(SPANS)
    return spans.sort_by([("row", "ascending"), ("begin", "ascending")]).combine_chunks()


def outside_of_turns(documents: pa.Table, spans: pa.Table, turns: pa.Table) -> pa.Table:
    """The SPANS, each within one text, turn or part, that lie in none of TURNS."""
    firsts, starts = _places(documents)
    gone = np.zeros(len(starts), bool)
    gone[firsts[turns["row"].to_numpy()] + turns["turn"].to_numpy()] = True
    row = spans["row"].to_numpy()
    place = np.searchsorted(starts, starts[firsts[row]] + spans["begin"].to_numpy(), "right") - 1
    of_dialogue = firsts[row] < firsts[row + 1]
    return spans.filter(pa.array(~(of_dialogue & gone[place])))


def without_turns(documents: pa.Table, turns: pa.Table) -> pa.Table:
    """The documents without TURNS; a dialogue may be left with none."""
    messages = documents["messages"].combine_chunks()
    firsts, _ = _places(documents)
    kept = np.ones(firsts[-1], bool)
    kept[firsts[turns["row"].to_numpy()] + turns["turn"].to_numpy()] = False
    offsets = pa.array(np.concatenate([[0], np.cumsum(kept)])[firsts], pa.int32())
    left = pc.list_flatten(messages).filter(pa.array(kept))
    lists = pa.ListArray.from_arrays(offsets, left, mask=pc.is_null(messages)).cast(MESSAGES)
    return documents.set_column(documents.schema.get_field_index("messages"), DOCUMENTS.field("messages"), lists)


def _places(documents: pa.Table) -> tuple[Numbers, Numbers]:
    """Of all turns, one after the other: which is the first of each row, int64[rows + 1], and where each begins.

    The latter in bytes of their contents with one byte between them, int64[turns + 1].
    """
    messages = documents["messages"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(messages), 0).to_numpy()
    contents = pc.fill_null(pc.struct_field(pc.list_flatten(messages), "content"), "")
    sizes = pc.binary_length(contents).to_numpy()
    firsts, starts = (np.concatenate([[0], np.cumsum(part, dtype=np.int64)]) for part in (lengths, sizes + 1))
    return firsts, starts
