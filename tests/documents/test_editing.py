from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from core.documents.editing import NOTHING_LEFT, carry_out, edited
from core.documents.ledger import SPANS, TURNS, Ledger, Verdict
from core.documents.table import DOCUMENTS, content

TEXT = st.text(st.sampled_from("ab \n。é😀"), max_size=12)


def table(*documents: dict) -> pa.Table:
    rows = [{"id": f"d{number}", "source": "s"} | document for number, document in enumerate(documents)]
    return pa.Table.from_pylist(rows, DOCUMENTS)


def spans(*found: tuple) -> pa.Table:
    """Each: row, begin and end in bytes, and what replaces it."""
    rows = [dict(zip(("row", "begin", "end", "replacement"), span, strict=True)) | {"reason": "why"} for span in found]
    return pa.Table.from_pylist([row | {"evidence": None} for row in rows], SPANS)


def nothing(documents: pa.Table) -> pa.Array:
    return pa.nulls(documents.num_rows, pa.string())


@st.composite
def texts_with_spans(draw):
    texts, found = draw(st.lists(TEXT, min_size=1, max_size=5)), []
    for row, text in enumerate(texts):
        places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
        for begin, end in zip(places[::2], places[1::2], strict=False):
            found.append((row, begin, end, draw(st.none() | TEXT)))
    return texts, found


def in_bytes(text: str, place: int) -> int:
    return len(text[:place].encode())


@settings(deadline=None)
@given(texts_with_spans())
def test_cutting_and_replacing_equal_python_on_strings(made):
    texts, found = made
    expected = list(texts)
    for row, begin, end, replacement in reversed(found):
        expected[row] = expected[row][:begin] + (replacement or "") + expected[row][end:]
    documents = table(*({"text": text} for text in texts))
    byte_spans = [(row, in_bytes(texts[row], b), in_bytes(texts[row], e), new) for row, b, e, new in found]
    assert edited(documents, spans(*byte_spans))["text"].to_pylist() == expected


def test_a_span_over_two_messages_takes_from_each_its_part():
    messages = [{"role": "user", "content": "one two"}, {"role": "assistant", "content": "three four"}]
    documents = table({"text": "other"}, {"messages": messages}, {"text": "last"})
    found = Verdict(nothing(documents), nothing(documents), spans((1, 4, 14, "|")))
    after, _, cut = carry_out(documents, "step", found, Ledger())
    assert [message["content"] for message in after["messages"][1].as_py()] == ["one |", "four"]
    assert [(row["begin"], row["end"], row["text"]) for row in cut.to_pylist()] == [(4, 7, None), (8, 14, "three ")]
    assert after["text"].to_pylist() == ["other", None, "last"]


def test_a_pair_is_edited_in_its_parts():
    documents = table({"prompt": "ask me", "chosen": "yes", "rejected": "no no"})
    after = edited(documents, spans((0, 0, 4, None), (0, 11, 13, "N"))).to_pylist()[0]
    assert (after["prompt"], after["chosen"], after["rejected"]) == ("me", "yes", "N no")


def test_what_is_cut_is_kept_aside_and_what_is_replaced_is_not():
    documents = table({"text": "ab cd"}, {"text": "mail a@b.c now"}, {"text": "gone"})
    found = spans((0, 0, 3, None), (1, 5, 10, "<email>"), (2, 0, 4, None))
    verdict = Verdict(pa.array([None, None, "bad"]), pa.array([None, None, "so"]), found)
    ledger = Ledger()
    ledger.read(documents)
    left, dropped, cut = carry_out(documents, "step", verdict, ledger)
    assert left["text"].to_pylist() == ["cd", "mail <email> now"]
    assert dropped["text"].to_pylist() == ["gone"]
    assert cut.select(["id", "begin", "end", "text"]).to_pylist() == [
        {"id": "d0", "begin": 0, "end": 3, "text": "ab "},
        {"id": "d1", "begin": 5, "end": 10, "text": None},
    ]
    step = ledger.summary(["s"], ["step"])["sources"]["s"]["steps"][0]
    assert step["cut"] == {"why": {"documents": 2, "spans": 2, "bytes": 8, "bytes_added": 7}}
    assert step["dropped"] == {"bad": 1}
    assert step["bytes_kept"] == sum(len(text) for text in left["text"].to_pylist())
    assert step["documents_kept"] == 2


