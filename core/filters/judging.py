"""How a filter comes to its verdict: rules asked in order, the first that is broken gives the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from core.documents.ledger import Verdict
from core.documents.table import content
from core.options import Options

Filled = Annotated[str, Field(min_length=1)]  # a phrase: an empty one would be found in every text


class Filter(Options):
    """What every filter can be asked."""

    sources: list[str] | None = Field(
        None, min_length=1, description="Names of the sources that it judges; without it, all."
    )


@dataclass(frozen=True)
class Rule:
    """One rule's answer, an entry per document.

    reason: why a document that breaks it is dropped.
    broken: boolean, not null.
    evidence: string, the value found.
    """

    reason: str
    broken: pa.Array
    evidence: pa.Array


Rules = Callable[[pa.Table], Iterator[Rule]]


def verdict(documents: pa.Table, options: Filter, rules: Rules) -> Verdict:
    """Drops the documents that break a rule, for the first they break. Other sources are not looked at."""

    return judge(documents, options, lambda chosen: by_rules(chosen, rules))


def by_rules(documents: pa.Table, rules: Rules) -> Verdict:
    """Drops the documents that break a rule, for the first they break."""
    reason = evidence = pa.nulls(documents.num_rows, pa.string())
    for rule in rules(documents):
        newly = pc.and_(rule.broken, pc.is_null(reason))
        reason = pc.if_else(newly, rule.reason, reason)
        evidence = pc.if_else(newly, rule.evidence.cast(pa.string()), evidence)
    return Verdict(reason, evidence)


def judge(documents: pa.Table, options: Filter, judged: Callable[[pa.Table], Verdict]) -> Verdict:
    """Asks for a verdict on the documents of the sources named, and makes it one on all: the others are kept."""
    chosen = _judged(documents, options)
    rows = np.flatnonzero(chosen)
    if len(rows) == 0:
        nothing = pa.nulls(documents.num_rows, pa.string())
        return Verdict(nothing, nothing)
    if len(rows) == documents.num_rows:
        return judged(documents)
    of_chosen = judged(documents.filter(pa.array(chosen)))
    place = pa.array(np.cumsum(chosen) - 1, mask=~chosen)
    labels = of_chosen.labels
    spans, turns = (_of_rows(table, rows) for table in (of_chosen.spans, of_chosen.turns))
    return Verdict(
        of_chosen.reason.take(place),
        of_chosen.evidence.take(place),
        spans,
        None if labels is None else labels.take(place),
        turns,
    )


def _of_rows(table: pa.Table | None, rows: NDArray[np.int64]) -> pa.Table | None:
    """Spans or turns of some rows as those of the rows' own numbers."""
    if table is None:
        return None
    return table.set_column(0, table.schema.field("row"), pa.array(rows[table["row"].to_numpy()], pa.int64()))


def first_broken(
    rule: NDArray[np.int64], value: NDArray[np.float64], reasons: Sequence[str], units: Sequence[str]
) -> Verdict:
    """The verdict of a kernel that gives for each document the first rule that is broken, or -1, and its value."""
    index = pa.array(rule, mask=rule < 0)
    found = pc.round(pa.array(value, mask=rule < 0), 3).cast(pa.string())
    evidence = pc.binary_join_element_wise(found, pa.array(units, pa.string()).take(index), " ")
    return Verdict(pa.array(reasons, pa.string()).take(index), evidence)


def text_rules(rules: Callable[[pa.LargeStringArray], Iterator[Rule]]) -> Rules:
    """Rules that look at all text of a document, whatever its form."""
    return lambda documents: rules(content(documents))


def below(reason: str, value: pa.Array, limit: float, unit: str) -> Rule:
    """Broken where a value is less than its limit."""
    return Rule(reason, pc.less(value, limit), _measured(value, unit))


def above(reason: str, value: pa.Array, limit: float, unit: str) -> Rule:
    """Broken where a value is more than its limit."""
    return Rule(reason, pc.greater(value, limit), _measured(value, unit))


def _judged(documents: pa.Table, options: Filter) -> NDArray[np.bool_]:
    if options.sources is None:
        return np.ones(documents.num_rows, bool)
    judged = pc.is_in(documents["source"], value_set=pa.array(options.sources, pa.string()))
    return np.asarray(judged.to_numpy(), bool)


def _measured(value: pa.Array, unit: str) -> pa.Array:
    if pa.types.is_floating(value.type):
        value = pc.round(value, 3)
    return pc.binary_join_element_wise(value.cast(pa.string()), unit, " ")
