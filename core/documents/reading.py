"""Sources as shards, and shards as documents: the pieces that workers read side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from core.artifacts.fingerprint import fingerprint
from core.documents import hub
from core.documents.column_mapping import many_documents
from core.documents.columns import Columns, single_rows
from core.documents.fields import Fields
from core.documents.files import expand, file_format, filesystem, is_remote
from core.documents.formats import read_rows
from core.documents.html import Html
from core.documents.ledger import DROPPED
from core.documents.library import Item, library_directory, library_documents, library_items
from core.documents.mapping import TEXT_FILE, WEB_ARCHIVE, documents, rejects
from core.documents.parquet import DAMAGE
from core.documents.rows import Lines, Problem, Row, line_rows
from core.documents.skills import skills_documents
from core.documents.source import Source
from core.documents.streams import compression
from core.documents.table import DOCUMENTS
from core.errors import DataError

SHARD_BYTES = 1 << 27  # a file above it is read in parts of about this size, where its format allows
BUNDLE_BYTES = 1 << 24  # small files in a row are read as one shard, up to so many bytes of them together
SHARD_ROWS = 50_000  # of a Hugging Face dataset
SHARD_ITEMS = 200  # of the Python library
BATCH_BYTES = 1 << 25  # rows that become one table of documents
END = float("inf")


class Maker(NamedTuple):
    """How rows become documents where it is not `fields` that says so."""

    wanted: set[str]  # columns that are read
    documents: Callable[[Sequence[Row]], tuple[pa.Table, list[Problem]]]  # DOCUMENTS of rows, and what does not fit


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
    size: int = 0  # bytes of a file that is read whole, as stored
    more: tuple[Shard, ...] = ()  # small files that are read after it


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
    return numbered(found)


def numbered(found: Iterable[Shard]) -> list[Shard]:
    """Shards of a source in order, those of small files joined, each with its number."""
    return [replace(shard, number=number) for number, shard in enumerate(_bundled(found))]


def file_shard(name: str, source: Source, recipe_dir: Path, path: str, file: int) -> Shard:
    """A whole file of a source as a shard. file: its number within the source."""
    return Shard(name, 0, source, _file_identity(path), recipe_dir, path, file, size=_file_size(path))


def input_fingerprint(shard: Shard) -> str:
    """Changes when what the shard reads may have changed; what the recipe says of the source is not in it."""
    return fingerprint([[each.identity, each.begin, each.end, each.split] for each in (shard, *shard.more)])


def read_shard(shard: Shard, seed: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The shard's documents (DOCUMENTS) and what could not be read (DROPPED), some 32 MB of text at a time, in order.

    seed: the recipe's, for generated skills. Raises DataError for the first file or row that does not fit, unless
    the source says on_error: skip.
    """
    yield from read_files(shard, lambda each: _read_one(each, seed))


