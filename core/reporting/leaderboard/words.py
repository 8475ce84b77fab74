"""How a leaderboard's numbers are written."""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

from core.reporting.formats import NBSP, count, short_count
from core.reporting.leaderboard.entries import Benchmark, Parameters
from core.reporting.leaderboard.statistics import Correlation


def score(value: float | Decimal) -> str:
    """77.285 -> '77.29': percent or points, half a hundredth rounded up."""
    if not math.isfinite(value):
        return "–"
    exact = value if isinstance(value, Decimal) else Decimal(repr(round(float(value), 9)))
    return f"{exact.quantize(Decimal('0.01'), ROUND_HALF_UP):.2f}".replace("-", "−")


def points(value: float | Decimal) -> str:
    """'0.20 points'"""
    return f"{score(value)}{NBSP}points"


def signed_points(value: float | Decimal) -> str:
    """'+4.30 points', with a true minus sign"""
    return f"{'' if value < 0 else '+'}{points(value)}"


def coefficient(value: float) -> str:
    """A correlation: '−0.31'"""
    return "–" if math.isnan(value) else f"{value:.2f}".replace("-", "−")


def interval(of: Correlation) -> str:
    """'−0.31 (95 % interval −0.57 to 0.00)'"""
    if math.isnan(of.value):
        return "not known"
    return f"{coefficient(of.value)} (95{NBSP}% interval {coefficient(of.low)} to {coefficient(of.high)})"


def parameters(known: Parameters) -> str:
    """'7 B', '125 M *' where the number was read from the model's name, '–' where it is not known"""
    if known.number is None:
        return "–"
    return f"{short_count(known.number)}{'*' if known.origin == 'name' else ''}"


def models(number: int) -> str:
    """'1,159 models'"""
    return f"{count(number)} model{'' if number == 1 else 's'}"


def heading(benchmark: Benchmark, among: Sequence[Benchmark]) -> str:
    """The name alone where no other benchmark has it, else with the shots."""
    return benchmark.name if sum(each.name == benchmark.name for each in among) == 1 else benchmark.title


def shots(benchmarks: Sequence[Benchmark]) -> str:
    """'ARC 25, HellaSwag 10'; '?' where it is not known"""
    return ", ".join(f"{each.name} {'?' if each.shots is None else each.shots}" for each in benchmarks)


def dated(dates: Sequence[datetime.date]) -> str:
    """'2023-08-25 and 2023-09-04'"""
    return " and ".join(filter(None, [", ".join(map(str, dates[:-1])), *map(str, dates[-1:])]))
