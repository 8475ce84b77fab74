"""Sources as shards, and shards as documents: the pieces that workers read side by side."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from core.artifacts.fingerprint import fingerprint
from core.documents import hub
from core.documents.files import expand, file_format, filesystem, is_remote
from core.documents.ledger import DROPPED
from core.documents.library import Item, library_directory, library_documents, library_items
from core.documents.mapping import TEXT_FILE, columns, documents, rejects
from core.documents.rows import Problem, Row, read_rows
from core.documents.skills import skills_documents
from core.documents.source import Source
from core.documents.streams import compression
from core.errors import DataError

SHARD_BYTES = 1 << 27  # a file above it is read in parts of about this size, where its format allows
SHARD_ROWS = 50_000  # of a Hugging Face dataset
SHARD_ITEMS = 200  # of the Python library
BATCH_BYTES = 1 << 25  # rows that become one table of documents
END = float("inf")


@dataclass(frozen=True)
class Shard:
    """A part of a source that is read in one piece. Small, and can be sent to any worker."""

    source: str
    number: int  # within the source, from 0
    options: Source
    identity: str  # tells its content: file name, size and time of change; a dataset's fingerprint; a Python's version
    recipe_dir: Path
    path: str = ""  # of files
    file: int = 0  # the file's number within the source
    begin: int = 0  # byte of JSON Lines, row group of Parquet, row of a dataset
    end: int | None = None
    first: int = 0  # number of its first row in the file
    items: tuple[Item, ...] = ()  # of the Python library
    split: Literal["train", "heldout"] = "train"  # of generated skills


def shards(name: str, source: Source, recipe_dir: Path, split: Literal["train", "heldout"] = "train") -> list[Shard]:
    """The shards of a source, in an order that depends on nothing but the source.

    split: which rows of generated skills; other sources have their own splits and files.
    Raises DataError or ResourceError where the source is not there.
    """
    if source.kind == "files":
        found = _file_shards(name, source, recipe_dir)
    elif source.kind == "dataset":
        found = _dataset_shards(name, source, recipe_dir)
    elif source.kind == "python_library":
        found = _library_shards(name, source, recipe_dir)
    else:
        found = iter([Shard(name, 0, source, "generated", recipe_dir, split=split)])
    return [replace(shard, number=number) for number, shard in enumerate(found)]


def input_fingerprint(shard: Shard) -> str:
    """Changes when what the shard reads may have changed; what the recipe says of the source is not in it."""
    return fingerprint([shard.identity, shard.begin, shard.end, shard.split])


def read_shard(shard: Shard, seed: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The shard's documents (DOCUMENTS) and what could not be read (DROPPED), some 32 MB of text at a time, in order.

    seed: the recipe's, for generated skills. Raises DataError for the first file or row that does not fit, unless
    the source says on_error: skip.
    """
    source = shard.options
    if source.skills is not None:
        made = skills_documents(source.skills, seed, shard.source, shard.split)
        yield made, DROPPED.empty_table()
    elif source.python_library is not None:
        yield library_documents(shard.items, source.python_library, shard.source)
    else:
        yield from _read_rows(shard)


def _read_rows(shard: Shard) -> Iterator[tuple[pa.Table, pa.Table]]:
    source = shard.options
    fields = source.fields or TEXT_FILE
    for rows, problems in _batches(_rows(shard)):
        made, misfits = documents(rows, fields, shard.source, shard.file)
        problems = sorted([*problems, *misfits], key=lambda problem: END if problem.number is None else problem.number)
        if problems and source.on_error == "stop":
            raise DataError(
                f"{problems[0].message}.\nMend it, or set on_error: skip for the source '{shard.source}' "
                "to go on without what cannot be read and have it listed."
            )
        file = f"{shard.source}:{shard.file}"
        ids = [file if problem.number is None else f"{file}:{problem.number}" for problem in problems]
        yield made, rejects(list(zip(ids, problems, strict=True)), shard.source)


