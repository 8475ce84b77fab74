"""`raycipe dedup`: near-duplicates out of any Parquet or JSON Lines files, without a recipe."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from core.artifacts.atomic import write_json
from core.artifacts.fingerprint import code_version, fingerprint
from core.artifacts.stage import locked
from core.dedup.minhash import MinhashDedup
from core.documents.files import file_format
from core.documents.reading import Shard, input_fingerprint, shards
from core.documents.source import Fields, Source, format_by_name
from core.errors import DataError, RecipeError
from ray_jobs.dedup_files.directory import RESULT, SKIPPED, STARTED, WORK, finished_result
from ray_jobs.dedup_files.json_columns import unified
from ray_jobs.dedup_files.pieces import Bundle, Reading, ids_of, listed, texts_of
from ray_jobs.dedup_files.reading import read
from ray_jobs.dedup_files.writing import write_bundle
from ray_jobs.deduplication.document_parts import Part
from ray_jobs.deduplication.near_duplicates import Summary, find_near_duplicates
from ray_jobs.parallel import each
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession

CODE = ("core/dedup", "ray_jobs/dedup.py", "ray_jobs/dedup_files", "ray_jobs/deduplication")
SOURCE = "files"  # all files are one source


def dedup(
    files: list[str],
    out: Path,
    minhash: dict[str, Any],
    text_field: str,
    id_field: str | None,
    seed: int,
    on_error: str,
    address: str | None,
    as_json: bool,
) -> None:
    """The command. minhash: keys of MinhashDedup; those that are None are not given."""
    if on_error not in ("stop", "skip"):
        raise RecipeError(f"--on-error: found '{on_error}', expected stop or skip")
    try:
        options = MinhashDedup(**{name: value for name, value in minhash.items() if value is not None})
    except ValidationError as error:
        raise RecipeError("; ".join(_said(problem) for problem in error.errors())) from error
    reporter = Reporter()
    session = RaySession(address, reporter.say)
    try:
        result = deduplicate(files, out, options, text_field, id_field, seed, on_error == "skip", session, reporter)
    finally:
        session.close()
    if as_json:
        print(json.dumps(result))


def deduplicate(
    files: Sequence[str],
    out: Path,
    options: MinhashDedup,
    text_field: str,
    id_field: str | None,
    seed: int,
    skip: bool,
    session: RaySession | None,
    reporter: Reporter,
) -> dict[str, Any]:
    """Writes `out` and returns what `dedup.json` holds. session: None works in this process.

    Raises DataError for files that cannot be read (unless skip), and for an `out` that is another's.
    """
    out = out.absolute()
    found = _shards(files, text_field, skip)
    identity = {
        "options": options.model_dump(mode="json"),
        "fields": [text_field, id_field],
        "seed": seed,
        "skip": skip,
        "code": code_version(*CODE),
        "inputs": [[[one.path for one in (shard, *shard.more)], input_fingerprint(shard)] for shard in found],
    }
    mark = fingerprint(identity)
    finished = finished_result(out, mark)
    if finished is not None:
        reporter.say(f"dedup: finished earlier, in {out}")
        return finished
    if session is not None:
        session.require()
    with locked(out):
        work = out / WORK
        write_json(work / STARTED, {"fingerprint": mark})
        reading = Reading(text_field, id_field, skip, options, seed, work)
        seconds: dict[str, float] = {}
        began = time.monotonic()
        bundles, problems = _read(reading, found, session, reporter)
        if not any(piece.documents for bundle in bundles for piece in bundle.pieces):
            raise DataError(f"the files hold no documents: {', '.join(files)}")
        seconds["read"] = round(time.monotonic() - began, 3)
        parts = [
            Part(Path(bundle.keys), SOURCE, partial(texts_of, bundle, text_field), partial(ids_of, bundle, id_field))
            for bundle in bundles
        ]
        summary = find_near_duplicates(session, parts, options, work / "pairs", reporter)
        seconds |= summary.seconds
        began = time.monotonic()
        _write(bundles, summary, out, session, reporter)
        seconds["write"] = round(time.monotonic() - began, 3)
        if problems:
            (out / SKIPPED).write_bytes(b"".join(orjson.dumps(problem) + b"\n" for problem in problems))
        result = _result(mark, found, bundles, problems, summary, options, seed, seconds)
        write_json(out / RESULT, result)
        shutil.rmtree(work)
    reporter.say(
        f"dedup: {result['kept']:,} of {result['documents']:,} documents kept, {result['removed']:,} removed in "
        f"{result['clusters']:,} clusters" + (f", {len(problems):,} skipped: {out / SKIPPED}" if problems else "")
    )
    return result


def _said(problem: Any) -> str:
    """A wrong option, by its name on the command line."""
    name = "".join(f"--{str(part).replace('_', '-')} " for part in problem["loc"])
    return (
        f"{name}{problem['msg'].removeprefix('Value error, ')}, found {problem['input']!r}" if name else problem["msg"]
    )


def _shards(files: Sequence[str], text_field: str, skip: bool) -> list[Shard]:
    expected = "expected Parquet or JSON Lines (.parquet, .jsonl, .ndjson, each also with .gz or .zst)"
    for pattern in files:
        if format_by_name(pattern) not in (None, "parquet", "jsonl"):
            raise DataError(f"{pattern}: found {format_by_name(pattern)}, {expected}")
    if not text_field:
        raise RecipeError("--text-field: is empty, expected the name of a column")
    source = Source(files=list(files), fields=Fields(text=text_field), on_error="skip" if skip else "stop")
    found = shards(SOURCE, source, Path.cwd())
    for path in (one.path for shard in found for one in (shard, *shard.more)):
        if file_format(path, source) not in ("parquet", "jsonl"):
            raise DataError(f"{path}: found {file_format(path, source)}, {expected}")
    return found


def _read(
    reading: Reading, found: Sequence[Shard], session: RaySession | None, reporter: Reporter
) -> tuple[list[Bundle], list[dict[str, Any]]]:
    with reporter.bar("dedup: read", len(found)) as bar:
        for _ in each(session, partial(read, reading, found), list(range(len(found)))):
            bar.advance()
    bundles: list[Bundle] = []
    problems: list[dict[str, Any]] = []
    for number in range(len(found)):
        here, skipped = listed(reading.listing(number))
        bundles += here
        problems += skipped
    return bundles, problems


def _write(
    bundles: Sequence[Bundle], summary: Summary, out: Path, session: RaySession | None, reporter: Reporter
) -> None:
    """Kept and removed rows of every piece. What was JSON Lines has one schema."""
    pieces = [piece for bundle in bundles for piece in bundle.pieces]
    schemas = [pq.read_schema(piece.data) for piece in pieces if piece.data != piece.source]
    schema: pa.Schema | None = unified(schemas) if schemas else None
    with reporter.bar("dedup: write", len(bundles)) as bar:
        write = partial(write_bundle, bundles, schema, summary.files, out)
        for _ in each(session, write, list(range(len(bundles)))):
            bar.advance()


def _result(
    mark: str,
    found: Sequence[Shard],
    bundles: Sequence[Bundle],
    problems: Sequence[dict[str, Any]],
    summary: Summary,
    options: MinhashDedup,
    seed: int,
    seconds: dict[str, float],
) -> dict[str, Any]:
    documents = int(summary.bounds[-1])
    bands, rows_per_band = options.banding
    pieces = [piece for bundle in bundles for piece in bundle.pieces]
    return {
        "fingerprint": mark,
        "documents": documents,
        "kept": documents - summary.removed,
        "removed": summary.removed,
        "clusters": summary.clusters,
        "candidate_pairs": summary.candidate_pairs,
        "bytes": sum(piece.bytes for piece in pieces),
        "files": len({one.path for shard in found for one in (shard, *shard.more)}),
        "parts": len(pieces),
        "skipped": {"count": len(problems), "first": list(problems[:10])},
        "options": {**options.model_dump(mode="json"), "bands": bands, "rows_per_band": rows_per_band, "seed": seed},
        "seconds": seconds,
    }


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("dedup")
