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
            yield temporary
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
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ResourceError(
                f"{path}: no space left on the device. Nothing finished is lost: free some space, "
                "or choose another place with --runs-dir, and give the same command again."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise ResourceError(
                f"{path}: cannot be written ({error.strerror}). Choose a directory that can be, with --runs-dir."
            ) from error
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a small file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically, indented and with sorted keys left as given."""
    write_bytes(path, orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
