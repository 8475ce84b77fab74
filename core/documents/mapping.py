"""Rows to documents, by the mapping that the recipe declares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import orjson
import pyarrow as pa

from core.documents.html import Html, TooDeep, decoded, extracted
from core.documents.ledger import DROPPED, READ
from core.documents.rows import Problem, Row, known_names, named
from core.documents.source import Fields, Role
from core.documents.table import DOCUMENTS

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


def columns(fields: Fields) -> set[str]:
    """The columns that a mapping needs, a path by its first name as well as whole."""
    named_ones = [
        getattr(fields, name)
        for name in ("text", "messages", "instruction", "input", "output", "prompt", "chosen", "rejected", "id")
    ]
    return {column for column in (*named_ones, *fields.meta) if column is not None}


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
            document = make(row.value, fields)
            document["id"] = document_id(row.value, fields) if fields.id else f"{source}:{file}:{row.number}"
            document["meta"] = meta_json(row.value, fields) if fields.meta else None
            made.append(document)
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


def _text(value: dict[str, Any], fields: Fields) -> dict[str, Any]:
    return {"text": _string(value, "text", fields.text)}


def _page(value: dict[str, Any], fields: Fields, html: Html) -> dict[str, Any]:
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


def _pair(value: dict[str, Any], fields: Fields) -> dict[str, Any]:
    return {name: _string(value, name, getattr(fields, name)) for name in ("prompt", "chosen", "rejected")}


def _instruction(value: dict[str, Any], fields: Fields) -> dict[str, Any]:
    user = _string(value, "instruction", fields.instruction)
    if fields.input is not None and _cell(value, "input", fields.input) is not None:
        more = _string(value, "input", fields.input)
        user = f"{user}\n\n{more}" if more.strip() else user
    answer = _string(value, "output", fields.output)
    return {"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]}


def _messages(value: dict[str, Any], fields: Fields) -> dict[str, Any]:
    messages = _cell(value, "messages", fields.messages)
    if not isinstance(messages, list):
        raise Misfit(
            "not_messages",
            f"fields.messages: column '{fields.messages}' holds {named(messages)}, expected a list of messages",
        )
    if not messages:
        raise Misfit("no_messages", f"fields.messages: column '{fields.messages}' is an empty list")
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


_MAKERS: dict[str, Callable[[dict[str, Any], Fields], dict[str, Any]]] = {
    "text": _text,
    "messages": _messages,
    "instruction": _instruction,
    "pair": _pair,
}
