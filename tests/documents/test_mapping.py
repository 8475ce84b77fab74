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
        ({"ask": " \n", "with": "1 and 2", "answer": "3"}, "1 and 2"),
    ],
)
def test_instruction_form_becomes_a_dialogue(tmp_path: Path, read: Read, row: dict[str, Any], user: str) -> None:
    fields = {"instruction": "ask", "input": "with", "output": "answer"}
    documents, _ = read(files=write(tmp_path, row), fields=fields)
    assert documents["messages"].to_pylist() == [dialogue(("user", user), ("assistant", "3"))]


def test_instruction_may_be_a_turn_of_its_own(tmp_path: Path, read: Read) -> None:
    rows = [
        {"ask": "Add.", "with": "1 and 2", "answer": "3"},
        {"ask": " ", "with": "1 and 2", "answer": "3"},
        {"ask": "Sing.", "with": "", "answer": "La"},
        {"ask": "Sing.", "with": None, "answer": "La"},
    ]
    fields = {"instruction": "ask", "input": "with", "output": "answer", "instruction_role": "system"}
    documents, _ = read(files=write(tmp_path, *rows), fields=fields)
    assert documents["messages"].to_pylist() == [
        dialogue(("system", "Add."), ("user", "1 and 2"), ("assistant", "3")),
        dialogue(("user", "1 and 2"), ("assistant", "3")),
        dialogue(("user", "Sing."), ("assistant", "La")),
        dialogue(("user", "Sing."), ("assistant", "La")),
    ]


def test_texts_alone_are_a_dialogue_that_the_user_begins(tmp_path: Path, read: Read) -> None:
    rows = [{"conversations": ["Hi", "Hello", "Bye"]}, {"conversations": ["Why?", "So."]}]
    expected = [
        dialogue(("user", "Hi"), ("assistant", "Hello"), ("user", "Bye")),
        dialogue(("user", "Why?"), ("assistant", "So.")),
    ]
    documents, _ = read(files=write(tmp_path, *rows), fields={"messages": "conversations"})
    assert documents["messages"].to_pylist() == expected
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    documents, _ = read(files="a.parquet", fields={"messages": "conversations"})
    assert documents["messages"].to_pylist() == expected


def test_templates_make_columns_of_others_before_the_mapping(tmp_path: Path, read: Read) -> None:
    row = {
        "question_stem": " The sun is",
        "choices": {"text": ["hot", "cold {x}"]},
        "key": 3,
        "system": "",
        "answer": "hot",
    }
    templates = {
        "rule": "Choose one of {{A, B}}.",
        "asked": "{question_stem}\nA. {choices.text.0}\nB. {choices.text.1}",
        "answer": "{system}\n\nIt is {answer}.\n",
        "id": "row-{key}",
    }
    fields = {"instruction": "rule", "input": "asked", "output": "answer", "id": "id", "meta": ["key", "rule"]}
    documents, _ = read(files=write(tmp_path, row), fields={**fields, "templates": templates})
    [document] = documents.to_pylist()
    user = "Choose one of {A, B}.\n\nThe sun is\nA. hot\nB. cold {x}"
    assert document["messages"] == dialogue(("user", user), ("assistant", "It is hot."))
    assert (document["id"], json.loads(document["meta"])) == ("row-3", {"key": 3, "rule": "Choose one of {A, B}."})


def test_template_reads_only_its_columns_of_parquet(tmp_path: Path, read: Read) -> None:
    table = pa.table({"system": ["Be brief.", ""], "question": ["Why?", "How?"], "good": ["a"] * 2, "bad": ["b"] * 2})
    pq.write_table(table.append_column("other", pa.nulls(2)), tmp_path / "a.parquet")
    fields = {"prompt": "asked", "chosen": "good", "rejected": "bad"}
    documents, _ = read(files="a.parquet", fields={**fields, "templates": {"asked": "{system}\n\n{question}"}})
    assert documents["prompt"].to_pylist() == ["Be brief.\n\nWhy?", "How?"]


def test_texts_are_removed_wherever_they_stand_before_templates_are_filled(tmp_path: Path, read: Read) -> None:
    row = {"a": {"b": "one<br>two<br>"}, "c": "<br>three##"}
    fields = {"text": "made", "templates": {"made": "{a.b} {c}"}, "remove": {"a.b": ["<br>"], "c": ["#", "re"]}}
    documents, _ = read(files=write(tmp_path, row), fields=fields)
    assert documents["text"].to_pylist() == ["onetwo <br>the"]


QUAC = {  # the columns of https://huggingface.co/datasets/allenai/quac
    "dialogue_id": "C_1",
    "wikipedia_page_title": "Ada",
    "context": "She wrote notes. CANNOTANSWER",
    "questions": ["Who?", "What?", "When?"],
    "orig_answers": {"texts": ["Ada", "CANNOTANSWER", "1843"], "answer_starts": [0, 17, 3]},
}
LISTS = {"id": "dialogue_id", "questions": "questions", "answers": "orig_answers.texts"}
PASSAGE = {"remove": {"context": [" CANNOTANSWER"]}, "templates": {"passage": "{wikipedia_page_title}\n\n{context}"}}


