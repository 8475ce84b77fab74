"""Rows of a data file, as a source reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.documents.columns import Columns, single_rows
from core.documents.fields import Fields
from core.documents.reading import read_rows
from core.documents.rows import Lines, Row, line_rows
from core.documents.source import Source


def rows_of(path: Path, needed: set[str]) -> list[Row]:
    """All rows of a file; every one must be readable."""
    source = Source(files=str(path), fields=Fields(text="text"))
    found: list[Any] = []
    for part in read_rows(str(path), source, needed):
        if isinstance(part, Lines):
            found += line_rows(part)
        else:
            found += single_rows(part) if isinstance(part, Columns) else [part]
    assert all(isinstance(row, Row) for row in found)
    return found


def made_rows(*values: dict[str, Any]) -> list[Row]:
    """Rows of a file that is not there."""
    return [Row(number, f"made.jsonl:{number + 1}", value, 1) for number, value in enumerate(values)]
