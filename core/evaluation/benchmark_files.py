"""Benchmarks as their authors publish them, in place of a hub's data sets: which files there are, read row by row."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from core.errors import DataError, first_line

Row = dict[str, Any]
SUFFIXES = (".json", ".jsonl", ".csv", ".tsv")  # of files that are converted; each also with .gz


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's published files, and how a row of theirs becomes the hub's.

    files: names of each split, below `directory`; the first that is there counts. {subset} is the hub's subset, {name}
    the same in lower case with underscores. convert: None for a row of no form that is known. columns: of CSV files
    that have no header. labels: ending of a file of labels beside each, a line for each row. subset_of: where a file
    holds several of the hub's subsets, that of a row.
    """

    directory: str
    files: Mapping[str, tuple[str, ...]]
    convert: Callable[[Row, str], Row | None]
    columns: tuple[str, ...] = ()
    labels: str = ""
    subset_of: Callable[[Row], str] | None = None

    def names(self, split: str, subset: str) -> list[str]:
        """The file names of a split."""
        name = subset.lower().replace("-", "_")
        return [pattern.format(subset=subset, name=name) for pattern in self.files.get(split, ())]

    def find(self, directory: Path, subset: str) -> dict[str, Path]:
        """The file of each split that has one in a directory."""
        there = {
            split: next(filter(None, (_there(directory / name) for name in self.names(split, subset))), None)
            for split in self.files
        }
        return {split: path for split, path in there.items() if path}

    def labels_of(self, path: Path) -> Path | None:
        """The file of labels beside a file that holds none. Raises DataError where it is not there."""
        if not self.labels or "label" in next(raw_rows(path, self.columns), {}):
            return None
        beside = path.with_name(_stem(path) + self.labels)
        found = _there(beside)
        if found is None:
            raise DataError(f"{path}: its labels are not there: expected {beside.name}, or with .gz, beside it")
        return found

    def rows(self, path: Path, subset: str) -> Iterator[Row]:
        """The rows of a published file in the hub's columns. Raises DataError for a row of no form that is known."""
        labels = self.labels_of(path)
        with ExitStack() as stack:
            lines = stack.enter_context(_opened(labels)) if labels else None
            for number, row in enumerate(raw_rows(path, self.columns), 1):
                try:
                    if lines:
                        row["label"] = int(next(lines, ""))
                    if self.subset_of and self.subset_of(row) != subset:
                        continue
                    converted = self.convert(row, subset)
                except (KeyError, TypeError, ValueError, IndexError) as error:
                    raise DataError(f"{path}: row {number}: {type(error).__name__}: {error}") from error
                if converted is None:
                    found = ", ".join(row) or "no columns"
                    raise DataError(f"{path}: row {number}: found {found}; expected {self.directory} as published")
                yield converted


def is_convertible(path: Path) -> bool:
    """Whether a file is of a format that conversions read."""
    return path.name.removesuffix(".gz").endswith(SUFFIXES)


def _there(path: Path) -> Path | None:
    return next((each for each in (path, path.with_name(path.name + ".gz")) if each.is_file()), None)


def _stem(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).stem


def _opened(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def raw_rows(path: Path, columns: tuple[str, ...] = ()) -> Iterator[Row]:
    """The rows of a file as they are; columns: of a CSV file that may lack them. Raises DataError where unreadable."""
    kind = Path(path.name.removesuffix(".gz")).suffix
    try:
        with _opened(path) as file:
            if kind == ".json":
                whole = json.load(file)
                yield from _mappings(path, whole["examples"] if isinstance(whole, dict) else whole)
            elif kind == ".jsonl":
                yield from _mappings(path, _lines(path, file))
            else:
                tabs = kind == ".tsv"
                lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(file)
                first = next(lines, [])
                header = list(columns) if columns and first != list(columns) else first
                if header is not first and first:
                    yield dict(zip(header, first, strict=True))
                yield from (dict(zip(header, line, strict=True)) for line in lines)
    except (OSError, EOFError, ValueError, KeyError, csv.Error, zlib.error) as error:
        raise DataError(f"{path}: not readable as {kind[1:]} ({first_line(error)})") from error


def _lines(path: Path, file: IO[str]) -> Iterator[Any]:
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not JSON ({first_line(error)})") from error


def _mappings(path: Path, rows: Iterable[Any]) -> Iterator[Row]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}: row {number}: found {type(row).__name__}, expected a mapping")
        yield row
