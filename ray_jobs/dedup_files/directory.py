"""The directory that `raycipe dedup` writes: whether it may, and whether it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson

from core.errors import DataError

RESULT = "dedup.json"  # written last
SKIPPED = "skipped.jsonl"
STARTED = "job.json"
WORK = ".work"
OURS = {RESULT, SKIPPED, WORK, "kept", "removed", ".lock"}


def finished_result(out: Path, mark: str) -> dict[str, Any] | None:
    """The result that is there, if it is this job's and whole. Raises DataError where the directory is another's."""
    if not out.exists():
        return None
    if not out.is_dir():
        raise DataError(f"--out {out}: is a file, expected a directory or nothing")
    strange = sorted(path.name for path in out.iterdir() if path.name not in OURS)
    begun, result = out / WORK / STARTED, out / RESULT
    known = result if result.exists() else begun
    if strange or (not known.exists() and any(path.name != ".lock" for path in out.iterdir())):
        named = strange[0] if strange else next(path.name for path in out.iterdir())
        raise DataError(f"--out {out}: holds other files ({named}), expected an empty or a new directory")
    if not known.exists():
        return None
    told: dict[str, Any] = orjson.loads(known.read_bytes())
    if told.get("fingerprint") != mark:
        raise DataError(
            f"--out {out}: holds the result of another dedup (other files, options or version). "
            "Choose another directory, or delete this one."
        )
    parts = [
        out / kind / f"part-{part:05d}.parquet" for kind in ("kept", "removed") for part in range(told.get("parts", 0))
    ]
    if known == result and not (out / WORK).exists() and all(path.exists() for path in parts):
        return told
    result.unlink(missing_ok=True)
    return None
