from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import DataError
from tests.documents.conftest import Read


def write(tmp_path: Path, *rows: Any) -> str:
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "a.jsonl"


def dialogue(*turns: tuple[str, str]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


def test_text_form(tmp_path: Path, read: Read) -> None:
    documents, _ = read(files=write(tmp_path, {"body": "one", "other": 3}), fields={"text": "body"})
    assert documents.to_pylist() == [
        {"id": "s:0:0", "source": "s", "text": "one"}
        | dict.fromkeys(("messages", "prompt", "chosen", "rejected", "meta"))
    ]


def test_messages_form_with_its_own_names_for_keys_and_roles(tmp_path: Path, read: Read) -> None:
    turns = [{"from": "human", "value": "Hi", "weight": 0}, {"from": "gpt", "value": "Hello"}]
    documents, _ = read(
        files=write(tmp_path, {"conversations": turns}),
        fields={
            "messages": "conversations",
            "role": "from",
            "content": "value",
            "roles": {"human": "user", "gpt": "assistant"},
        },
    )
    assert documents["messages"].to_pylist() == [dialogue(("user", "Hi"), ("assistant", "Hello"))]
    assert documents["text"].null_count == 1


@pytest.mark.parametrize(
    ("row", "user"),
    [
        ({"ask": "Add.", "with": "1 and 2", "answer": "3"}, "Add.\n\n1 and 2"),
        ({"ask": "Sing.", "with": "", "answer": "3"}, "Sing."),
        ({"ask": "Sing.", "with": " \n", "answer": "3"}, "Sing."),
        ({"ask": "Sing.", "with": None, "answer": "3"}, "Sing."),
    ],
)
def test_instruction_form_becomes_a_dialogue(tmp_path: Path, read: Read, row: dict[str, Any], user: str) -> None:
    fields = {"instruction": "ask", "input": "with", "output": "answer"}
    documents, _ = read(files=write(tmp_path, row), fields=fields)
    assert documents["messages"].to_pylist() == [dialogue(("user", user), ("assistant", "3"))]


def test_pair_form(tmp_path: Path, read: Read) -> None:
    row = {"question": "Why?", "good": "So.", "bad": "No."}
    fields = {"prompt": "question", "chosen": "good", "rejected": "bad"}
    documents, _ = read(files=write(tmp_path, row), fields=fields)
    assert documents.select(["prompt", "chosen", "rejected"]).to_pylist() == [
        {"prompt": "Why?", "chosen": "So.", "rejected": "No."}
    ]


def test_declared_id_and_meta_are_kept_beside_the_document(tmp_path: Path, read: Read) -> None:
    rows = [{"key": 7, "body": "x", "tags": ["a"], "url": None}, {"key": "b", "body": "y", "tags": [], "url": "é"}]
    fields = {"text": "body", "id": "key", "meta": ["tags", "url"]}
    documents, _ = read(files=write(tmp_path, *rows), fields=fields)
    assert documents["id"].to_pylist() == ["7", "b"]
    assert [json.loads(meta) for meta in documents["meta"].to_pylist()] == [
        {"tags": ["a"], "url": None},
        {"tags": [], "url": "é"},
    ]


def test_name_with_dots_is_a_path_unless_it_is_a_column(tmp_path: Path, read: Read) -> None:
    rows = [{"instances": [{"output": "nested"}]}, {"instances.0.output": "flat", "instances": []}]
    documents, _ = read(files=write(tmp_path, *rows), fields={"text": "instances.0.output"})
    assert documents["text"].to_pylist() == ["nested", "flat"]


def test_nested_columns_of_parquet(tmp_path: Path, read: Read) -> None:
    turns = dialogue(("user", "Hi"), ("assistant", "Größe 🙂"))
    table = pa.table({"turns": [turns], "doc": [{"body": "deep"}], "number": [1]})
    pq.write_table(table, tmp_path / "a.parquet")
    documents, _ = read(files="a.parquet", fields={"messages": "turns", "meta": ["doc.body", "number"]})
    assert documents["messages"].to_pylist() == [turns]
    assert json.loads(documents["meta"][0].as_py()) == {"doc.body": "deep", "number": 1}


MISFITS: dict[str, tuple[dict[str, Any], Any, str, str]] = {
    # what: (fields, row, reason, what the message says)
    "column that is not there": (
        {"text": "boddy"},
        {"id": 1, "body": "x"},
        "missing_field",
        "fields.text: no column 'boddy'; there are: id, body; did you mean 'body'?",
    ),
    "path that leads nowhere": (
        {"text": "a.3.b"},
        {"a": [{"b": "x"}]},
        "missing_field",
        "fields.text: no column 'a.3.b'; there are: a",
    ),
    "meta that is not there": (
        {"text": "body", "meta": ["url"]},
        {"body": "x"},
        "missing_field",
        "fields.meta: no column 'url'; there are: body",
    ),
    "null": ({"text": "body"}, {"body": None}, "null_field", "column 'body' holds null, expected text"),
    "number": ({"text": "body"}, {"body": 3}, "not_text", "column 'body' holds the number 3, expected text"),
    "truth value": ({"text": "body"}, {"body": True}, "not_text", "holds the truth value True, expected text"),
    "list": ({"text": "body"}, {"body": ["x"]}, "not_text", "column 'body' holds a list of 1, expected text"),
    "object": ({"text": "body"}, {"body": {"x": 1}}, "not_text", "holds an object with x, expected text"),
    "answer of a pair that is null": (
        {"prompt": "p", "chosen": "c", "rejected": "r"},
        {"p": "x", "c": "y", "r": None},
        "null_field",
        "fields.rejected: column 'r' holds null, expected text",
    ),
    "input that is a number": (
        {"instruction": "i", "input": "n", "output": "o"},
        {"i": "x", "n": 5, "o": "y"},
        "not_text",
        "fields.input: column 'n' holds the number 5, expected text",
    ),
    "dialogue that is text": (
        {"messages": "m"},
        {"m": "hello"},
        "not_messages",
        "fields.messages: column 'm' holds the text 'hello', expected a list of messages",
    ),
    "dialogue without messages": ({"messages": "m"}, {"m": []}, "no_messages", "column 'm' is an empty list"),
    "message that is text": ({"messages": "m"}, {"m": ["hello"]}, "not_messages", "message 1 is the text 'hello'"),
    "message without role": (
        {"messages": "m"},
        {"m": [{"from": "human", "content": "x"}]},
        "missing_field",
        "message 1 has no key 'role'; there are: from, content",
    ),
    "message without content": (
        {"messages": "m"},
        {"m": [{"role": "user", "content": None}]},
        "not_text",
        "message 1: key 'content' holds null, expected text",
    ),
    "role that nobody declared": (
        {"messages": "m"},
        {"m": [{"role": "user", "content": "x"}, {"role": "gpt", "content": "y"}]},
        "unknown_role",
        "message 2 has the role 'gpt', expected system, user, assistant (rename others with fields.roles)",
    ),
    "role left out of the renaming": (
        {"messages": "m", "roles": {"human": "user"}},
        {"m": [{"role": "user", "content": "x"}]},
        "unknown_role",
        "message 1 has the role 'user', expected human",
    ),
    "id that is null": (
        {"text": "body", "id": "key"},
        {"body": "x", "key": None},
        "no_id",
        "fields.id: column 'key' holds null, expected text or a whole number",
    ),
}


@pytest.mark.parametrize("what", MISFITS)
def test_row_that_does_not_fit_stops_with_its_line_or_is_listed(tmp_path: Path, read: Read, what: str) -> None:
    fields, row, reason, says = MISFITS[what]
    files = write(tmp_path, row)
    with pytest.raises(DataError) as error:
        read(files=files, fields=fields)
    assert str(error.value).startswith(f"{tmp_path / 'a.jsonl'}:1: ")
    assert says in str(error.value)
    documents, rejected = read(files=files, fields=fields, on_error="skip")
    assert documents.num_rows == 0
    assert rejected.select(["id", "step", "reason"]).to_pylist() == [{"id": "s:0:0", "step": "read", "reason": reason}]
    assert json.loads(rejected["text"][0].as_py()) == row
    assert says in rejected["evidence"][0].as_py()


def test_first_row_that_does_not_fit_is_the_one_named(tmp_path: Path, read: Read) -> None:
    rows = [{"body": "x"}, {"body": 1}, {"body": None}]
    path = tmp_path / write(tmp_path, *rows)
    path.write_text(path.read_text() + "{broken\n")
    with pytest.raises(DataError, match=r"a\.jsonl:2: .*the number 1"):
        read(files="a.jsonl", fields={"text": "body"})
    documents, rejected = read(files="a.jsonl", fields={"text": "body"}, on_error="skip")
    assert documents["id"].to_pylist() == ["s:0:0"]
    assert rejected["id"].to_pylist() == ["s:0:1", "s:0:2", "s:0:3"]
    assert rejected["reason"].to_pylist() == ["not_text", "null_field", "broken_json"]


def test_row_of_parquet_is_named_by_its_number(tmp_path: Path, read: Read) -> None:
    pq.write_table(pa.table({"body": ["x", None], "n": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet row 2: fields.text: column 'body' holds null"):
        read(files="a.parquet", fields={"text": "body"})
    with pytest.raises(DataError, match=r"a\.parquet row 1: fields.text: no column 'text'; there are: body, n"):
        read(files="a.parquet", fields={"text": "text"})


def test_line_of_csv_is_that_of_the_file_and_not_the_number_of_the_row(tmp_path: Path, read: Read) -> None:
    (tmp_path / "a.csv").write_text('body,key\n"two\nlines",1\ny,\nz\n')
    with pytest.raises(DataError, match=r"a\.csv:5: found 1 columns"):
        read(files="a.csv", fields={"text": "body", "id": "key"})
