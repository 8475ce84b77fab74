"""Pieces of the input of `raycipe dedup`: what is known of each between reading and writing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.dedup.key_files import mapped, save_arrays
from core.dedup.minhash import MinhashDedup, band_keys
from core.errors import DataError
from ray_jobs.dedup_files.parquet_rows import batches, parquet_file

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Reading:
    """How the files are read."""

    text: str  # column
    id: str | None  # column
    skip: bool  # what cannot be read, instead of stopping
    minhash: MinhashDedup
    seed: int
    directory: Path  # for what is left for later

    @property
    def columns(self) -> list[str]:
        """Of Parquet, those that are needed."""
        return list(dict.fromkeys(name for name in (self.text, self.id) if name is not None))

    @property
    def json(self) -> str:
        """Of rows of JSON Lines, the column of all else: a name that is neither the text's nor the id's."""
        return f":{self.text}:{self.id}"

    def listing(self, shard: int) -> Path:
        """Where a shard's bundles and problems are listed; it is written last."""
        return self.directory / f"read-{shard:05d}.json"


@dataclass(frozen=True)
class Piece:
    """Rows of a file that are written together: Parquet, as it was found or as JSON Lines were converted to."""

    source: str  # the file that the rows are from
    data: str  # the file that they are read from
    groups: tuple[int, ...]  # row groups of it
    keys: str  # npz: keys, lengths; numbers: of each document's row in `source`; rows: in `data`
    documents: int
    bytes: int  # of text

    def array(self, name: str) -> Rows:
        """One of the arrays, int64[documents], ascending."""
        return np.array(mapped(Path(self.keys), name))


@dataclass(frozen=True)
class Bundle:
    """Pieces that one task reads and writes: one, or those of many small files."""

    pieces: tuple[Piece, ...]
    keys: str  # npz: keys and lengths of them all

    @staticmethod
    def of(pieces: Sequence[Piece], path: Path) -> Bundle:
        """path: where the keys of more than one are brought together."""
        if len(pieces) == 1:
            return Bundle(tuple(pieces), pieces[0].keys)
        together = {
            name: np.concatenate([np.array(mapped(Path(piece.keys), name)) for piece in pieces])
            for name in ("keys", "lengths")
        }
        save_arrays(path, **together)
        return Bundle(tuple(pieces), str(path))

    def split(self, rows: Rows) -> Iterator[tuple[int, Piece, slice, Rows]]:
        """For each piece: its number, itself, which of the rows, ascending, are in it, and what they are there."""
        begin = 0
        for number, piece in enumerate(self.pieces):
            low, high = np.searchsorted(rows, [begin, begin + piece.documents]).tolist()
            yield number, piece, slice(low, high), rows[low:high] - begin
            begin += piece.documents


def listed(path: Path) -> tuple[list[Bundle], list[dict[str, Any]]]:
    """A shard's bundles and problems."""
    found = orjson.loads(path.read_bytes())
    bundles = []
    for bundle in found["bundles"]:
        pieces = (Piece(**{**piece, "groups": tuple(piece["groups"])}) for piece in bundle["pieces"])
        bundles.append(Bundle(tuple(pieces), bundle["keys"]))
    return bundles, found["problems"]


def texts_of(bundle: Bundle, column: str, rows: Rows) -> Iterator[pa.LargeStringArray]:
    """The texts of a bundle's documents; rows: their numbers in it, ascending."""
    for _, piece, _, here in bundle.split(rows):
        if len(here):
            yield from _texts(piece, column, here)


def common_parent(paths: Sequence[str]) -> str | None:
    """What comes before the names that tell files apart, up to its last slash; None where their own names do."""
    names = {path: path.rpartition("/")[2] for path in paths}
    if len(set(names.values())) == len(names):
        return None
    common = os.path.commonprefix(list(names))  # noqa: RUF071 (of URLs too; cut at a slash here)
    return common.rpartition("/")[0] + "/"


def ids_of(bundle: Bundle, column: str | None, parent: str | None, rows: Rows) -> pa.Array:
    """The ids of a bundle's documents: of the column, or the file's name and the row's number.

    parent: as of `common_parent`: the name is the path below it.
    """
    ids = [pa.array([], pa.string())]
    for _, piece, _, here in bundle.split(rows):
        if column is not None and len(here):
            ids += [found.cast(pa.string()) for found in _texts(piece, column, here)]
        elif len(here):
            name = Path(piece.source).name if parent is None else piece.source.removeprefix(parent)
            numbers = piece.array("numbers")[here]
            ids.append(pa.array([f"{name}:{number}" for number in numbers.tolist()], pa.string()))
    return pa.concat_arrays(ids)


def _texts(piece: Piece, column: str, rows: Rows) -> Iterator[pa.LargeStringArray]:
    places = piece.array("rows")[rows]
    with parquet_file(piece.data) as file:
        for begin, batch in batches(file, piece.groups, [column], places):
            low, high = np.searchsorted(places, [begin, begin + batch.num_rows])
            if low < high:
                yield strings(batch.column(0)).take(pa.array(places[low:high] - begin))


class Notes:
    """What could not be read."""

    def __init__(self, reading: Reading, path: str) -> None:
        self.path, self.listed = path, list[dict[str, Any]]()
        self._skip = reading.skip

    def add(self, row: int | None, reason: str, message: str) -> None:
        """Stops, or lists it. row: from 0; None for a file."""
        if not self._skip:
            raise DataError(f"{message}.\nMend it, or go on without what cannot be read: --on-error skip")
        self.listed.append({"file": self.path, "row": row, "reason": reason, "message": message})


class Keys:
    """The keys of a piece, batch by batch."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._found: dict[str, list[NDArray[Any]]] = {
            "keys": [np.empty((0, reading.minhash.banding[0]), np.uint64)],
            **{name: [np.empty(0, np.int64)] for name in ("lengths", "numbers", "rows")},
        }

    def add(self, texts: pa.LargeStringArray, numbers: Rows, rows: Rows) -> None:
        """Those of more texts; numbers and rows: as in Piece."""
        found = self._found
        found["keys"].append(band_keys(texts, self._reading.minhash, self._reading.seed))
        found["lengths"].append(pc.fill_null(pc.binary_length(texts), 0).to_numpy())
        found["numbers"].append(numbers)
        found["rows"].append(rows)

    def extend(self, other: Keys) -> None:
        """Those that another has."""
        for name, arrays in other._found.items():
            self._found[name] += arrays[1:]

    def piece(self, name: str, source: str, data: str, groups: Sequence[int]) -> Piece:
        """Writes them: the piece."""
        path = self._reading.directory / f"keys-{name}.npz"
        arrays = {key: np.concatenate(found) for key, found in self._found.items()}
        save_arrays(path, **arrays)
        return Piece(source, data, tuple(groups), str(path), len(arrays["lengths"]), int(arrays["lengths"].sum()))


def strings(column: pa.Array) -> pa.LargeStringArray:
    """A column of strings of any type, or of numbers, as one type."""
    return pc.cast(column, pa.large_string())
