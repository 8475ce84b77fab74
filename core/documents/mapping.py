"""Rows to documents, by the mapping that the recipe declares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import orjson
import pyarrow as pa

from core.documents.fields import Fields, Role
from core.documents.html import Html, TooDeep, decoded, extracted
from core.documents.ledger import DROPPED, READ
from core.documents.question_lists import asked_question, last_asked
from core.documents.rows import Problem, Row, known_names, named
from core.documents.table import DOCUMENTS
from core.documents.templates import filled

TEXT_FILE = Fields(text="text")  # what a file that is one document gives
WEB_ARCHIVE = Fields(text="text", meta=["url", "date", "record_id", "content_type"])
ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant"}


class Misfit(Exception):
    """A row that does not fit the mapping. `reason` is its short name, the message the rest.

    expected: it is no error of the data; text: what is kept of the row, without it the row as JSON.
    """

    def __init__(self, reason: str, message: str, expected: bool = False, text: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.expected = expected
        self.text = text


def documents(
    rows: Sequence[Row], fields: Fields, source: str, file: int, html: Html | None = None
) -> tuple[pa.Table, list[Problem]]:
    """The rows as a table of DOCUMENTS, in order, and the problems of those that do not fit.

    source: the source's name; file: the file's number, for ids; html: where the text column holds HTML pages.
    """
    make = _MAKERS[fields.form] if html is None else partial(_page, html=html)
    made: list[dict[str, Any]] = []
    problems = []
    for row in rows:
        try:
            value = _prepared(row.value, fields)
            id_ = document_id(value, fields) if fields.id else f"{source}:{file}:{row.number}"
            meta = meta_json(value, fields) if fields.meta else None
            made.append({**make(value, fields, id_), "id": id_, "meta": meta})
        except Misfit as misfit:
            raw = orjson.dumps(row.value, default=str).decode() if misfit.text is None else misfit.text
            problems.append(Problem(row.number, misfit.reason, f"{row.place}: {misfit}", raw, misfit.expected))
    return table(made, source), problems


def rejects(problems: Sequence[tuple[str, Problem]], source: str) -> pa.Table:
    """What could not be read, each with its id, as DROPPED: the text is the row as it stands, the evidence says why."""
    made = [
        {"id": id_, "text": problem.text or "", "step": READ, "reason": problem.reason, "evidence": problem.message}
        for id_, problem in problems
    ]
    return table(made, source, DROPPED)


def table(made: Sequence[dict[str, Any]], source: str, schema: pa.Schema = DOCUMENTS) -> pa.Table:
    """Rows of a source, each with the columns that are not null, as a table."""
    arrays = [
        pa.repeat(pa.scalar(source), len(made))
        if field.name == "source"
        else pa.array([document.get(field.name) for document in made], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _prepared(value: dict[str, Any], fields: Fields) -> dict[str, Any]:
    """The row without what is to be removed of it, and with the columns that templates make."""
    if not fields.remove and not fields.templates:
        return value
    cleaned = dict(value)
    for column, texts in fields.remove.items():
        cleaned[column] = _string(value, "remove", column)
        for text in texts:
            cleaned[column] = cleaned[column].replace(text, "")
    return cleaned | {
        name: filled(template, partial(_in_template, cleaned, f"templates.{name}"))
        for name, template in fields.templates.items()
    }


def _in_template(value: dict[str, Any], field: str, column: str) -> str:
    found = _cell(value, field, column)
    return str(found) if type(found) is int else _string(value, field, column)


def _text(value: dict[str, Any], fields: Fields, id_: str) -> dict[str, Any]:
    return {"text": _string(value, "text", fields.text)}


def _page(value: dict[str, Any], fields: Fields, id_: str, html: Html) -> dict[str, Any]:
    found = _cell(value, "text", fields.text)
    if not isinstance(found, str | bytes):
        reason = "null_field" if found is None else "not_text"
        raise Misfit(reason, f"fields.text: column '{fields.text}' holds {named(found)}, expected an HTML page")
    page = decoded(found) if isinstance(found, bytes) else found
    try:
        text = extracted(page, html)
    except TooDeep as error:
        raise Misfit("too_deep", f"the HTML page cannot be read: {error}", expected=True, text=page) from error
    if not text:
        raise Misfit("empty_extraction", "the HTML page has no text that is asked for", expected=True, text=page)
    return {"text": text}


def _pair(value: dict[str, Any], fields: Fields, id_: str) -> dict[str, Any]:
    return {name: _string(value, name, getattr(fields, name)) for name in ("prompt", "chosen", "rejected")}


def _instruction(value: dict[str, Any], fields: Fields, id_: str) -> dict[str, Any]:
    asked = _opening(_string(value, "instruction", fields.instruction), _optional(value, "input", fields.input), fields)
    return {"messages": [*asked, _turn("assistant", _string(value, "output", fields.output))]}


def _questions(value: dict[str, Any], fields: Fields, id_: str) -> dict[str, Any]:
    questions, answers = (_texts(value, name, getattr(fields, name)) for name in ("questions", "answers"))
    if len(questions) != len(answers):
        found = f"{len(questions)} questions and {len(answers)} answers"
        raise Misfit("unequal_lists", f"found {found}, expected as many answers as questions")
    if not questions:
        raise Misfit("no_questions", f"fields.questions: column '{fields.questions}' is an empty list")
    instruction = _optional(value, "instruction", fields.instruction)
    context = _optional(value, "context", fields.context)
    if fields.history == "text":
        number = asked_question(len(questions), id_)
        asked = _opening(instruction, last_asked(context, questions[: number + 1], answers), fields)
        return {"messages": [*asked, _turn("assistant", answers[number])]}
    first = f"{context}\n\n{questions[0]}" if context.strip() else questions[0]
    later = [text for pair in zip(questions[1:], answers[1:], strict=True) for text in pair]
    return {"messages": [*_opening(instruction, first, fields), *_alternating([answers[0], *later], "assistant")]}


def _opening(instruction: str, more: str, fields: Fields) -> list[dict[str, str]]:
    """What is said before the first answer: the instruction with more below it, or apart from it."""
    if not more.strip():
        return [_turn("user", instruction)]
    if not instruction.strip():
        return [_turn("user", more)]
    if fields.instruction_role == "system":
        return [_turn("system", instruction), _turn("user", more)]
    return [_turn("user", f"{instruction}\n\n{more}")]


def _turn(role: Role, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _alternating(texts: Sequence[str], first: Role) -> list[dict[str, str]]:
    """Texts that the user and the assistant say in turn."""
    others: dict[Role, Role] = {"user": "assistant", "assistant": "user"}
    return [_turn(others[first] if place % 2 else first, text) for place, text in enumerate(texts)]


def _messages(value: dict[str, Any], fields: Fields, id_: str) -> dict[str, Any]:
    messages = _cell(value, "messages", fields.messages)
    if not isinstance(messages, list):
        raise Misfit(
            "not_messages",
            f"fields.messages: column '{fields.messages}' holds {named(messages)}, expected a list of messages",
        )
    if not messages:
        raise Misfit("no_messages", f"fields.messages: column '{fields.messages}' is an empty list")
    if isinstance(messages[0], str):
        return {"messages": _alternating(_only_texts("messages", messages), "user")}
    return {"messages": [_message(message, number, fields) for number, message in enumerate(messages, start=1)]}


def _message(message: Any, number: int, fields: Fields) -> dict[str, str]:
    if not isinstance(message, dict):
        raise Misfit("not_messages", f"message {number} is {named(message)}, expected an object")
    for key in (fields.role, fields.content):
        if key not in message:
            raise Misfit("missing_field", f"message {number} has no key '{key}'; {known_names(key, message)}")
        if not isinstance(message[key], str):
            found = named(message[key])
            raise Misfit("not_text", f"message {number}: key '{key}' holds {found}, expected text")
    role = message[fields.role]
    known = fields.roles or ROLES
    if role not in known:
        raise Misfit(
            "unknown_role",
            f"message {number} has the role '{role}', expected {', '.join(known)} (rename others with fields.roles)",
        )
    return {"role": known[role], "content": message[fields.content]}


def document_id(value: dict[str, Any], fields: Fields) -> str:
    """The id in the column that is declared. Raises Misfit."""
    found = _cell(value, "id", fields.id)
    if not isinstance(found, str | int) or isinstance(found, bool):
        raise Misfit("no_id", f"fields.id: column '{fields.id}' holds {named(found)}, expected text or a whole number")
    return str(found)


def meta_json(value: dict[str, Any], fields: Fields) -> str:
    """The columns that are kept beside a document, as a JSON object. Raises Misfit where one is missing."""
    kept = {column: _cell(value, "meta", column) for column in fields.meta}
    return orjson.dumps(kept, default=str).decode()


def _string(value: dict[str, Any], field: str, column: str | None) -> str:
    found = _cell(value, field, column)
    if type(found) is str:
        return found
    reason = "null_field" if found is None else "not_text"
    raise Misfit(reason, f"fields.{field}: column '{column}' holds {named(found)}, expected text")


def _optional(value: dict[str, Any], field: str, column: str | None) -> str:
    """The text of a column; empty where it holds null, or none is declared."""
    return "" if column is None or _cell(value, field, column) is None else _string(value, field, column)


def _texts(value: dict[str, Any], field: str, column: str | None) -> list[str]:
    found = _cell(value, field, column)
    if not isinstance(found, list):
        raise Misfit("not_texts", f"fields.{field}: column '{column}' holds {named(found)}, expected a list of texts")
    return _only_texts(field, found)


def _only_texts(field: str, found: list[Any]) -> list[str]:
    for number, text in enumerate(found, start=1):
        if not isinstance(text, str):
            raise Misfit("not_texts", f"fields.{field}: item {number} is {named(text)}, expected text")
    return found


def _cell(value: dict[str, Any], field: str, column: str | None) -> Any:
    assert column is not None
    if column in value:
        return value[column]
    inner: Any = value
    for part in column.split("."):
        if isinstance(inner, dict) and part in inner:
            inner = inner[part]
        elif isinstance(inner, list) and part.isdigit() and int(part) < len(inner):
            inner = inner[int(part)]
        else:
            raise Misfit("missing_field", f"fields.{field}: no column '{column}'; {known_names(column, value)}")
    return inner


_MAKERS: dict[str, Callable[[dict[str, Any], Fields, str], dict[str, Any]]] = {
    "text": _text,
    "messages": _messages,
    "instruction": _instruction,
    "questions": _questions,
    "pair": _pair,
}
