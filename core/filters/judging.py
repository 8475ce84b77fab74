"""How a filter comes to its verdict: rules asked in order, the first that is broken gives the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from core.documents.ledger import Verdict
from core.documents.table import content
from core.options import Options


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
    judged = _judged(documents, options)
    chosen = documents.filter(judged)
    reason = evidence = pa.nulls(chosen.num_rows, pa.string())
    for rule in rules(chosen) if chosen.num_rows else ():
        newly = pc.and_(rule.broken, pc.is_null(reason))
        reason = pc.if_else(newly, rule.reason, reason)
        evidence = pc.if_else(newly, rule.evidence.cast(pa.string()), evidence)
    place = pc.if_else(judged, pc.subtract(pc.cumulative_sum(judged.cast(pa.int64())), 1), None)
    return Verdict(reason.take(place), evidence.take(place))


def text_rules(rules: Callable[[pa.LargeStringArray], Iterator[Rule]]) -> Rules:
    """Rules that look at all text of a document, whatever its form."""
    return lambda documents: rules(content(documents))


def below(reason: str, value: pa.Array, limit: float, unit: str) -> Rule:
    """Broken where a value is less than its limit."""
    return Rule(reason, pc.less(value, limit), _measured(value, unit))


def above(reason: str, value: pa.Array, limit: float, unit: str) -> Rule:
    """Broken where a value is more than its limit."""
    return Rule(reason, pc.greater(value, limit), _measured(value, unit))


def _judged(documents: pa.Table, options: Filter) -> pa.Array:
    if options.sources is None:
        return pa.repeat(pa.scalar(True), documents.num_rows)
    judged = pc.is_in(documents["source"], value_set=pa.array(options.sources, pa.string()))
    return judged.combine_chunks()


def _measured(value: pa.Array, unit: str) -> pa.Array:
    if pa.types.is_floating(value.type):
        value = pc.round(value, 3)
    return pc.binary_join_element_wise(value.cast(pa.string()), unit, " ")
