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
TOLD_FULL = tuple(f"(os error {number})" for number in FULL)  # by libraries in Rust, with errors of their own


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
        except Exception as error:  # what the block reads may fail too: only a full disk is surely ours
            if _is_full(error):
                raise _no_space(path) from error
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
    """Turns the refusal to write below `path`, by the operating system or a full disk, into a ResourceError that says
    what to do."""
    try:
        yield
    except Exception as error:
        if _is_full(error):
            raise _no_space(path) from error
        if isinstance(error, OSError):
            told = error.strerror or error
            raise ResourceError(
                f"{path}: cannot be written ({told}). Choose one that can be: --runs-dir, or --out."
            ) from error
        raise


def _is_full(error: Exception) -> bool:
    """Whether an error tells of a full disk, an OSError or one of safetensors or tokenizers."""
    return error.errno in FULL if isinstance(error, OSError) else str(error).endswith(TOLD_FULL)


def _no_space(path: Path) -> ResourceError:
    return ResourceError(
        f"{path}: no space left on the device. Nothing finished is lost: free some space, "
        "or choose another place (--runs-dir, or --out), and give the same command again."
    )


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a small file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically, indented and with sorted keys left as given."""
    write_bytes(path, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
