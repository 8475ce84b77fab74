"""What is known of Natural Instructions' tasks without their files: the table of all tasks, and lists of names."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import orjson

from core.documents.rows import known_names
from core.errors import DataError
from core.instructions.natural_instructions import TaskHeader

COLUMNS = 6  # Name | Summary | Category | Domain | Input Language | Output Language


def read_task_table(path: Path) -> list[TaskHeader]:
    """The headers of all tasks that a table has, in its order; .gz is decompressed.

    A `.md` file is read as `tasks/README.md` of https://github.com/allenai/natural-instructions, which has 1,613 tasks
    but not the data sets they come from (`sources` is None); any other as JSON Lines with the keys task, categories,
    domains, source, input_language and output_language. Raises DataError where a line is neither.
    """
    lines = _lines(path)
    rows = _markdown if path.name.removesuffix(".gz").endswith(".md") else _json_lines
    headers = list(rows(path, lines))
    if not headers:
        raise DataError(f"{path}: expected a table of Natural Instructions' tasks, found no task in it")
    seen: set[str] = set()
    for header in headers:
        if header.name in seen:
            raise DataError(f"{path}: the task {header.name} is there twice")
        seen.add(header.name)
    return headers


def read_task_names(path: Path) -> list[str]:
    """The names in a list: one a line, with or without .json; empty lines and lines that begin with # do not count."""
    names = [line.strip().removesuffix(".json") for line in _lines(path)]
    names = [name for name in names if name and not name.startswith("#")]
    if not names:
        raise DataError(f"{path}: expected a task name on each line, found none")
    return names


def _lines(path: Path) -> list[str]:
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode().splitlines()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _markdown(path: Path, lines: list[str]) -> Iterator[TaskHeader]:
    for number, line in enumerate(lines, start=1):
        if not line.startswith("`task"):
            continue
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != COLUMNS:
            raise DataError(f"{path}:{number}: found {len(cells)} columns, expected {COLUMNS}, parted by |")
        name, _, *lists = cells
        category, domain, read, written = (tuple(each.strip() for each in cell.split(",")) for cell in lists)
        yield TaskHeader(name.strip("`"), category, domain, read, written)


def _json_lines(path: Path, lines: list[str]) -> Iterator[TaskHeader]:
    for number, line in enumerate(lines, start=1):
        try:
            row = orjson.loads(line)
            keys = ("categories", "domains", "input_language", "output_language", "source")
            yield TaskHeader(row["task"], *(tuple(row[key]) for key in keys))
        except orjson.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not a JSON object ({error})") from error
        except KeyError as error:
            raise DataError(f"{path}:{number}: no key {error}; {known_names(error.args[0], row)}") from error
        except TypeError as error:
            raise DataError(f"{path}:{number}: not a task as the table has it ({error})") from error
