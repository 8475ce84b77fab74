"""The rows of files of text, one by one: JSON, JSON Lines, CSV, TSV, and files that are one document."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from core.documents.streams import Unreadable, lines, pieces, whole

BLOCK = 1 << 20  # bytes of JSON Lines taken at once
MOST_LINES = 5_000  # taken at once
LONGEST_FIELD = 1 << 26  # characters of a CSV field; an unclosed quote ends there


class Row(NamedTuple):
    """A row of a file."""

    number: int  # from 0
    place: str  # for messages: "data.jsonl:17" (line) or "data.parquet row 17", from 1
    value: dict[str, Any]
    size: int  # about how many bytes it is


class Lines(NamedTuple):
    """Lines of a file that follow each other, each a row of JSON or blank."""

    first: int  # number of the first
    path: str
    lines: list[bytes]
    size: int  # in bytes

    @property
    def rows(self) -> int:
        """How many of them are not blank."""
        return sum(not line.isspace() for line in self.lines if line)


class Problem(NamedTuple):
    """What could not be read: a row, or a file (from some row on)."""

    number: int | None  # the row's; None for a file
    reason: str  # a short snake_case name
    message: str  # where, what was found, what was expected
    text: str | None  # the row as it stands, as far as it is known
    expected: bool = False  # it is no error, e.g. a picture in a web archive: it is listed and stops nothing


def json_lines(path: str, begin: int, end: int | None, first: int) -> Iterator[Lines]:
    """The lines of bytes begin to end, the first of which is number `first`, some at a time. Raises Unreadable."""
    block: list[bytes] = []
    size = 0
    try:
        for line in lines(path, begin, end):
            block.append(line)
            size += len(line)
            if size >= BLOCK or len(block) == MOST_LINES:
                yield Lines(first, path, block, size)
                first += len(block)
                block, size = [], 0
    except Unreadable:
        if block:
            yield Lines(first, path, block, size)
        raise
    if block:
        yield Lines(first, path, block, size)


def line_rows(block: Lines) -> Iterator[Row | Problem]:
    """Every line by itself: an object, or what is wrong with it; nothing where it is blank."""
    for number, line in enumerate(block.lines, start=block.first):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if not line.strip():
                continue
            place = f"{block.path}:{number + 1}"
            if (broken := not_utf8(number, place, line)) is not None:
                yield broken
            else:
                message = (
                    f"{place}: not valid JSON: {error.msg} at column {error.pos + 1}; expected an object on each line"
                )
                yield Problem(number, "broken_json", message, line.decode())
            continue
        yield _object(number, f"{block.path}:{number + 1}", value, len(line))


def json_rows(path: str, records: str | None) -> Iterator[Row | Problem]:
    """A list of objects, or the one under the key `records` of an object. Raises Unreadable."""
    data = whole(path)
    if not data.strip():
        return
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if (broken := not_utf8(None, path, data)) is not None:
            raise Unreadable(broken.reason, broken.message.removeprefix(f"{path}: ")) from error
        hint = ". Are these JSON Lines? Then say format: jsonl" if _is_json(data.split(b"\n", 1)[0]) else ""
        raise Unreadable(
            "broken_json", f"not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}{hint}"
        ) from error
    size = len(data)
    del data
    if records is not None:
        value = _records(value, records)
    if not isinstance(value, list):
        lists = [key for key, inner in value.items() if isinstance(inner, list)] if isinstance(value, dict) else []
        hint = f". Say which key holds the rows, e.g. records: {lists[0]}" if lists else ""
        raise Unreadable("no_records", f"holds {named(value)}, expected a list of objects{hint}")
    for number, item in enumerate(value):
        yield _object(number, f"{path} row {number + 1}", item, size // len(value))


def _records(value: Any, key: str) -> Any:
    if not isinstance(value, dict):
        raise Unreadable("no_records", f"holds {named(value)}, expected an object with the key '{key}' (records)")
    if key not in value:
        raise Unreadable("no_records", f"has no key '{key}' (records); {known_names(key, value)}")
    return value[key]


class UnquotedTabs(csv.Dialect):
    """TSV as registered with IANA: a quotation mark is a character like others."""

    delimiter = "\t"
    lineterminator = "\n"
    quoting = csv.QUOTE_NONE


def separated(path: str, delimiter: str, columns: list[str] | None) -> Iterator[Row | Problem]:
    """CSV as in RFC 4180, or TSV; `columns` are its names where it has no header. Raises Unreadable."""
    csv.field_size_limit(LONGEST_FIELD)
    broken: list[Problem] = []
    dialect = "excel" if delimiter == "," else UnquotedTabs
    reader = csv.reader(_decoded(path, broken), dialect, strict=True)
    number = 0
    names = columns
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            place = f"{path}:{reader.line_num}"
            yield Problem(number, "broken_csv", f"{place}: not valid CSV: {error}", None)
            number += 1
            continue
        while broken:
            yield broken.pop(0)._replace(number=number)
            number += 1
        if cells is None:
            return
        if not cells:
            continue
        if names is None:
            names = cells
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise Unreadable("broken_header", f"the header names the column '{twice}' more than once")
            continue
        place = f"{path}:{reader.line_num}"
        if len(cells) != len(names):
            message = f"{place}: found {len(cells)} columns, expected {len(names)} ({', '.join(names)})"
            yield Problem(number, "wrong_column_count", message, delimiter.join(cells))
        else:
            yield Row(number, place, dict(zip(names, cells, strict=True)), sum(map(len, cells)))
        number += 1


def _decoded(path: str, broken: list[Problem]) -> Iterator[str]:
    for number, line in enumerate(lines(path), start=1):
        try:
            yield f"{line.decode()}\n"
        except UnicodeDecodeError:
            problem = not_utf8(None, f"{path}:{number}", line)
            assert problem is not None
            broken.append(problem)


def text_file(path: str) -> Iterator[Row | Problem]:
    """A file that is one document, in the column `text`. Raises Unreadable."""
    data = whole(path)
    if not data:
        return
    broken = not_utf8(0, path, data)
    yield broken or Row(0, path, {"text": data.decode()}, len(data))


def page_file(path: str) -> Iterator[Row | Problem]:
    """A file that is one HTML page, as the bytes of the column `text`. Raises Unreadable."""
    data = b"".join(pieces(path))
    if data:
        yield Row(0, path, {"text": data}, len(data))


def _object(number: int, place: str, value: Any, size: int) -> Row | Problem:
    if isinstance(value, dict):
        return Row(number, place, value, size)
    message = f"{place}: found {named(value)}, expected an object"
    return Problem(number, "not_an_object", message, orjson.dumps(value).decode())


def not_utf8(number: int | None, place: str, data: bytes) -> Problem | None:
    """The problem of bytes that are no UTF-8 (its text has � for them); None where they are."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = f" in line {before.count(10) + 1}" if b"\n" in data.rstrip(b"\n") else ""
        message = f"{place}: not UTF-8: byte {data[error.start]:#04x} at position {error.start + 1}{line}"
        return Problem(number, "broken_utf8", message, data.decode(errors="replace"))
    return None


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def named(value: Any) -> str:
    """A value of JSON in a reader's words, cut short."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"the text '{value[:40]}{'…' if len(value) > 40 else ''}'"
    for kind, name in ((bool, "the truth value"), (int, "the number"), (float, "the number")):
        if isinstance(value, kind):
            return f"{name} {value}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return (
        f"an object with {', '.join(map(str, value)) or 'no keys'}" if isinstance(value, dict) else type(value).__name__
    )


def known_names(name: str, there: Iterable[str]) -> str:
    """ "there are: a, b; did you mean 'a'?" """
    names = list(map(str, there))
    nearest = difflib.get_close_matches(name, names, n=1)
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"there are: {listed or 'none'}" + (f"; did you mean '{nearest[0]}'?" if nearest else "")
