"""Web archives (WARC, ISO 28500): the HTML pages among their records.

The records are told apart here, so that a file that breaks off is noticed and one broken record costs no other;
fastwarc takes the HTTP response in a record apart.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from core.documents.rows import Problem, Row
from core.documents.streams import Unreadable, pieces

LARGEST = 1 << 28  # bytes of a record; a larger one is no page that anybody reads
LONGEST_LINE = 1 << 16  # bytes of a header's line
MOST_LINES = 1_000  # of a header
HTML = {"text/html", "application/xhtml+xml"}
DESCRIPTIONS = {"warcinfo", "request", "metadata"}  # they describe responses or the archive: not counted


class _Broken(Exception):
    """A record that cannot be read. After it the next line that begins a record is looked for."""


def web_pages(path: str) -> Iterator[Row | Problem]:
    """The HTML pages that were found (status 200), each as the bytes of the column `text` with where it is from.

    A record's number is its place among all records of the file. Whatever else was fetched is a Problem that is
    expected; records that describe others are passed over. Raises Unreadable for a file that breaks off or is none.
    """
    stream: BinaryIO = io.BufferedReader(_Stream(pieces(path)), 1 << 20)
    number = 0
    line = _first_line(stream)
    while line is not None:
        place = f"{path} record {number + 1}"
        try:
            if not line.startswith(b"WARC/"):
                if number == 0:
                    raise Unreadable("not_warc", f"begins with {line[:20]!r}, expected a record: WARC/1.0")
                if b"WARC/".startswith(line):  # without a newline, so at the end of the file
                    raise Unreadable("file_truncated", "the header of a record breaks off: the file is truncated")
                raise _Broken(f"found {line[:20]!r}, expected a record: WARC/1.0")
            header, fields = _header(stream, line)
            block = _block(stream, fields)
            found = _page(number, place, header, block, fields)
        except _Broken as error:
            yield Problem(number, "broken_record", f"{place}: {error}", None)
            line = _first_line(stream, b"WARC/")
        else:
            if found is not None:
                yield found
            line = _first_line(stream)
        number += 1


class _Stream(io.RawIOBase):
    """The pieces of a file as one stream."""

    def __init__(self, found: Iterator[bytes]) -> None:
        self._pieces = found
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _first_line(stream: BinaryIO, begins: bytes = b"") -> bytes | None:
    """The next line that is not blank and begins so; None at the end."""
    while line := stream.readline(LONGEST_LINE):
        if line.strip() and line.startswith(begins):
            return line
    return None


def _header(stream: BinaryIO, first: bytes) -> tuple[bytes, dict[str, str]]:
    """A record's header as it stands, and its fields by their names in small letters."""
    found = [first]
    fields: dict[str, str] = {}
    name = ""
    while True:
        line = stream.readline(LONGEST_LINE)
        if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
            raise Unreadable("file_truncated", "the header of a record breaks off: the file is truncated")
        if not line.strip():
            return b"".join([*found, b"\r\n"]), fields
        found.append(line)
        if len(found) > MOST_LINES or not line.endswith(b"\n"):
            raise _Broken(f"its header has more than {MOST_LINES:,} lines, or one of more than {LONGEST_LINE:,} bytes")
        text = line.decode(errors="replace")
        if text[0] in " \t" and name:  # continues the line before
            fields[name] += f" {text.strip()}"
            continue
        name, colon, value = text.partition(":")
        if not colon:
            raise _Broken(f"its header has the line {text.strip()[:40]!r}, expected a name and a colon")
        name = name.strip().lower()
        fields[name] = value.strip()


def _block(stream: BinaryIO, fields: dict[str, str]) -> bytes | None:
    """What is in a record; None where it is too long."""
    length = fields.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise _Broken(f"Content-Length is {length[:20]!r}, expected a number of bytes")
    left = int(length)
    block = stream.read(left) if left <= LARGEST else None
    if block is not None:
        left -= len(block)
    else:
        while left and (piece := stream.read(min(left, 1 << 20))):
            left -= len(piece)
    if left:
        raise Unreadable("file_truncated", f"a record breaks off {left:,} bytes before its end: the file is truncated")
    return block


def _page(number: int, place: str, header: bytes, block: bytes | None, fields: dict[str, str]) -> Row | Problem | None:
    """The page in a record, or why there is none; None for a record that describes others."""
    from fastwarc.warc import ArchiveIterator

    kind = fields.get("warc-type", "").lower()
    if kind in DESCRIPTIONS:
        return None
    url = fields.get("warc-target-uri", "").strip("<>")

    def no_page(reason: str, message: str) -> Problem:
        return Problem(number, reason, f"{place}: {message} ({url})", None, expected=True)

    if kind != "response":
        return no_page("not_a_response", f"is a record of {kind or 'no type'}, expected a response")
    if block is None:
        return no_page("too_long", f"has {int(fields['content-length']):,} bytes, more than {LARGEST:,}")
    if not fields.get("content-type", "").lower().startswith("application/http"):
        return no_page("not_html", f"holds {fields.get('content-type', 'something')}, expected an HTTP response")
    try:
        record = next(iter(ArchiveIterator(io.BytesIO(header + block + b"\r\n\r\n"), auto_decode="all")), None)
        if record is None or record.http_headers is None:
            raise _Broken("its HTTP header cannot be read")
        status, content_type = record.http_headers.status_code, record.http_content_type
        if status is None:
            raise _Broken("its HTTP header cannot be read")
        if status != 200:
            return no_page("http_status", f"the server answered {status}, expected 200")
        if (content_type or "").lower() not in HTML:
            return no_page("not_html", f"holds {content_type or 'something'}, expected text/html")
        page = record.reader.read()
    except (OSError, ValueError, UnicodeError) as error:
        raise _Broken(f"its HTTP response cannot be read ({error})") from error
    meta = {
        "url": url or None,
        "date": fields.get("warc-date"),
        "record_id": fields.get("warc-record-id"),
        "content_type": content_type,
    }
    return Row(number, place, {"text": page, **meta}, len(page))
