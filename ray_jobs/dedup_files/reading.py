"""Files of any columns, read for deduplication: the keys of their texts, and JSON Lines as Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from core.artifacts.atomic import atomic_path, write_bytes
from core.documents.files import file_format
from core.documents.reading import SHARD_BYTES, Shard
from core.documents.rows import Problem, Row, json_lines, known_names, line_rows, named
from core.documents.streams import Unreadable
from ray_jobs.dedup_files.json_columns import Kind, add_kinds, require_few
from ray_jobs.dedup_files.parquet_rows import batches, group_bounds, parquet_file
from ray_jobs.dedup_files.pieces import Bundle, Keys, Notes, Piece, Reading, strings

BATCH_BYTES = 1 << 24  # of JSON Lines that become columns together
ADDED = ("cluster_id", "kept_id", "jaccard")  # columns of removed rows
KINDS = b"raycipe.kinds"  # metadata of rows of JSON Lines: what their columns hold


def read(reading: Reading, shards: Sequence[Shard], number: int) -> None:
    """Leaves a shard's bundles and problems. Raises DataError for the first problem, unless they are skipped."""
    listing = reading.listing(number)
    if listing.exists():
        return
    shard = shards[number]
    pieces: list[Piece] = []
    problems: list[dict[str, Any]] = []
    for place, each in enumerate((shard, *shard.more)):
        notes = Notes(reading, each.path)
        reader = _parquet if file_format(each.path, each.options) == "parquet" else _json_lines
        try:
            pieces += reader(reading, each, f"{number:05d}-{place:04d}", notes)
        except Unreadable as error:
            notes.add(None, error.reason, f"{each.path}: {error}")
        problems += notes.listed
    bundles = [pieces] if pieces and shard.more else [[piece] for piece in pieces]
    keys = reading.directory / f"keys-{number:05d}.npz"
    found = [asdict(Bundle.of(bundle, keys)) for bundle in bundles]
    write_bytes(listing, orjson.dumps({"bundles": found, "problems": problems}))


def require_columns(reading: Reading, shard: Shard) -> None:
    """Raises DataError where the first file, or its first row, shows that the columns are not as they must be."""
    if reading.skip:
        return
    notes = Notes(reading, shard.path)
    try:
        if file_format(shard.path, shard.options) == "parquet":
            with parquet_file(shard.path) as file:
                problem = _misfit(file.schema_arrow, reading)
            if problem is not None:
                notes.add(None, problem[0], f"{shard.path}: {problem[1]}")
            return
        first = next((item for item in _lines(shard) if isinstance(item, Row)), None)
        if first is not None and (problem := _misfit_row(first.value, reading)) is not None:
            notes.add(first.number, problem[0], f"{first.place}: {problem[1]}")
    except Unreadable as error:
        notes.add(None, error.reason, f"{shard.path}: {error}")


def _parquet(reading: Reading, shard: Shard, name: str, notes: Notes) -> Iterator[Piece]:
    """The shard as one piece. Where broken parts are skipped, all columns are read: what is kept can be written."""
    keys, groups = Keys(reading), list[int]()
    with parquet_file(shard.path) as file:
        if (problem := _misfit(file.schema_arrow, reading)) is not None:
            notes.add(None, problem[0], f"{shard.path}: {problem[1]}")
            return
        if not file.metadata.num_rows:
            notes.add(None, "empty_file", f"{shard.path}: holds no rows, expected at least one")
        bounds = group_bounds(file)
        columns = None if reading.skip else reading.columns
        for group in range(shard.begin, file.num_row_groups if shard.end is None else shard.end):
            found = Keys(reading)
            try:
                for begin, batch in batches(file, [group], columns):
                    _add_batch(reading, batch, begin, found, notes)
            except Unreadable as error:
                rows = f"rows {bounds[group] + 1:,} to {bounds[group + 1]:,}"
                what = f"; {rows} are left out" if reading.skip else f" (row group of {rows})"
                notes.add(int(bounds[group]), error.reason, f"{shard.path}: {error}{what}")
                continue
            keys.extend(found)
            groups.append(group)
    yield keys.piece(name, shard.path, shard.path, groups)


def _misfit(schema: pa.Schema, reading: Reading) -> tuple[str, str] | None:
    """What is wrong with the columns of a Parquet file."""
    taken = [name for name in ADDED if name in schema.names]
    if taken:
        return "column_taken", f"has a column '{taken[0]}', which removed rows are given: rename it"
    for name, kinds in ((reading.text, "strings"), (reading.id, "strings or whole numbers")):
        if name is None:
            continue
        if (count := schema.names.count(name)) > 1:
            return "ambiguous_field", f"has {count} columns of the name '{name}', expected one: rename the others"
        if not count:
            return "missing_field", f"has no column '{name}'; {known_names(name, schema.names)}"
        kind = schema.field(name).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        if not is_text and not pa.types.is_null(kind) and not (name == reading.id and pa.types.is_integer(kind)):
            return "wrong_type", f"row 1: column '{name}' is of type {kind}, expected {kinds}"
    return None