def read_files(
    shard: Shard, read: Callable[[Shard], Iterator[tuple[pa.Table, pa.Table]]]
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """What `read` gives of a shard; of one of several small files, of each of them, joined to some 32 MB."""
    if shard.more:
        yield from _together(tables for each in (replace(shard, more=()), *shard.more) for tables in read(each))
    else:
        yield from read(shard)


def _read_one(shard: Shard, seed: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    source = shard.options
    if source.skills is not None:
        made = skills_documents(source.skills, seed, shard.source, shard.split)
        yield made, DROPPED.empty_table()
    elif source.python_library is not None:
        yield library_documents(shard.items, source.python_library, shard.source)
    else:
        fields, html = _mapping(shard)
        yield from read_mapped(shard, _fields_maker(shard, fields, html), None if html else fields)


def _together(found: Iterable[tuple[pa.Table, pa.Table]]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The tables of small files, joined to some BATCH_BYTES."""
    made: list[tuple[pa.Table, pa.Table]] = []
    size = 0
    for tables in found:
        made.append(tables)
        size += sum(table.nbytes for table in tables)
        if size >= BATCH_BYTES:
            yield _joined(made)
            made, size = [], 0
    if made:
        yield _joined(made)


def _joined(made: list[tuple[pa.Table, pa.Table]]) -> tuple[pa.Table, pa.Table]:
    documents_of_files, rejects_of_files = zip(*made, strict=True)
    return pa.concat_tables(documents_of_files), pa.concat_tables(rejects_of_files)


def read_mapped(shard: Shard, maker: Maker, by_column: Fields | None = None) -> Iterator[tuple[pa.Table, pa.Table]]:
    """As `read_shard`, of files and datasets, with documents made by a `maker`.

    by_column: the mapping by which many rows may be made to documents at once.
    """
    for made, problems in _batches(shard, maker, by_column):
        problems.sort(key=lambda problem: END if problem.number is None else problem.number)
        errors = [problem for problem in problems if not problem.expected]
        if errors and shard.options.on_error == "stop":
            raise DataError(
                f"{errors[0].message}.\nMend it, or set on_error: skip for the source '{shard.source}' "
                "to go on without what cannot be read and have it listed."
            )
        file = f"{shard.source}:{shard.file}"
        ids = [file if problem.number is None else f"{file}:{problem.number}" for problem in problems]
        yield made, rejects(list(zip(ids, problems, strict=True)), shard.source)


def single_rows_of(shard: Shard, wanted: set[str]) -> Iterator[Row]:
    """The rows of a shard of a file or dataset one by one; what cannot be read is passed over."""
    for item in _items(shard, wanted):
        several: Iterable[Row | Problem] = [item] if isinstance(item, Row | Problem) else _singles(item)
        yield from (row for row in several if isinstance(row, Row))


def _singles(item: Columns | Lines) -> Iterator[Row | Problem]:
    return single_rows(item) if isinstance(item, Columns) else line_rows(item)


def _fields_maker(shard: Shard, fields: Fields, html: Html | None) -> Maker:
    return Maker(fields.needed, lambda rows: documents(rows, fields, shard.source, shard.file, html))


def _batches(shard: Shard, maker: Maker, by_column: Fields | None) -> Iterator[tuple[pa.Table, list[Problem]]]:
    """Documents and problems in order, some BATCH_BYTES at a time."""
    made: list[pa.Table] = []
    rows: list[Row] = []
    problems: list[Problem] = []
    size = 0

    def make_rows() -> None:
        if rows:
            documents_of_rows, misfits = maker.documents(rows)
            made.append(documents_of_rows)
            problems.extend(misfits)
            rows.clear()

    for item in _items(shard, maker.wanted):
        if isinstance(item, Columns | Lines):
            table = many_documents(item, by_column, shard.source, shard.file) if by_column else None
            if table is not None:
                make_rows()
                made.append(table)
            else:
                singles = list(_singles(item))
                rows += [row for row in singles if isinstance(row, Row)]
                problems += [problem for problem in singles if isinstance(problem, Problem)]
            size += item.table.nbytes if isinstance(item, Columns) else item.size
        elif isinstance(item, Row):
            rows.append(item)
            size += item.size
        else:
            problems.append(item)
            size += len(item.text or "")
        if size >= BATCH_BYTES:
            make_rows()
            yield pa.concat_tables([DOCUMENTS.empty_table(), *made]), problems
            made, problems, size = [], [], 0
    if made or rows or problems:
        make_rows()
        yield pa.concat_tables([DOCUMENTS.empty_table(), *made]), problems


def _items(shard: Shard, wanted: set[str]) -> Iterable[Row | Lines | Columns | Problem]:
    source = shard.options
    if source.dataset is not None:
        loaded = hub.load(source, shard.recipe_dir)
        return hub.rows(loaded, f"dataset {source.dataset}", shard.begin, shard.end or loaded.num_rows)
    return read_rows(shard.path, source, wanted, shard.begin, shard.end, shard.first)


def _mapping(shard: Shard) -> tuple[Fields, Html | None]:
    """What makes a document, and where that is in HTML, how its text is taken."""
    source = shard.options
    kind = None if source.dataset else file_format(shard.path, source)
    if kind == "text":
        return TEXT_FILE, None
    if kind in ("html", "warc"):
        return (WEB_ARCHIVE if kind == "warc" else TEXT_FILE), source.html or Html()
    assert source.fields is not None
    return source.fields, source.html


def _file_shards(name: str, source: Source, recipe_dir: Path) -> Iterator[Shard]:
    for file, path in enumerate(expand(source, recipe_dir)):
        whole = file_shard(name, source, recipe_dir, path, file)
        cuts = _cuts(whole)
        ends = [*(begin for begin, _ in cuts[1:]), None]
        for (begin, first), end in zip(cuts, ends, strict=True):
            yield replace(whole, begin=begin, end=end, first=first)


def _bundled(found: Iterable[Shard]) -> Iterator[Shard]:
    """Shards, those of small files joined: a task for each of thousands would cost more than the work in it."""
    bundle: list[Shard] = []
    size = 0
    for shard in found:
        small = bool(shard.path) and shard.begin == 0 and shard.end is None and shard.size < BUNDLE_BYTES
        if bundle and (not small or size + shard.size > BUNDLE_BYTES):
            yield replace(bundle[0], more=tuple(bundle[1:]))
            bundle, size = [], 0
        if small:
            bundle.append(shard)
            size += shard.size
        else:
            yield shard
    if bundle:
        yield replace(bundle[0], more=tuple(bundle[1:]))


def _file_size(path: str) -> int:
    if is_remote(path):
        files, inner = filesystem(path)
        return files.size(inner) or 0
    return Path(path).stat().st_size


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
    except DAMAGE:
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
