"""Documents written in front of the reader."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from core.documents.ledger import Verdict
from core.documents.table import DOCUMENTS


def texts(*contents: str, source: str = "s") -> pa.Table:
    """Each text as a document of a source."""
    return pa.Table.from_pylist([{"id": "x", "source": source, "text": text} for text in contents], schema=DOCUMENTS)


def chat(*turns: str) -> dict[str, Any]:
    """A dialogue that the user begins."""
    roles = ("user", "assistant")
    return {
        "source": "s",
        "messages": [{"role": roles[turn % 2], "content": content} for turn, content in enumerate(turns)],
    }


def table(*rows: dict[str, Any]) -> pa.Table:
    """Rows with the columns that are not null."""
    return pa.Table.from_pylist(list(rows), schema=DOCUMENTS)


def pairs(verdict: Verdict) -> list[tuple[str | None, str | None]]:
    """(reason, evidence) of each document."""
    assert verdict.reason.type == pa.string()
    assert verdict.evidence.type == pa.string()
    return list(zip(verdict.reason.to_pylist(), verdict.evidence.to_pylist(), strict=True))


def reasons(verdict: Verdict) -> list[str | None]:
    """The reason of each document."""
    return [reason for reason, _ in pairs(verdict)]