def test_lists_of_questions_and_answers_are_the_turns_of_a_dialogue(tmp_path: Path, read: Read) -> None:
    later = [("assistant", "Ada"), ("user", "What?"), ("assistant", "CANNOTANSWER"), ("user", "When?")]
    later += [("assistant", "1843")]
    file = write(tmp_path, QUAC)
    documents, _ = read(files=file, fields={**LISTS, **PASSAGE, "context": "passage"})
    assert documents["messages"].to_pylist() == [dialogue(("user", "Ada\n\nShe wrote notes.\n\nWho?"), *later)]
    alone, _ = read(files=file, fields=LISTS)
    assert alone["messages"].to_pylist() == [dialogue(("user", "Who?"), *later)]


def test_one_question_of_a_list_is_asked_with_the_others_as_text_above_it(tmp_path: Path, read: Read) -> None:
    table = pa.Table.from_pylist([QUAC])
    pq.write_table(table, tmp_path / "a.parquet")
    fields = {**LISTS, **PASSAGE, "context": "passage", "history": "text", "instruction": "rule"}
    fields["templates"] = {**PASSAGE["templates"], "rule": "Answer the last question."}
    asked = "Ada\n\nShe wrote notes.\n\nQuestion: Who?\nAnswer: Ada\n\nQuestion: What?\nAnswer: CANNOTANSWER\n\n"
    asked += "Question: When?"
    documents, _ = read(files="a.parquet", fields={**fields, "instruction_role": "system"})
    expected = dialogue(("system", "Answer the last question."), ("user", asked), ("assistant", "1843"))
    assert documents["messages"].to_pylist() == [expected]
    joined, _ = read(files="a.parquet", fields=fields)
    expected = dialogue(("user", f"Answer the last question.\n\n{asked}"), ("assistant", "1843"))
    assert joined["messages"].to_pylist() == [expected]


def test_which_question_is_asked_goes_by_the_id_alone(tmp_path: Path, read: Read) -> None:
    rows = [
        {"key": f"k{number}", "q": [f"q{place}" for place in range(9)], "a": [f"a{place}" for place in range(9)]}
        for number in range(40)
    ]
    fields = {"questions": "q", "answers": "a", "id": "key", "history": "text"}
    answers = []
    for order in (rows, rows[::-1]):
        documents, _ = read(files=write(tmp_path, *order), fields=fields)
        answers.append(
            {row["id"]: row["messages"][-1]["content"] for row in documents.select(["id", "messages"]).to_pylist()}
        )
    assert answers[0] == answers[1]
    assert set(answers[0].values()) == {f"a{place}" for place in range(2, 9)}


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
    "message that is text among others": (
        {"messages": "m"},
        {"m": [{"role": "user", "content": "x"}, "hello"]},
        "not_messages",
        "message 2 is the text 'hello', expected an object",
    ),
    "message that is none among texts": (
        {"messages": "m"},
        {"m": ["hello", None]},
        "not_texts",
        "fields.messages: item 2 is null, expected text",
    ),
    "template's column that is not there": (
        {"text": "made", "templates": {"made": "{boddy}"}},
        {"body": "x"},
        "missing_field",
        "fields.templates.made: no column 'boddy'; there are: body; did you mean 'body'?",
    ),
    "template's column that is null": (
        {"text": "made", "templates": {"made": "{body}"}},
        {"body": None},
        "null_field",
        "fields.templates.made: column 'body' holds null, expected text",
    ),
    "template's column that is a list": (
        {"text": "made", "templates": {"made": "{body}"}},
        {"body": ["x"]},
        "not_text",
        "fields.templates.made: column 'body' holds a list of 1, expected text",
    ),
    "removal from a number": (
        {"text": "body", "remove": {"body": ["x"]}},
        {"body": 3},
        "not_text",
        "fields.remove: column 'body' holds the number 3, expected text",
    ),
    "fewer answers than questions": (
        {"questions": "q", "answers": "a"},
        {"q": ["x", "y"], "a": ["z"]},
        "unequal_lists",
        "found 2 questions and 1 answers, expected as many answers as questions",
    ),
    "no questions": (
        {"questions": "q", "answers": "a"},
        {"q": [], "a": []},
        "no_questions",
        "fields.questions: column 'q' is an empty list",
    ),
    "question that is a number": (
        {"questions": "q", "answers": "a"},
        {"q": ["x", 3], "a": ["y", "z"]},
        "not_texts",
        "fields.questions: item 2 is the number 3, expected text",
    ),
    "answers that are text": (
        {"questions": "q", "answers": "a"},
        {"q": ["x"], "a": "y"},
        "not_texts",
        "fields.answers: column 'a' holds the text 'y', expected a list of texts",
    ),
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
