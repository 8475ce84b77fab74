"""`raycipe dedup`: near-duplicates out of any Parquet or JSON Lines files, without a recipe."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from core.artifacts.atomic import write_bytes, write_json
from core.artifacts.fingerprint import code_version, fingerprint
from core.artifacts.stage import locked
from core.dedup.minhash import MinhashDedup
from core.documents.reading import Shard, input_fingerprint
from core.errors import DataError, RecipeError
from ray_jobs.dedup_files.arguments import SOURCE, file_shards, minhash_options, paths
from ray_jobs.dedup_files.directory import (
    RESULT,
    SKIPPED,
    STARTED,
    WORK,
    finished_result,
    prepare,
    remove_work,
    sizes_of,
)
from ray_jobs.dedup_files.json_columns import Kind, merge_kinds, schema_of
from ray_jobs.dedup_files.pieces import Bundle, Reading, common_parent, ids_of, listed, texts_of
from ray_jobs.dedup_files.reading import KINDS, read, require_columns
from ray_jobs.dedup_files.writing import id_type, write_bundle
from ray_jobs.deduplication.document_parts import Part
from ray_jobs.deduplication.near_duplicates import Summary, find_near_duplicates
from ray_jobs.parallel import each
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession

CODE = ("core/dedup", "core/documents", "ray_jobs/dedup.py", "ray_jobs/dedup_files", "ray_jobs/deduplication")


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
    options = minhash_options(minhash, seed)
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
    found = file_shards(files, text_field, id_field, skip)
    identity = {
        "options": options.model_dump(mode="json"),
        "fields": [text_field, id_field],
        "seed": seed,
        "skip": skip,
        "code": code_version(*CODE),
        "inputs": [[[one.path for one in (shard, *shard.more)], input_fingerprint(shard)] for shard in found],
    }
    mark = fingerprint(identity)
    reading = Reading(text_field, id_field, skip, options, seed, out / WORK)
    finished = finished_result(out, mark)
    if finished is None or (out / WORK).exists():
        if finished is None:
            require_columns(reading, found[0])
        with locked(out):
            finished = prepare(out, mark, reporter.say)
            if finished is None:
                write_json(out / WORK / STARTED, {"fingerprint": mark})
                if session is not None:
                    session.require()
                return _deduplicated(files, found, out, mark, reading, session, reporter)
    reporter.say(f"dedup: finished earlier, in {out}")
    return finished


def _deduplicated(
    files: Sequence[str],
    found: Sequence[Shard],
    out: Path,
    mark: str,
    reading: Reading,
    session: RaySession | None,
    reporter: Reporter,
) -> dict[str, Any]:
    work, options = out / WORK, reading.minhash
    seconds: dict[str, float] = {}
    began = time.monotonic()
    bundles, problems = _read(reading, found, session, reporter)
    if problems:
        write_bytes(out / SKIPPED, b"".join(orjson.dumps(problem) + b"\n" for problem in problems))
    if not any(piece.documents for bundle in bundles for piece in bundle.pieces):
        told = f"the files hold no documents: {', '.join(files)}"
        if problems:
            told += f".\n{len(problems):,} skipped, listed in {out / SKIPPED}; the first: {problems[0]['message']}"
        raise DataError(told)
    seconds["read"] = round(time.monotonic() - began, 3)
    parent = common_parent(paths(found))
    parts = [
        Part(
            Path(bundle.keys),
            SOURCE,
            partial(texts_of, bundle, reading.text),
            partial(ids_of, bundle, reading.id, parent),
        )
        for bundle in bundles
    ]
    summary = find_near_duplicates(session, parts, options, work / "pairs", reporter)
    seconds |= summary.seconds
    began = time.monotonic()
    _write(reading, bundles, summary, out, session, reporter)
    seconds["write"] = round(time.monotonic() - began, 3)
    result = _result(mark, found, bundles, problems, summary, options, reading.seed, seconds)
    result["written"] = sizes_of(out, result["parts"])
    write_json(out / RESULT, result)
    remove_work(out)
    reporter.say(
        f"dedup: {result['kept']:,} of {result['documents']:,} documents kept, {result['removed']:,} removed in "
        f"{result['clusters']:,} clusters" + (f", {len(problems):,} skipped: {out / SKIPPED}" if problems else "")
    )
    return result


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
    reading: Reading,
    bundles: Sequence[Bundle],
    summary: Summary,
    out: Path,
    session: RaySession | None,
    reporter: Reporter,
) -> None:
    """Kept and removed rows of every piece. What was JSON Lines has one schema."""
    pieces = [piece for bundle in bundles for piece in bundle.pieces]
    kinds: dict[str, Kind] = {}
    for piece in pieces:
        if piece.data != piece.source:
            merge_kinds(kinds, orjson.loads(pq.read_schema(piece.data).metadata[KINDS]), reading.id)
    schema: pa.Schema | None = schema_of(kinds, reading.text) if kinds else None
    with reporter.bar("dedup: write", len(bundles)) as bar:
        ids = id_type(pieces, schema, reading.id)
        write = partial(write_bundle, bundles, schema, ids, reading, summary.files, out)
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
        "files": len(paths(found)),
        "parts": len(pieces),
        "skipped": {"count": len(problems), "first": list(problems[:10])},
        "options": {**options.model_dump(mode="json"), "bands": bands, "rows_per_band": rows_per_band, "seed": seed},
        "seconds": seconds,
    }


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("dedup")
