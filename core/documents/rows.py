"""The rows of a file in any of the formats, as plain dictionaries, and what could not be read of it."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from core.documents.files import file_format
from core.documents.source import Source
from core.documents.streams import Unreadable, compression, lines, opened, whole

LONGEST_FIELD = 1 << 26  # characters of a CSV field; an unclosed quote ends there
PARQUET_BATCH = 1 << 24  # bytes of rows taken at once


class Row(NamedTuple):
    """A row of a file."""

    number: int  # from 0
    place: str  # for messages: "data.jsonl:17" (line) or "data.parquet row 17", from 1
    value: dict[str, Any]
    size: int  # about how many bytes it is


class Problem(NamedTuple):
    """What could not be read: a row, or a file (from some row on)."""

    number: int | None  # the row's; None for a file
    reason: str  # a short snake_case name
    message: str  # where, what was found, what was expected
    text: str | None  # the row as it stands, as far as it is known


def read_rows(
    path: str, source: Source, wanted: Iterable[str], begin: int = 0, end: int | None = None, first: int = 0
) -> Iterator[Row | Problem]:
    """Rows and problems of one file, in order.

    wanted: the columns that are needed (others may be left out where the format allows).
    begin, end, first: a part of the file that begins with row `first`: bytes of JSON Lines, row groups of Parquet.
    A file that breaks off ends with a Problem; the rows before it are given. One without rows gives a Problem too.
    """
    kind = file_format(path, source)
    count = 0
    try:
        if kind == "jsonl":
            items = _json_lines(path, begin, end, first)
        elif kind == "json":
            items = _json(path, source.records)
        elif kind == "parquet":
            items = _parquet(path, set(wanted), begin, end, first)
        elif kind == "text":
            items = _text(path)
        else:
            items = _separated(path, "\t" if kind == "tsv" else ",", source.columns)
        for item in items:
            count += 1
            yield item
    except Unreadable as error:
        after = f" after {count:,} rows" if count or error.reason == "file_truncated" else ""
        yield Problem(None, error.reason, f"{path}: {error}{after}", None)
        return
    if not count and not begin:
        yield Problem(None, "empty_file", f"{path}: holds no rows, expected at least one", None)


def _json_lines(path: str, begin: int, end: int | None, first: int) -> Iterator[Row | Problem]:
    for number, line in enumerate(lines(path, begin, end), start=first):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if not line.strip():
                continue
            place = f"{path}:{number + 1}"
            if (broken := _broken_utf8(number, place, line)) is not None:
                yield broken
            else:
                message = (
                    f"{place}: not valid JSON: {error.msg} at column {error.pos + 1}; expected an object on each line"
                )
                yield Problem(number, "broken_json", message, line.decode())
            continue
        yield _object(number, f"{path}:{number + 1}", value, len(line))


def _json(path: str, records: str | None) -> Iterator[Row | Problem]:
    data = whole(path)
    if not data.strip():
        return
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if (broken := _broken_utf8(None, path, data)) is not None:
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


def _separated(path: str, delimiter: str, columns: list[str] | None) -> Iterator[Row | Problem]:
    """CSV as in RFC 4180, or TSV."""
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
            problem = _broken_utf8(None, f"{path}:{number}", line)
            assert problem is not None
            broken.append(problem)


def _parquet(path: str, wanted: set[str], begin: int, end: int | None, first: int) -> Iterator[Row | Problem]:
    with opened(path) as stored:
        file = io.BytesIO(whole(path)) if compression(path) else stored
        try:
            parquet = pq.ParquetFile(file)
        except (pa.ArrowException, OSError) as error:
            reason = "file_truncated" if "magic bytes" in str(error) else "broken_parquet"
            raise Unreadable(reason, f"not a whole Parquet file ({_sentence(error)})") from error
        columns = sorted(wanted) if wanted and wanted <= set(parquet.schema_arrow.names) else None
        size = _batch_rows(parquet.metadata)
        for group in range(begin, parquet.num_row_groups if end is None else end):
            number = first
            first += parquet.metadata.row_group(group).num_rows
            try:
                for batch in parquet.iter_batches(size, [group], columns):
                    for value in batch.to_pylist():
                        yield Row(number, f"{path} row {number + 1}", value, batch.nbytes // batch.num_rows)
                        number += 1
            except (pa.ArrowException, OSError) as error:
                rows = f"rows {number + 1:,} to {first:,}"
                yield Problem(None, "broken_parquet", f"{path}: {rows} cannot be read ({_sentence(error)})", None)


def _batch_rows(metadata: Any) -> int:
    size: int = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    return max(1, min(1 << 16, int(PARQUET_BATCH * metadata.num_rows // max(1, size))))


def _text(path: str) -> Iterator[Row | Problem]:
    data = whole(path)
    if not data:
        return
    broken = _broken_utf8(0, path, data)
    yield broken or Row(0, path, {"text": data.decode()}, len(data))


def _object(number: int, place: str, value: Any, size: int) -> Row | Problem:
    if isinstance(value, dict):
        return Row(number, place, value, size)
    message = f"{place}: found {named(value)}, expected an object"
    return Problem(number, "not_an_object", message, orjson.dumps(value).decode())


def _broken_utf8(number: int | None, place: str, data: bytes) -> Problem | None:
    """The problem of bytes that are no UTF-8; None where they are."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = f" in line {before.count(10) + 1}" if b"\n" in data.rstrip(b"\n") else ""
        message = f"{place}: not UTF-8: byte {data[error.start]:#04x} at position {error.start + 1}{line}"
        return Problem(number, "broken_utf8", message, data.decode(errors="replace"))
    return None


def _sentence(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(". ")


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
