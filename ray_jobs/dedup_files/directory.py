"""The directory that `raycipe dedup` writes: whether it may, and whether it has."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from core.artifacts.atomic import writable
from core.errors import DataError

RESULT = "dedup.json"  # written last
SKIPPED = "skipped.jsonl"
STARTED = "job.json"
WORK = ".work"
LOCK = ".lock"
KINDS = ("kept", "removed")
OURS = {RESULT, SKIPPED, WORK, LOCK, *KINDS}


def finished_result(out: Path, mark: str) -> dict[str, Any] | None:
    """The result that is there, if it is this job's and whole. Changes nothing.

    Raises DataError where the directory holds another's result, or what is none of ours.
    """
    if not out.exists():
        return None
    if not out.is_dir():
        raise DataError(f"--out {out}: is a file, expected a directory or nothing")
    there = {path.name for path in out.iterdir()}
    strange = sorted(there - OURS)
    if not strange and not (out / RESULT).exists() and not (out / WORK / STARTED).exists():
        strange = sorted(there - {LOCK, WORK})
        if _holds_files(out / WORK):
            strange.append(WORK)
    if strange:
        raise DataError(f"--out {out}: holds other files ({strange[0]}), expected an empty or a new directory")
    told = _told(out / RESULT)
    if told is None:
        return None
    if told.get("fingerprint") != mark:
        raise DataError(
            f"--out {out}: holds the result of another dedup (other files, options or version). "
            "Choose another directory, or delete this one."
        )
    return told if _is_whole(out, told) else None


def prepare(out: Path, mark: str, say: Callable[[str], None]) -> dict[str, Any] | None:
    """What `finished_result` gives; without it, leaves only what this job can go on from. Needs the lock."""
    finished = finished_result(out, mark)
    with writable(out):
        if finished is not None:
            remove_work(out)  # a kill may have left it
            return finished
        started = _told(out / WORK / STARTED)
        goes_on = started is not None and started.get("fingerprint") == mark and _told(out / RESULT) is None
        if not goes_on:
            if any((out / name).exists() for name in (RESULT, *KINDS)) or _holds_files(out / WORK):
                say(f"dedup: {out} holds what a run left that was stopped, changed or damaged: it starts anew")
            for name in KINDS:
                shutil.rmtree(out / name, ignore_errors=True)
            (out / SKIPPED).unlink(missing_ok=True)
            remove_work(out)
        (out / RESULT).unlink(missing_ok=True)
    return None


def remove_work(out: Path) -> None:
    """Deletes what is only needed to go on; what tells whose it is goes last."""
    work = out / WORK
    if work.exists():
        for path in work.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != STARTED:
                path.unlink()
        shutil.rmtree(work)


def sizes_of(out: Path, parts: int) -> dict[str, int]:
    """Bytes of all files of each kind. Raises FileNotFoundError where one is missing."""
    return {
        kind: sum((out / kind / f"part-{part:05d}.parquet").stat().st_size for part in range(parts)) for kind in KINDS
    }


def _is_whole(out: Path, told: dict[str, Any]) -> bool:
    try:
        return bool(sizes_of(out, int(told["parts"])) == told["written"])
    except (OSError, KeyError, TypeError, ValueError):
        return False


def _told(path: Path) -> dict[str, Any] | None:
    """What a file of JSON says; None where it is missing or damaged."""
    try:
        told = orjson.loads(path.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None
    return told if isinstance(told, dict) and "fingerprint" in told else None


def _holds_files(work: Path) -> bool:
    """Besides one of its first file, which a kill cut short."""
    return work.exists() and any(not path.name.startswith(f".{STARTED}.") for path in work.iterdir())