def test_a_document_of_which_nothing_is_left_is_dropped_as_it_was():
    documents = table({"text": " all of it "}, {"text": "stays"})
    verdict = Verdict(nothing(documents), nothing(documents), spans((0, 1, 10, None)))
    ledger = Ledger()
    left, dropped, cut = carry_out(documents, "step", verdict, ledger)
    assert left["text"].to_pylist() == ["stays"]
    found = dropped.select(["text", "reason", "evidence"]).to_pylist()
    assert found == [{"text": " all of it ", "reason": NOTHING_LEFT, "evidence": "why"}]
    assert cut.num_rows == 0


def test_a_dialogue_or_pair_with_a_part_left_empty_is_dropped():
    turns = [{"role": "user", "content": "ask"}, {"role": "assistant", "content": "yes"}]
    pair = {"prompt": "ask", "chosen": "yes", "rejected": "no"}
    documents = table({"messages": turns}, pair, {"messages": turns})
    verdict = Verdict(nothing(documents), nothing(documents), spans((0, 4, 7, None), (1, 4, 7, None), (2, 0, 1, None)))
    left, dropped, _ = carry_out(documents, "step", verdict, Ledger())
    assert left["id"].to_pylist() == ["d2"]
    assert dropped["reason"].to_pylist() == [NOTHING_LEFT] * 2


def test_documents_of_one_id_are_counted_each():
    documents = table({"text": "ab"}, {"text": "ab"}).set_column(0, "id", pa.array(["same", "same"]))
    ledger = Ledger()
    carry_out(documents, "step", Verdict(*[nothing(documents)] * 2, spans((0, 0, 1, None), (1, 0, 1, None))), ledger)
    assert ledger.summary(["s"], ["step"])["sources"]["s"]["steps"][0]["cut"]["why"]["documents"] == 2


def test_lengths_and_labels_are_counted_per_source():
    documents = table({"text": "one two three"}, {"text": ""}, {"text": "four"})
    ledger = Ledger()
    ledger.read(documents)
    ledger.labelled(documents, "language", pa.array(["en", None, "en"]))
    statistics = Ledger.from_json(ledger.to_json()).statistics(["s"])
    lengths = statistics["lengths"]
    assert lengths["edges"][:4] == [0, 1, 2, 4]
    assert lengths["sources"]["s"]["read"][:4] == [1, 1, 1, 0]
    assert statistics["labels"] == {"language": {"s": {"en": 2}}}
    assert content(documents).to_pylist()[1] == ""


def turns(*found: tuple[int, int]) -> pa.Table:
    """Each: row and turn."""
    rows = [{"row": row, "turn": turn, "reason": "why", "evidence": f"{row}.{turn}"} for row, turn in found]
    return pa.Table.from_pylist(rows, TURNS)


def dialogue(*contents: str | None) -> dict:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[place % 2], "content": text} for place, text in enumerate(contents)]}


@st.composite
def dialogues_with_turns(draw):
    rows = draw(st.lists(st.none() | st.lists(TEXT | st.none(), max_size=5), min_size=1, max_size=5))
    found = []
    for row, contents in enumerate(rows):
        found += [(row, turn) for turn in sorted(draw(st.sets(st.sampled_from(range(len(contents or []) or 1)))))]
    return rows, [(row, turn) for row, turn in found if rows[row]]


