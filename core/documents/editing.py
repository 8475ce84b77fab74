"""Documents after a step: rows left out, parts of texts cut or replaced, and all of it kept aside."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.documents.ledger import CUT, SPANS, Ledger, Verdict, dropped_rows
from core.documents.table import DOCUMENTS, buffers, content
from core.documents.turns import outside_of_turns, turn_spans, without_turns

NOTHING_LEFT = "nothing_left"
PAIR = ("prompt", "chosen", "rejected")


def carry_out(documents: pa.Table, step: str, verdict: Verdict, ledger: Ledger) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The documents that are left, the rows of DROPPED and the rows of CUT; the ledger counts them.

    A turn that leaves its dialogue is a row of CUT as a passage is, from its begin to its end in the content.
    A text of which only white space is left is dropped as it was, and so is a dialogue of which no turn is left, or
    one that stays would be empty that was not, or a pair of which a part would be.
    """
    if verdict.labels is not None:
        ledger.labelled(documents, step, verdict.labels)
    spans, turns = (_of_kept(table, verdict) for table in (verdict.spans, verdict.turns))
    if spans is None and turns is None:
        dropped = dropped_rows(documents, step, verdict)
        ledger.dropped(dropped)
        return documents.filter(pc.is_null(verdict.reason)), dropped, CUT.empty_table()
    documents = documents.combine_chunks()
    after, cut = documents, SPANS.empty_table()
    if turns is not None:
        cut = turn_spans(documents, turns)
    if spans is not None:
        spans = _within_parts(documents, spans)
        spans = spans if turns is None else outside_of_turns(documents, spans, turns)
        after = edited(documents, spans)
        verdict = _emptied(documents, after, spans, verdict)
        cut = pa.concat_tables([spans, cut]).sort_by([("row", "ascending"), ("begin", "ascending")]).combine_chunks()
    if turns is not None:
        after = without_turns(after, turns)
        verdict = _left_without_turns(after, turns, verdict)
    dropped = dropped_rows(documents, step, verdict)
    ledger.dropped(dropped)
    cut = cut.filter(pc.is_null(verdict.reason.take(cut["row"])))
    ledger.cut(step, documents, cut, after)
    return after.filter(pc.is_null(verdict.reason)), dropped, cut_rows(documents, step, cut)


def _of_kept(table: pa.Table | None, verdict: Verdict) -> pa.Table | None:
    """The spans or turns of rows that are kept; None where there are none."""
    if table is None or not table.num_rows:
        return None
    table = table.filter(pc.is_null(verdict.reason.take(table["row"]))).combine_chunks()
    return table if table.num_rows else None


def _left_without_turns(after: pa.Table, turns: pa.Table, verdict: Verdict) -> Verdict:
    """The verdict with dialogues dropped that have no turn left; evidence: why the first one was taken."""
    empty = pc.fill_null(pc.equal(pc.list_value_length(after["messages"].combine_chunks()), 0), False)
    rows, first = np.unique(turns["row"].to_numpy(), return_index=True)
    empty = empty.take(pa.array(rows)).to_numpy(zero_copy_only=False)
    reason, evidence = verdict.reason.to_pylist(), verdict.evidence.to_pylist()
    for row, place in zip(rows[empty].tolist(), first[empty].tolist(), strict=True):
        if reason[row] is None:
            reason[row], evidence[row] = NOTHING_LEFT, _why(turns, place)
    return Verdict(pa.array(reason, pa.string()), pa.array(evidence, pa.string()))


def _why(table: pa.Table, place: int) -> str:
    """Reason and evidence of a span or turn in one line."""
    return ": ".join(filter(None, (table[name][place].as_py() for name in ("reason", "evidence"))))


def _emptied(documents: pa.Table, after: pa.Table, spans: pa.Table, verdict: Verdict) -> Verdict:
    """The verdict with documents dropped that spans leave empty; evidence: why the first span was cut."""
    rows, first = np.unique(spans["row"].to_numpy(), return_index=True)
    was, left = (_texts_of(table.take(pa.array(rows))) for table in (documents, after))
    reason, evidence = verdict.reason.to_pylist(), verdict.evidence.to_pylist()
    for place, before, now in zip(range(len(rows)), was, left, strict=True):
        if any(text.strip() and not kept.strip() for text, kept in zip(before, now, strict=True)):
            reason[rows[place]] = NOTHING_LEFT
            evidence[rows[place]] = _why(spans, int(first[place]))
    return Verdict(pa.array(reason, pa.string()), pa.array(evidence, pa.string()))


def _texts_of(documents: pa.Table) -> Iterator[list[str]]:
    """The text of each document, or the texts of its turns or parts."""
    for document in documents.select(["text", "messages", *PAIR]).to_pylist():
        if document["text"] is not None:
            yield [document["text"]]
        elif document["messages"] is not None:
            yield [message["content"] or "" for message in document["messages"]]
        else:
            yield [document[name] or "" for name in PAIR]


