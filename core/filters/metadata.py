"""Keeps or drops documents by a value that is kept beside them (`fields.meta`).

As Birbal takes rows of MathInstruct by their `source`
(https://github.com/Upaya07/NeurIPS-llm-efficiency-challenge, data_prep/prepare_math_reasoning_dataset.py), and of
Open-Platypus those that no model wrote, which its `data_source` tells.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, Literal

import orjson
import pyarrow as pa
from pydantic import Field, model_validator

from core.documents.ledger import Verdict
from core.filters.judging import Filled, Filter, judge

Value = Filled | bool | int | float


class Metadata(Filter):
    """Which documents are kept by a value beside them."""

    key: Filled = Field(description="Key of the value, one of the names in fields.meta.")
    allow: list[Value] | None = Field(
        None, min_length=1, description="Values of documents that are kept; a * in a text stands for anything."
    )
    deny: list[Value] = Field(
        [], description="Values of documents that are dropped, whether allowed or not; a * in a text as above."
    )
    missing: Literal["drop", "keep"] = Field(
        "drop", description="What becomes of a document without the key, or with null there."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Metadata:
        if self.allow is None and not self.deny:
            raise ValueError("give allow (the values that are kept), deny (those that are dropped), or both")
        return self


def metadata(documents: pa.Table, options: Metadata) -> Verdict:
    """Judges a table of DOCUMENTS by the JSON object in `meta`.

    Reasons: metadata_missing, metadata_denied, metadata_not_allowed; evidence: the key and the value. Of a value that
    is a list, one item that is allowed, or denied, is enough. A value that is no text is compared as JSON has it.
    """
    allowed, denied = _pattern(options.allow or []), _pattern(options.deny)

    @cache
    def judged(found: tuple[str, ...] | None) -> tuple[str | None, str | None]:
        if found is None:
            return ("metadata_missing", options.key) if options.missing == "drop" else (None, None)
        evidence = f"{options.key}: {', '.join(found)}"
        if any(map(denied.fullmatch, found)):
            return "metadata_denied", evidence
        if options.allow is not None and not any(map(allowed.fullmatch, found)):
            return "metadata_not_allowed", evidence
        return None, None

    def verdict(chosen: pa.Table) -> Verdict:
        pairs = [judged(_found(meta, options.key)) for meta in chosen["meta"].to_pylist()]
        reason, evidence = (pa.array([pair[place] for pair in pairs], pa.string()) for place in (0, 1))
        return Verdict(reason, evidence)

    return judge(documents, options, verdict)


def _found(meta: str | None, key: str) -> tuple[str, ...] | None:
    """The value under the key as text, or each item of a list; None where there is none."""
    value = orjson.loads(meta).get(key) if meta else None
    if value is None:
        return None
    return tuple(map(_text, value)) if isinstance(value, list) else (_text(value),)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _pattern(values: list[Value]) -> re.Pattern[str]:
    """What matches any of the values as a whole, and nothing where there are none."""
    texts = [re.escape(_text(value)).replace(r"\*", ".*") for value in values]
    return re.compile("|".join(f"(?:{text})" for text in texts) or r"(?!)", re.DOTALL)
