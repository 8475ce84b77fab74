"""Documents made by columns and the same made row by row."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.documents import reading
from core.documents.column_mapping import WHITE_SPACE, many_documents
from core.documents.columns import Columns, single_rows
from core.documents.fields import Fields
from core.documents.mapping import documents
from core.documents.rows import Lines, Problem, Row, line_rows
from tests.documents.conftest import Read

TEXT = st.text(max_size=4) | st.sampled_from(["", " \n", "\u2003\x1c", "a b", "世界"])
MAYBE_TEXT = st.none() | TEXT
ROLE = st.sampled_from(["system", "user", "assistant", "human", None])
MESSAGES = st.none() | st.lists(
    st.none() | st.fixed_dictionaries({"role": ROLE, "content": MAYBE_TEXT, "weight": st.integers(0, 1)}), max_size=3
)
TURNS = pa.struct([("role", pa.string()), ("content", pa.string()), ("weight", pa.int64())])
FORMS = [
    Fields(text="a"),
    Fields(text="a", id="number", meta=["b", "number"]),
    Fields(text="a", id="b"),
    Fields(text="missing"),
    Fields(text="number"),
    Fields(instruction="a", output="b"),
    Fields(instruction="a", input="b", output="c"),
    Fields(instruction="a", input="b", output="c", instruction_role="system"),
    Fields(text="made", templates={"made": "{a}: {number}"}),
    Fields(text="a", remove={"a": ["a"]}),
    Fields(questions="turns", answers="turns"),
    Fields(prompt="a", chosen="b", rejected="c", meta=["turns"]),
    Fields(messages="turns"),
    Fields(messages="turns", roles={"human": "user", "assistant": "assistant"}),
    Fields(messages="turns", role="speaker"),
    Fields(text="turns.0.content"),
]
STRINGS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()), pa.binary()]


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    rows = draw(st.integers(0, 5))
    texts = draw(st.sampled_from([TEXT, TEXT, MAYBE_TEXT]))

    def several(values: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    columns = {name: pa.array(several(texts), draw(st.sampled_from(STRINGS))) for name in ("a", "b", "c")}
    if draw(st.booleans()):
        columns["b"] = pa.nulls(rows)
    columns["number"] = pa.array(several(st.integers(-5, 5)), draw(st.sampled_from([pa.int64(), pa.int8()])))
    plain = st.lists(
        st.fixed_dictionaries({"role": st.just("user"), "content": TEXT, "weight": st.just(1)}), min_size=1, max_size=3
    )
    turns = several(draw(st.sampled_from([MESSAGES, plain])))
    columns["turns"] = pa.array(turns, draw(st.sampled_from([pa.list_(TURNS), pa.large_list(TURNS)])))
    return pa.table(columns)


def one_by_one(columns: Columns, fields: Fields) -> tuple[pa.Table, list[Problem]]:
    items = list(single_rows(columns))
    made, misfits = documents([item for item in items if isinstance(item, Row)], fields, "s", 3)
    return made, [*misfits, *(item for item in items if isinstance(item, Problem))]


@settings(deadline=None)
@given(tables(), st.sampled_from(FORMS), st.integers(0, 3))
def test_columns_give_the_same_documents_as_rows_or_leave_them_to_those(
    table: pa.Table, fields: Fields, skipped: int
) -> None:
    columns = Columns(7, "data.parquet", table.slice(skipped))
    expected, problems = one_by_one(columns, fields)
    found = many_documents(columns, fields, "s", 3)
    if found is None:
        return
    found.validate(full=True)
    assert not problems
    assert found.equals(expected)


REGULAR = pa.table(
    {
        "a": ["one", "two", " \n"],
        "b": pa.array(["x", None, "\u2003"]),
        "number": [1, 2, 3],
        "turns": [
            [{"role": "user", "content": "Hi"}],
            [{"role": "assistant", "content": ""}] * 2,
            [{"role": "user", "content": "é"}],
        ],
    }
)


@pytest.mark.parametrize(
    "fields",
    [
        Fields(text="a"),
        Fields(text="a", id="number", meta=["b", "turns"]),
        Fields(text="a", id="a"),
        Fields(instruction="a", input="b", output="a"),
        Fields(prompt="a", chosen="a", rejected="a"),
        Fields(messages="turns"),
        Fields(messages="turns", roles={"user": "system", "assistant": "user"}),
    ],
)
def test_regular_columns_need_no_rows(fields: Fields) -> None:
    columns = Columns(0, "data.parquet", REGULAR)
    found = many_documents(columns, fields, "s", 3)
    assert found is not None
    assert found.equals(one_by_one(columns, fields)[0])


@settings(deadline=None)
@given(st.text(WHITE_SPACE + "a\u200b", max_size=5), st.text(WHITE_SPACE + "a\u200b", max_size=5))
@example("ask", WHITE_SPACE)
@example(WHITE_SPACE, "with")
def test_empty_instruction_and_input_are_what_python_strips_to_nothing(asked: str, more: str) -> None:
    table = pa.table({"a": [asked], "b": [more]})
    columns = Columns(0, "data.parquet", table)
    fields = Fields(instruction="a", input="b", output="a")
    found = many_documents(columns, fields, "s", 3)
    assert found is not None
    assert found.equals(one_by_one(columns, fields)[0])


JSON = st.none() | st.booleans() | st.integers(-3, 1 << 64) | st.just(1.5) | TEXT
JSON = JSON | st.lists(JSON, max_size=2) | st.dictionaries(st.sampled_from(["role", "content", "x"]), JSON)
TURN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": TEXT}, optional={"w": JSON})


@st.composite
def json_lines(draw: st.DrawFn) -> list[bytes]:
    kind = draw(st.sampled_from([TEXT, TEXT, TEXT, JSON]))
    turns = draw(st.sampled_from([st.lists(TURN, min_size=1, max_size=2), st.lists(st.lists(JSON, max_size=2)), JSON]))
    row = st.fixed_dictionaries(
        {"a": kind, "b": kind | st.none(), "turns": turns, "number": st.integers(0, 5) | TEXT, "c": kind},
        optional={"extra": JSON},
    )
    odd = JSON | st.sampled_from([{}, "not JSON"])
    lines = draw(st.lists(st.one_of(row, row, row, odd) if draw(st.booleans()) else row, max_size=4))
    special = {"": b"", "not JSON": b"{broken \xe9"}
    return [special[line] if isinstance(line, str) and line in special else json.dumps(line).encode() for line in lines]


@settings(max_examples=300, deadline=None)
@given(json_lines(), st.sampled_from(FORMS))
def test_lines_of_json_give_the_same_documents_together_as_one_by_one(lines: list[bytes], fields: Fields) -> None:
    block = Lines(7, "data.jsonl", lines, 0)
    items = list(line_rows(block))
    expected, misfits = documents([item for item in items if isinstance(item, Row)], fields, "s", 3)
    found = many_documents(block, fields, "s", 3)
    if found is not None:
        assert not misfits
        assert all(isinstance(item, Row) for item in items)
        assert found.equals(expected)


@pytest.mark.parametrize(
    "fields",
    [
        Fields(text="a"),
        Fields(text="a", id="number", meta=["b", "turns"]),
        Fields(instruction="a", input="b", output="a"),
        Fields(messages="turns"),
    ],
)
def test_regular_lines_need_no_rows(fields: Fields) -> None:
    lines = [json.dumps(row).encode() for row in REGULAR.to_pylist()]
    assert many_documents(Lines(0, "data.jsonl", lines, 0), fields, "s", 3) is not None


def broken_utf8(*texts: bytes) -> pa.Array:
    return pa.array(texts, pa.binary()).view(pa.string())


def test_bytes_that_are_no_utf8_are_named_and_the_other_rows_are_read(tmp_path: Any, read: Read) -> None:
    body = broken_utf8(b"x", b"caf\xe9!", b"y")
    pq.write_table(pa.table({"body": body, "n": [1, 2, 3]}), tmp_path / "a.parquet")
    declared: dict[str, Any] = {"files": "a.parquet", "fields": {"text": "body"}}
    says = r"a.parquet row 2: column 'body': not UTF-8: byte 0xe9 at position 4"
    with pytest.raises(reading.DataError, match=says):
        read(**declared)
    documents, rejected = read(**declared, on_error="skip")
    assert documents["id"].to_pylist() == ["s:0:0", "s:0:2"]
    assert rejected.select(["id", "reason", "text"]).to_pylist() == [
        {"id": "s:0:1", "reason": "broken_utf8", "text": "caf\ufffd!"}
    ]


def test_broken_bytes_in_a_column_that_is_not_asked_for_do_no_harm(tmp_path: Any, read: Read) -> None:
    table = pa.table({"body": ["x"], "a": [{"b": "y"}], "other": broken_utf8(b"\xff")})
    pq.write_table(table, tmp_path / "a.parquet")
    documents, _ = read(files="a.parquet", fields={"text": "body", "meta": ["a.b"]})
    assert documents["text"].to_pylist() == ["x"]
    assert documents["meta"].to_pylist() == ['{"a.b":"y"}']


def test_broken_bytes_in_messages_are_named(tmp_path: Any, read: Read) -> None:
    turns = pa.StructArray.from_arrays([pa.array(["user"] * 2), broken_utf8(b"Hi", b"\xff")], ["role", "content"])
    pq.write_table(pa.table({"m": pa.ListArray.from_arrays([0, 1, 2], turns)}), tmp_path / "a.parquet")
    with pytest.raises(reading.DataError, match=r"row 2: column 'm': not UTF-8: byte 0xff at position 1"):
        read(files="a.parquet", fields={"messages": "m"})


def test_irregular_batch_keeps_its_place_between_regular_ones(
    tmp_path: Any, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [str(number) if number not in (12, 17) else None for number in range(30)]
    pq.write_table(pa.table({"body": texts}), tmp_path / "a.parquet", row_group_size=5)
    for size in (1, 1 << 25):
        monkeypatch.setattr(reading, "BATCH_BYTES", size)
        documents, rejected = read(files="a.parquet", fields={"text": "body"}, on_error="skip")
        assert documents["text"].to_pylist() == [text for text in texts if text]
        assert rejected["id"].to_pylist() == ["s:0:12", "s:0:17"]
    with pytest.raises(reading.DataError, match=r"a.parquet row 13: fields.text: column 'body' holds null"):
        read(files="a.parquet", fields={"text": "body"})