def _within_parts(documents: pa.Table, spans: pa.Table) -> pa.Table:
    """The spans of dialogues and pairs, cut at the ends of turns and parts; the newline between them is nobody's."""
    of_text = documents["text"].combine_chunks().is_valid().take(spans["row"])
    if pc.all(of_text).as_py():
        return spans.combine_chunks()
    others = spans.filter(pc.invert(of_text)).to_pylist()
    rows = sorted({span["row"] for span in others})
    texts = dict(zip(rows, _texts_of(documents.take(pa.array(rows))), strict=True))
    pieces = []
    for span in others:
        start, replacement = 0, span["replacement"]
        for size in (len(text.encode()) for text in texts[span["row"]]):
            begin, end = max(span["begin"], start), min(span["end"], start + size)
            if begin < end:
                pieces.append({**span, "begin": begin, "end": end, "replacement": replacement})
                replacement = None
            start += size + 1
    both = pa.concat_tables([spans.filter(of_text), pa.Table.from_pylist(pieces, SPANS)])
    return both.sort_by([("row", "ascending"), ("begin", "ascending")]).combine_chunks()


def edited(documents: pa.Table, spans: pa.Table) -> pa.Table:
    """The documents with spans cut or replaced.

    spans: SPANS of the documents' `content`, ascending, apart from each other, each within one text, turn or part.
    """
    spliced = _spliced(content(documents), spans)
    touched = np.zeros(documents.num_rows, bool)
    touched[spans["row"].to_numpy()] = True
    other = np.flatnonzero(touched & ~documents["text"].is_valid().to_numpy())
    text = pc.if_else(documents["text"].is_valid(), spliced, None)
    after = documents.set_column(documents.schema.get_field_index("text"), DOCUMENTS.field("text"), text)
    if not len(other):
        return after
    found: dict[int, list[dict[str, Any]]] = {row: [] for row in other.tolist()}
    for span in spans.select(["row", "begin", "end", "replacement"]).to_pylist():
        if span["row"] in found:
            found[span["row"]].append(span)
    parts = documents.take(pa.array(other)).to_pylist()
    changed = [_parts_edited(document, own) for document, own in zip(parts, found.values(), strict=True)]
    order = np.arange(documents.num_rows)
    order[other] = documents.num_rows + np.arange(len(other))
    new = pa.Table.from_pylist(changed, DOCUMENTS)
    return pa.concat_tables([after.cast(DOCUMENTS), new]).take(pa.array(order)).combine_chunks()


def _spliced(texts: pa.LargeStringArray, spans: pa.Table) -> pa.LargeStringArray:
    """Each text without its spans, and with what replaces them, copied piece by piece.

    A document with k spans is k + 1 pieces of itself with k replacements between them.
    """
    from core.documents.splicing_kernels import gathered

    data, offsets = buffers(texts)
    row, begin, end = (spans[name].to_numpy() for name in ("row", "begin", "end"))
    filling, filling_offsets = buffers(pc.fill_null(spans["replacement"].combine_chunks(), ""))
    count = len(row)
    place = 2 * np.arange(count) + row  # of the piece before each span, among all pieces; its replacement follows
    starts = np.empty(2 * count + len(texts), np.int64)
    ends = np.empty_like(starts)
    last = np.ones(len(starts), bool)  # pieces that end a document
    last[place] = last[place + 1] = False
    ends[place] = offsets[row] + begin
    starts[place + 1] = len(data) + filling_offsets[:-1]
    ends[place + 1] = len(data) + filling_offsets[1:]
    ends[last] = offsets[1:]
    first = np.concatenate([[True], last[:-1]])[: len(starts)]
    starts[first] = offsets[:-1]
    after_span = place + 2
    starts[after_span] = offsets[row] + end
    pieces = np.flatnonzero(last)
    joined = np.concatenate([data, filling])
    copied, bounds = gathered(joined, starts, ends)
    new_offsets = np.concatenate([[0], bounds[pieces + 1]])
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(new_offsets), pa.py_buffer(copied))


def _parts_edited(document: dict[str, Any], spans: list[dict[str, Any]]) -> dict[str, Any]:
    """A dialogue or a pair; its content is these texts, joined by newlines."""
    messages = document["messages"]
    if messages is not None:
        new = _parts_spliced([message["content"] or "" for message in messages], spans)
        return document | {
            "messages": [message | {"content": text} for message, text in zip(messages, new, strict=True)]
        }
    return document | dict(zip(PAIR, _parts_spliced([document[name] or "" for name in PAIR], spans), strict=True))


def _parts_spliced(texts: list[str], spans: list[dict[str, Any]]) -> list[str]:
    new = []
    data = [text.encode() for text in texts]
    for text, start in zip(data, accumulate((len(text) + 1 for text in data), initial=0), strict=False):
        kept, place = [], 0
        for span in spans:
            begin, end = span["begin"] - start, span["end"] - start
            if 0 <= begin < len(text):
                kept += [text[place:begin], (span["replacement"] or "").encode()]
                place = end
        new.append(b"".join([*kept, text[place:]]).decode())
    return new


def cut_rows(documents: pa.Table, step: str, spans: pa.Table) -> pa.Table:
    """The spans as rows of CUT, with the text that they took; not with what was replaced."""
    from core.documents.splicing_kernels import gathered

    data, offsets = buffers(content(documents))
    start = offsets[spans["row"].to_numpy()]
    taken, bounds = gathered(data, start + spans["begin"].to_numpy(), start + spans["end"].to_numpy())
    text = pa.LargeStringArray.from_buffers(spans.num_rows, pa.py_buffer(bounds), pa.py_buffer(taken))
    columns = [
        documents["id"].take(spans["row"]),
        documents["source"].take(spans["row"]),
        pa.repeat(pa.scalar(step), spans.num_rows),
        *(spans[name] for name in ("reason", "evidence", "begin", "end")),
        pc.if_else(pc.is_null(spans["replacement"]), text, None),
    ]
    return pa.table(columns, names=CUT.names).cast(CUT)