@settings(deadline=None)
@given(dialogues_with_turns())
def test_turns_leave_as_from_a_list_and_their_bytes_are_where_cut_says(made):
    rows, found = made
    documents = table(*({"text": "alone"} if contents is None else dialogue(*contents) for contents in rows))
    ledger = Ledger()
    ledger.read(documents)
    verdict = Verdict(nothing(documents), nothing(documents), turns=turns(*found))
    after, dropped, cut = carry_out(documents, "step", verdict, ledger)
    left = {}
    for row, document in enumerate(documents.to_pylist()):
        messages = document["messages"] or []
        kept = [turn for place, turn in enumerate(messages) if (row, place) not in found]
        if kept or not messages:
            left[document["id"]] = document["messages"] and kept
    assert dict(zip(after["id"].to_pylist(), after["messages"].to_pylist(), strict=True)) == left
    assert dropped["reason"].to_pylist() == [NOTHING_LEFT] * (documents.num_rows - len(left))
    contents = dict(zip(documents["id"].to_pylist(), content(documents).to_pylist(), strict=True))
    expected = [(f"d{row}", rows[row][turn] or "") for row, turn in found if f"d{row}" in left]
    assert [(row["id"], row["text"]) for row in cut.to_pylist()] == expected
    for row in cut.to_pylist():
        assert contents[row["id"]].encode()[row["begin"] : row["end"]].decode() == row["text"]
    kept = ledger.summary(["s"], ["step"])["sources"]["s"]["kept"]
    assert kept["documents"] == after.num_rows
    assert kept["bytes"] == sum(len(text.encode()) for text in content(after).to_pylist())


def test_spans_beside_a_turn_that_leaves_are_cut_and_those_in_it_leave_with_it():
    documents = table({"text": "one two"}, dialogue("ask me", "no no", "ask you", "yes sir"), dialogue("a", "b"))
    found = spans((0, 0, 4, None), (1, 0, 4, None), (1, 7, 10, None), (1, 21, 24, "X"), (2, 0, 1, "A"))
    verdict = Verdict(nothing(documents), nothing(documents), found, turns=turns((1, 1), (1, 2)))
    ledger = Ledger()
    ledger.read(documents)
    after, dropped, cut = carry_out(documents, "step", verdict, ledger)
    assert content(after).to_pylist() == ["two", "me\nX sir", "A\nb"]
    assert dropped.num_rows == 0
    assert [(row["id"], row["begin"], row["end"], row["text"]) for row in cut.to_pylist()] == [
        ("d0", 0, 4, "one "),
        ("d1", 0, 4, "ask "),
        ("d1", 7, 12, "no no"),
        ("d1", 13, 20, "ask you"),
        ("d1", 21, 24, None),
        ("d2", 0, 1, None),
    ]
    step = ledger.summary(["s"], ["step"])["sources"]["s"]["steps"][0]
    assert step["cut"]["why"] == {"documents": 3, "spans": 6, "bytes": 24, "bytes_added": 2}
    assert step["bytes_kept"] == sum(len(text) for text in content(after).to_pylist())


def test_turns_of_documents_that_are_dropped_stay_in_them():
    documents = table(dialogue("ask", "no"), dialogue("ask", "no", "ask", "yes"), dialogue("ask", "no"))
    verdict = Verdict(pa.array(["bad", None, None]), pa.array(["so", None, None]))
    verdict = Verdict(verdict.reason, verdict.evidence, turns=turns((0, 1), (1, 1), (2, 0), (2, 1)))
    left, dropped, cut = carry_out(documents, "step", verdict, Ledger())
    assert content(left).to_pylist() == ["ask\nask\nyes"]
    found = [(row["reason"], row["evidence"]) for row in dropped.to_pylist()]
    assert found == [("bad", "so"), (NOTHING_LEFT, "why: 2.0")]
    assert content(dropped).to_pylist() == ["ask\nno"] * 2
    assert cut["text"].to_pylist() == ["no"]


def test_a_turn_that_spans_leave_empty_still_drops_its_dialogue():
    documents = table(dialogue("ask", "no", "more", "yes"))
    found = Verdict(nothing(documents), nothing(documents), spans((0, 12, 15, None)), turns=turns((0, 1)))
    left, dropped, cut = carry_out(documents, "step", found, Ledger())
    assert (left.num_rows, cut.num_rows) == (0, 0)
    assert content(dropped).to_pylist() == ["ask\nno\nmore\nyes"]
