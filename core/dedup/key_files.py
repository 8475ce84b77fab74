"""Arrays in npz files, written whole or not at all, and read without loading what is not needed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.artifacts.atomic import atomic_path

LOCAL_HEADER = 30  # bytes of a zip member's header before its name (APPNOTE.TXT, section 4.3.7)


def save_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """Writes the arrays under their names, not compressed."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def mapped(path: Path, name: str) -> NDArray[Any]:
    """One array of an npz file, mapped into memory, read-only; KeyError where the file has none of that name.

    Its bytes may be unaligned: take what a compiled function gets by an index, which copies.
    """
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        member = archive.getinfo(f"{name}.npy")
        assert member.compress_type == zipfile.ZIP_STORED
        file.seek(member.header_offset)
        header = file.read(LOCAL_HEADER)
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        file.seek(lengths, 1)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(file)
        if 0 in shape:
            return np.empty(shape, dtype)
        return np.asarray(np.memmap(file, dtype, "r", file.tell(), shape, "F" if fortran else "C"))
