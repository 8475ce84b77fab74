"""Rows of CSV and of a JSON list, each with the line of the file that it begins in."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from core.errors import DataError


def csv_lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, each with the line it begins in."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}:{line}: not valid CSV ({error})") from error


def json_rows(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    """The elements of a list, each with the line it begins in."""

    def refuse(constant: str) -> NoReturn:
        raise DataError(f"{path}:{line}: found {constant}; expected a number")

    decoder = json.JSONDecoder(parse_float=Decimal, parse_int=Decimal, parse_constant=refuse)
    position, line = _skip(text, 0), 1
    line += text.count("\n", 0, position)
    if text[position : position + 1] != "[":
        raise DataError(f"{path}:{line}: expected a list of rows")
    ending = "["
    while True:
        start = _skip(text, position + 1)
        line += text.count("\n", position, start)
        if ending == "[" and text[start : start + 1] == "]":
            return
        try:
            value, position = decoder.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError) as error:
            at = getattr(error, "lineno", line)
            raise DataError(f"{path}:{at}: not valid JSON ({error})") from error
        yield line, value
        end = _skip(text, position)
        line += text.count("\n", start, end)
        position, ending = end, text[end : end + 1]
        if ending == "]":
            return
        if ending != ",":
            raise DataError(f"{path}:{line}: not valid JSON: expected ',' or ']' after a row")


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position
