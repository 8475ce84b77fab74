"""Files that are either whole or not there, whenever the process is killed."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from core.errors import ResourceError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same directory, renamed to `path` when the block ends well.

    The bytes are on the disk before the name is: a crash leaves the old file or the new one.
    Raises ResourceError when the directory cannot be written or the disk is full.
    """
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
        except OSError as error:  # what the block reads may fail too: only a full disk is surely ours
            if error.errno in FULL:
                raise _refusal(path, error) from error
            raise
        with writable(path):
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turns the operating system's refusal to write below `path` into a ResourceError that says what to do."""
    try:
        yield
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: Path, error: OSError) -> ResourceError:
    if error.errno in FULL:
        return ResourceError(
            f"{path}: no space left on the device. Nothing finished is lost: free some space, "
            "or choose another place (--runs-dir, or --out of dedup), and give the same command again."
        )
    return ResourceError(
        f"{path}: cannot be written ({error.strerror or error}). Choose one that can be: --runs-dir, or --out of dedup."
    )


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a small file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically, indented and with sorted keys left as given."""
    write_bytes(path, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