def _add_batch(reading: Reading, batch: pa.RecordBatch, begin: int, keys: Keys, notes: Notes) -> None:
    """The keys of a batch of Parquet, without rows that are no UTF-8 or have no id."""
    good = np.ones(batch.num_rows, np.bool_)
    for name in (reading.text, reading.id):
        if name is None:
            continue
        column = batch.column(name)
        for row, reason, message in _broken_rows(column, name == reading.id):
            if good[row]:
                good[row] = False
                notes.add(begin + row, reason, f"{notes.path} row {begin + row + 1}: column '{name}' {message}")
    rows = np.flatnonzero(good)
    column = batch.column(reading.text)
    if len(rows) < len(column):
        column = column.take(pa.array(rows))
    keys.add(strings(column), rows + begin, rows + begin)


def _broken_rows(column: pa.Array, is_id: bool) -> Iterator[tuple[int, str, str]]:
    if is_id and column.null_count:
        for row in np.flatnonzero(column.is_null()).tolist():
            yield row, "missing_id", "is null, expected an id"
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        for row, value in enumerate(column.cast(pa.large_binary()) if not pa.types.is_dictionary(column.type) else ()):
            try:
                (value.as_py() or b"").decode()
            except UnicodeDecodeError as error:
                yield row, "broken_utf8", f"is not UTF-8: byte {error.object[error.start]:#04x} at {error.start + 1}"


def _json_lines(reading: Reading, shard: Shard, name: str, notes: Notes) -> Iterator[Piece]:
    """The shard's lines as Parquet, in pieces of about `SHARD_BYTES`: a compressed file is one shard of any size."""
    tables: list[pa.Table] = []
    keys, rows, kinds = Keys(reading), list[Row](), dict[str, Kind]()
    pieces = size = held = 0

    def converted() -> None:
        begin = sum(table.num_rows for table in tables)
        for row in rows:
            add_kinds(kinds, row.value, reading.id)
        require_few(kinds)
        tables.append(_rows_as_json(rows, reading))
        numbers = np.array([row.number for row in rows], np.int64)
        keys.add(tables[-1][reading.text].combine_chunks(), numbers, np.arange(begin, begin + len(rows)))
        rows.clear()

    def written() -> Piece:
        part = f"{name}-{pieces:05d}"
        path = reading.directory / f"rows-{part}.parquet"
        groups = _write_rows(path, tables, kinds)
        tables.clear()
        kinds.clear()
        return keys.piece(part, shard.path, str(path), range(groups))

    for item in _lines(shard):
        if isinstance(item, Problem):
            notes.add(item.number, item.reason, item.message)
            continue
        if (problem := _misfit_row(item.value, reading)) is not None:
            notes.add(item.number, problem[0], f"{item.place}: {problem[1]}")
            continue
        rows.append(item)
        size += item.size
        held += item.size
        if held >= BATCH_BYTES:
            converted()
            held = 0
        if size >= SHARD_BYTES + BATCH_BYTES:
            yield written()
            keys, pieces, size = Keys(reading), pieces + 1, 0
    if rows:
        converted()
    if tables:
        yield written()


def _lines(shard: Shard) -> Iterator[Row | Problem]:
    """The shard's lines; a file that breaks off ends with a problem, and one without rows has one."""
    count = 0
    try:
        for block in json_lines(shard.path, shard.begin, shard.end, shard.first):
            for item in line_rows(block):
                count += 1
                yield item
    except Unreadable as error:
        yield Problem(None, error.reason, f"{shard.path}: {error} after {count:,} rows", None)
        return
    if not count and not shard.begin:
        yield Problem(None, "empty_file", f"{shard.path}: holds no rows, expected at least one", None)


def _rows_as_json(rows: Sequence[Row], reading: Reading) -> pa.Table:
    """The text, the id as text, and all else as JSON: its columns are known when all files are read."""
    texts = pa.array([row.value[reading.text] for row in rows], pa.large_string())
    columns = {reading.text: texts}
    if reading.id is not None and reading.id != reading.text:
        columns[reading.id] = pa.array([str(row.value[reading.id]) for row in rows], pa.large_string())
    others = ({name: value for name, value in row.value.items() if name != reading.text} for row in rows)
    columns[reading.json] = pa.array([orjson.dumps(value) for value in others], pa.large_binary())
    return pa.table(columns)


def _write_rows(path: Path, tables: Sequence[pa.Table], kinds: dict[str, Kind]) -> int:
    """Writes each table as row groups; returns how many."""
    schema = tables[0].schema.with_metadata({KINDS: orjson.dumps(kinds)})
    with atomic_path(path) as temporary:
        with pq.ParquetWriter(temporary, schema, compression="lz4") as writer:
            for table in tables:
                writer.write_table(table.replace_schema_metadata(schema.metadata))
        groups: int = pq.read_metadata(temporary).num_row_groups
    return groups


def _misfit_row(value: dict[str, Any], reading: Reading) -> tuple[str, str] | None:
    """What is wrong with an object."""
    for name in ADDED:
        if name in value:
            return "column_taken", f"has a key '{name}', which removed rows are given: rename it"
    if reading.text not in value:
        return "missing_field", f"has no key '{reading.text}'; {known_names(reading.text, value)}"
    text = value[reading.text]
    if text is not None and not isinstance(text, str):
        return "wrong_type", f"'{reading.text}' is {named(text)}, expected a string or null"
    if reading.id is not None:
        given = value.get(reading.id)
        if not isinstance(given, str | int) or isinstance(given, bool):
            return "missing_id", f"'{reading.id}' is {named(given)}, expected a string or a whole number"
    return None
