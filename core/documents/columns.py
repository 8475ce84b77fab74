"""Rows that come as Arrow columns: the same rows one by one, for what does not go by columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from core.documents.rows import Problem, Row, not_utf8


class Columns(NamedTuple):
    """Rows of a file or dataset that follow each other."""

    first: int  # number of the first
    place: str  # for messages: "data.parquet" or "dataset a/b"
    table: pa.Table


def single_rows(columns: Columns) -> Iterator[Row | Problem]:
    """Every row by itself; one with bytes in a string column that are no UTF-8 is a Problem."""
    table = columns.table
    size = table.nbytes // max(1, table.num_rows)
    try:
        values = table.to_pylist()
    except UnicodeDecodeError:
        yield from _some_broken(columns, size)
        return
    for number, value in enumerate(values, start=columns.first):
        yield Row(number, f"{columns.place} row {number + 1}", value, size)


def _some_broken(columns: Columns, size: int) -> Iterator[Row | Problem]:
    for number in range(columns.table.num_rows):
        place = f"{columns.place} row {columns.first + number + 1}"
        row = columns.table.slice(number, 1)
        try:
            yield Row(columns.first + number, place, row.to_pylist()[0], size)
        except UnicodeDecodeError:
            yield _broken(columns.first + number, place, row)


def _broken(number: int, place: str, row: pa.Table) -> Problem:
    for name in row.column_names:
        try:
            row[name].to_pylist()
        except UnicodeDecodeError as error:
            problem = not_utf8(number, f"{place}: column '{name}'", error.object)
            assert problem is not None
            return problem
    raise AssertionError("a row that is broken as a whole is broken in a column")
