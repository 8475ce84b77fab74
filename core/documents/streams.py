"""The bytes of a file, local or remote, decompressed as they are read."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from core.documents.files import filesystem, is_remote, unreachable

PIECE = 1 << 20
COMPRESSED_PIECE = 1 << 17  # it may grow a thousandfold
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAGIC = {"gz": b"\x1f\x8b", "zst": b"\x28\xb5\x2f\xfd"}


class Unreadable(Exception):
    """A file that cannot be read, or not further. `reason` is its short name, the message the rest."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def compression(path: str) -> str | None:
    """ "gz" or "zst" by the name's suffix, or None."""
    return next((kind for kind in MAGIC if path.lower().endswith(f".{kind}")), None)


@contextlib.contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """The file open for reading, as stored. Raises Unreadable where it is missing, a directory or not permitted."""
    with contextlib.ExitStack() as stack:
        try:
            if is_remote(path):
                files, inner = filesystem(path)
                file = stack.enter_context(files.open(inner, "rb"))
            else:
                file = stack.enter_context(Path(path).open("rb"))
        except FileNotFoundError as error:
            raise Unreadable("missing_file", "no such file") from error
        except IsADirectoryError as error:
            raise Unreadable("not_a_file", "is a directory, expected a file") from error
        except PermissionError as error:
            raise Unreadable("no_permission", "may not be read by this user (permission denied)") from error
        except Exception as error:
            if not is_remote(path):
                raise
            raise unreachable(path, error) from error
        yield file


def pieces(path: str, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The file's bytes in pieces, decompressed by its suffix (.gz, .zst; several frames in a row are one file).

    begin, end: the range of bytes, for a file that is not compressed.
    Raises Unreadable for a file that is missing, truncated or not what its name says.
    """
    kind = compression(path)
    with opened(path) as file:
        if begin:
            file.seek(begin)
        stored = _stored(file, PIECE if kind is None else COMPRESSED_PIECE, None if end is None else end - begin)
        if kind is not None:
            yield from _decompressed(stored, kind)
            return
        for number, piece in enumerate(stored):
            if number == 0 and begin == 0:
                _refuse_hidden_compression(piece)
            yield piece


def whole(path: str) -> bytes:
    """All bytes of the file, decompressed, without a byte order mark. Raises Unreadable."""
    return b"".join(pieces(path)).removeprefix(BYTE_ORDER_MARK)


def lines(path: str, begin: int = 0, end: int | None = None) -> Iterator[bytes]:
    """The file's lines without their newlines, and without a byte order mark. Raises Unreadable.

    Of a file that breaks off, the last line is not given: it may be part of one.
    """
    found = _split(pieces(path, begin, end))
    if begin == 0:
        yield next(found, b"").removeprefix(BYTE_ORDER_MARK)
    yield from found


def _split(data: Iterator[bytes]) -> Iterator[bytes]:
    pending: list[bytes] = []
    for piece in data:
        first, *more = piece.split(b"\n")
        pending.append(first)
        if more:
            yield b"".join(pending)
            yield from more[:-1]
            pending = [more[-1]]
    last = b"".join(pending)
    if last:
        yield last


def _stored(file: BinaryIO, size: int, limit: int | None) -> Iterator[bytes]:
    while limit is None or limit > 0:
        try:
            piece = file.read(size if limit is None else min(size, limit))
        except Exception as error:  # a disk's OSError, or whatever a remote store raises
            raise Unreadable(
                "read_error", f"cannot be read to its end ({str(error) or type(error).__name__})"
            ) from error
        if not piece:
            return
        if limit is not None:
            limit -= len(piece)
        yield piece


def _decompressed(stored: Iterator[bytes], kind: str) -> Iterator[bytes]:
    frame: Any = None  # the decompressor in the middle of a frame
    for piece in stored:
        left = piece
        while left:
            if frame is None:
                frame = _new_frame(kind)
            try:
                data = frame.decompress(left)
            except Exception as error:  # zlib.error or zstandard.ZstdError
                raise Unreadable("broken_compression", f"not valid .{kind} data ({error})") from error
            yield data
            if not frame.eof:
                break
            left, frame = frame.unused_data, None
    if frame is not None:
        raise Unreadable("file_truncated", f"the .{kind} data break off before their end: the file is truncated")


def _new_frame(kind: str) -> Any:
    if kind == "gz":
        return zlib.decompressobj(wbits=31)
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj()


def _refuse_hidden_compression(piece: bytes) -> None:
    for kind, magic in MAGIC.items():
        if piece.startswith(magic):
            raise Unreadable("compressed", f"is compressed, but its name does not end in .{kind}: rename it")
