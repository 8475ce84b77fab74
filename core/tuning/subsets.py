"""Smaller sizes of a data set as parts of its largest: what curation would have drawn, without curating again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.artifacts.atomic import atomic_path
from core.artifacts.seeds import derive_seed
from core.documents.mixture import Wanted, sample

MIXTURE = "mixture"  # the stream that curation draws by


def largest(mixtures: Sequence[Mapping[str, Wanted] | None]) -> int | None:
    """Which mixture contains all the others, all being numbers of documents; None where none does."""
    counted = [
        {name: count for name, count in mixture.items() if isinstance(count, int)}
        for mixture in mixtures
        if mixture is not None and all(isinstance(count, int) or count == "all" for count in mixture.values())
    ]
    if len(counted) != len(mixtures):
        return None
    whole = [{name for name, count in (mixture or {}).items() if count == "all"} for mixture in mixtures]
    for number, mixture in enumerate(counted):
        if all(
            other.keys() | whole[place] == mixture.keys() | whole[number]
            and whole[place] <= whole[number]
            and all(name in whole[number] or mixture[name] >= count for name, count in other.items())
            for place, other in enumerate(counted)
        ):
            return number
    return None


def take_part(documents: Path, target: Path, mixture: Mapping[str, Wanted], seed: int) -> dict[str, int]:
    """Writes the part of curated documents that a smaller mixture is, file by file; returns how many of each source.

    documents: a directory of Parquet files for each source. A document's place in the draw depends on its id and the
    recipe's seed alone, so that the part is what curation draws for that mixture, and smaller parts lie in larger.
    """
    counts = {}
    for name, wanted in mixture.items():
        files = sorted((documents / name).glob("*.parquet"))
        ids = pa.concat_arrays(
            [chunk for path in files for chunk in pq.read_table(path, columns=["id"])["id"].chunks]
            or [pa.array([], pa.string())]
        )
        chosen = sample(ids, len(ids) if wanted == "all" else int(str(wanted)), derive_seed(seed, MIXTURE, name))
        begin = 0
        for path in files:
            table = pq.read_table(path)
            mask = pa.array(chosen[begin : begin + table.num_rows])
            begin += table.num_rows
            with atomic_path(target / name / path.name) as temporary:
                pq.write_table(table.filter(mask), temporary, compression="zstd")
        counts[name] = int(chosen.sum())
    return counts
