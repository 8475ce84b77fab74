"""JSON lines that outlive a kill: what costs money or hours is on the disk before the next is asked for."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import orjson

from core.artifacts.atomic import writable
from core.errors import DataError

Row = dict[str, Any]


class KeptLines:
    """Rows by their key, which says all that they hang on: a row of other settings has another, and stays beside it.

    A last line that a kill cut off is taken out. Raises DataError, with its number, for any other that is no row.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._rows: dict[str, Row] = {}
        with writable(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes() if path.exists() else b""
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                os.truncate(path, len(whole))
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                row = orjson.loads(line)
                self._rows[row["key"]] = row
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise DataError(f"{path}:{number}: not a line that was kept here ({error!r}); take it out") from error

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> Row:
        return self._rows[key]

    def keep(self, *rows: Row) -> None:
        """Appends rows, each with its `key`; they are on the disk when this returns. For any thread."""
        data = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        with self._lock, writable(self._path):
            with self._path.open("ab") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            self._rows |= {row["key"]: row for row in rows}
