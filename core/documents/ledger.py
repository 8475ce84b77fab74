"""What a step decides about each document, and the account of every document that left."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Verdict:
    """A step's decision on a table of documents: one entry per row.

    reason: string, why the row is dropped (a short snake_case name); null where it is kept.
    evidence: string, what shows it (the value found, the phrase, the kept partner's id); null where there is none.
    """

    reason: pa.Array
    evidence: pa.Array
