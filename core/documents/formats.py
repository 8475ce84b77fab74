"""The rows of a file in any of the formats, and what could not be read of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core.documents.columns import Columns
from core.documents.files import file_format
from core.documents.parquet import parquet_columns
from core.documents.rows import Lines, Problem, Row, json_lines, json_rows, page_file, separated, text_file
from core.documents.source import Source
from core.documents.streams import Unreadable
from core.documents.warc import web_pages


def read_rows(
    path: str, source: Source, wanted: Iterable[str], begin: int = 0, end: int | None = None, first: int = 0
) -> Iterator[Row | Lines | Columns | Problem]:
    """Rows (of Parquet and JSON Lines many at a time) and problems of one file, in order.

    wanted: the columns that are needed (others may be left out where the format allows).
    begin, end, first: a part of the file that begins with row `first`: bytes of JSON Lines, row groups of Parquet.
    A file that breaks off ends with a Problem; the rows before it are given. One without rows gives a Problem too.
    """
    count = 0
    try:
        for item in _rows(path, source, set(wanted), begin, end, first):
            if isinstance(item, Columns):
                count += item.table.num_rows
            else:
                count += item.rows if isinstance(item, Lines) else 1
            yield item
    except Unreadable as error:
        after = f" after {count:,} rows" if count or error.reason == "file_truncated" else ""
        yield Problem(None, error.reason, f"{path}: {error}{after}", None)
        return
    if not count and not begin:
        yield Problem(None, "empty_file", f"{path}: holds no rows, expected at least one", None)


def _rows(
    path: str, source: Source, wanted: set[str], begin: int, end: int | None, first: int
) -> Iterator[Row | Lines | Columns | Problem]:
    kind = file_format(path, source)
    if kind == "jsonl":
        return json_lines(path, begin, end, first)
    if kind == "json":
        return json_rows(path, source.records)
    if kind == "parquet":
        return parquet_columns(path, wanted, begin, end, first)
    if kind == "text":
        return text_file(path)
    if kind == "html":
        return page_file(path)
    if kind == "warc":
        return web_pages(path)
    return separated(path, "\t" if kind == "tsv" else ",", source.columns)