def _rows(shard: Shard) -> Iterable[Row | Problem]:
    source = shard.options
    if source.dataset is not None:
        loaded = hub.load(source, shard.recipe_dir)
        return hub.rows(loaded, f"dataset {source.dataset}", shard.begin, shard.end or loaded.num_rows)
    wanted = columns(source.fields or TEXT_FILE)
    return read_rows(shard.path, source, wanted, shard.begin, shard.end, shard.first)


def _batches(found: Iterable[Row | Problem]) -> Iterator[tuple[list[Row], list[Problem]]]:
    rows: list[Row] = []
    problems: list[Problem] = []
    size = 0
    for item in found:
        if isinstance(item, Row):
            rows.append(item)
            size += item.size
        else:
            problems.append(item)
            size += len(item.text or "")
        if size >= BATCH_BYTES:
            yield rows, problems
            rows, problems, size = [], [], 0
    if rows or problems:
        yield rows, problems


def _file_shards(name: str, source: Source, recipe_dir: Path) -> Iterator[Shard]:
    for file, path in enumerate(expand(source, recipe_dir)):
        whole = Shard(name, 0, source, _file_identity(path), recipe_dir, path, file)
        cuts = _cuts(whole)
        ends = [*(begin for begin, _ in cuts[1:]), None]
        for (begin, first), end in zip(cuts, ends, strict=True):
            yield replace(whole, begin=begin, end=end, first=first)


def _file_identity(path: str) -> str:
    if is_remote(path):
        files, inner = filesystem(path)
        return f"{Path(inner).name} {files.checksum(inner)}"
    known = Path(path).stat()
    return f"{Path(path).name} {known.st_size} {known.st_mtime_ns}"


def _cuts(shard: Shard) -> list[tuple[int, int]]:
    """Where the parts of a file begin, and the number of the first row of each.

    Only a large local file of a format that can be entered in the middle has more than one part.
    """
    if not is_remote(shard.path) and not compression(shard.path) and Path(shard.path).stat().st_size > SHARD_BYTES:
        kind = file_format(shard.path, shard.options)
        if kind == "parquet":
            return _row_group_cuts(shard.path)
        if kind == "jsonl":
            return _line_cuts(shard.path)
    return [(0, 0)]


def _row_group_cuts(path: str) -> list[tuple[int, int]]:
    try:
        metadata = pq.read_metadata(path)
    except (pa.ArrowException, OSError):
        return [(0, 0)]  # reading it will say what is wrong with it
    cuts, size, row = [(0, 0)], 0, 0
    for group in range(metadata.num_row_groups):
        if size >= SHARD_BYTES:
            cuts.append((group, row))
            size = 0
        size += metadata.row_group(group).total_byte_size
        row += metadata.row_group(group).num_rows
    return cuts


def _line_cuts(path: str) -> list[tuple[int, int]]:
    cuts, place, line = [], 0, 0
    with Path(path).open("rb") as file:
        while part := file.read(SHARD_BYTES):
            part += file.readline()
            cuts.append((place, line))
            place += len(part)
            line += part.count(b"\n")
    return cuts


def _dataset_shards(name: str, source: Source, recipe_dir: Path) -> Iterator[Shard]:
    loaded = hub.load(source, recipe_dir)
    for begin in range(0, loaded.num_rows, SHARD_ROWS):
        end = min(loaded.num_rows, begin + SHARD_ROWS)
        yield Shard(name, 0, source, loaded._fingerprint, recipe_dir, begin=begin, end=end)


def _library_shards(name: str, source: Source, recipe_dir: Path) -> Iterator[Shard]:
    assert source.python_library is not None
    items = library_items(source.python_library)
    root = library_directory()
    for begin in range(0, len(items), SHARD_ITEMS):
        part = tuple(items[begin : begin + SHARD_ITEMS])
        sizes = [(root / item).stat().st_size if kind != "topics" else 0 for kind, item in part]
        yield Shard(name, 0, source, f"{sys.version} {fingerprint([part, sizes])}", recipe_dir, items=part)
