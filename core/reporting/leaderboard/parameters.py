"""How many parameters a model has: told by a file, or by its name, or not known."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

from core.reporting.leaderboard.entries import Parameters

BILLION = 1e9
AGREEING = 0.9  # share of the named sizes that a column has to agree with to be believed
SLACK = 0.05  # relative: 6.7 B is called 7b
_SIZE = re.compile(r"(?<![\d.])(?:(\d+)[bB](\d)|(\d+(?:\.\d+)?)[ _]?([bBmM]))(?![a-z0-9])")
_TIMES = re.compile(r"\d[xX]\d")


def named_size(model: str) -> int | None:
    """'org/llama-7b' -> 7_000_000_000, 'bloom-7b1' -> 7_100_000_000. The first size in the name, without its owner.

    None where there is none, and for mixtures of experts (8x7B), which share weights.
    """
    name = model.rsplit("/", 1)[-1]
    found = None if _TIMES.search(name) else _SIZE.search(name)
    if found is None:
        return None
    whole, tenth, amount, unit = found.groups()
    size = float(f"{whole}.{tenth}") if whole else float(amount) / (1000 if unit in "mM" else 1)
    return round(size * BILLION) or None


def told_parameters(models: Sequence[str], column: Sequence[float | None]) -> list[Parameters]:
    """The sizes of a snapshot's models, from its column of parameters, whose unit is found out, and from their names.

    The report's own column is in percent of the snapshot's largest model, as its author read sizes from names: there
    the name's own size is exact, and the column adds some that no name has. 0 and None are unknown. A column that
    agrees neither with the names nor with a unit tells nothing.
    """
    named = [named_size(model) for model in models]
    unit, percent = _unit(named, column)
    told = []
    for size, value in zip(named, column, strict=True):
        given = round(value * unit) if value and unit else None
        if given and not (percent and size):
            told.append(Parameters(given, "file"))
        else:
            told.append(Parameters(size, "name") if size else Parameters())
    return told


def _unit(named: Sequence[int | None], column: Sequence[float | None]) -> tuple[float | None, bool]:
    """How many parameters the number 1 in the column stands for, None where it cannot be told; whether it is percent.

    Of the largest: which then is 100.
    """
    values = [value for value in column if value]
    if not values:
        return None, False
    percent = abs(max(values) - 100) < 1e-6
    ratios = [size / value for size, value in zip(named, column, strict=True) if size and value]
    if not ratios:
        return (1.0 if max(values) >= 1e6 else None if percent else BILLION), percent
    usual = statistics.median(ratios)
    if sum(abs(ratio / usual - 1) < SLACK for ratio in ratios) < AGREEING * len(ratios):
        return None, False
    for unit in (1.0, 1e6, BILLION):
        if abs(usual / unit - 1) < SLACK:
            return unit, False
    return (usual, True) if percent else (None, False)
