"""What a leaderboard is made of: a model's scores at a date, and where each of them was read."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Literal, NamedTuple

from core.errors import DataError

Origin = Literal["name", "file"]


class Benchmark(NamedTuple):
    """shots: examples before each question; None where no file tells."""

    name: str
    shots: int | None

    @property
    def title(self) -> str:
        """'ARC (25-shot)'"""
        return self.name if self.shots is None else f"{self.name} ({self.shots}-shot)"


class Parameters(NamedTuple):
    """How many a model has. origin: "name": read from the model's name, "file": told by a file; None: not known."""

    number: int | None = None
    origin: Origin | None = None


UNKNOWN = Parameters()


@dataclass(frozen=True)
class Entry:
    """A model at a date. scores: in percent, exactly as written; of what is not scored there is no key.

    place: file and line, or file and key. listed: in a snapshot of a leaderboard, not in a result file.
    score_unit, average_unit: what the file rounds to, e.g. 0.1.
    """

    date: datetime.date
    model: str
    scores: Mapping[Benchmark, Decimal]
    place: str
    listed: bool = True
    given_average: Decimal | None = None
    score_unit: Decimal = Decimal(0)
    average_unit: Decimal = Decimal(0)
    parameters: Parameters = UNKNOWN
    url: str | None = None
    flags: tuple[str, ...] = ()

    def average(self, benchmarks: Sequence[Benchmark]) -> Decimal | None:
        """The mean, recomputed; None where a score is missing."""
        if not benchmarks or any(benchmark not in self.scores for benchmark in benchmarks):
            return None
        return sum((self.scores[benchmark] for benchmark in benchmarks), Decimal(0)) / len(benchmarks)


@dataclass(frozen=True)
class Source:
    """What one file gives. repeated: further rows of models that it has already, each with the one that counts.

    notes: what is odd about it, in words, with its place.
    """

    kind: Literal["snapshot", "lm-eval", "run"]
    path: Path
    entries: Sequence[Entry]
    repeated: Sequence[tuple[Entry, Entry]] = ()
    notes: Sequence[str] = ()


def merge(entries: Iterable[Entry]) -> list[Entry]:
    """One entry for each date and model, in the order of dates, then of files.

    A score that several files give is taken from the one that rounds least. Raises DataError naming both places where
    they differ by more than their rounding.
    """
    found: dict[tuple[datetime.date, str], Entry] = {}
    for entry in entries:
        key = (entry.date, entry.model)
        found[key] = _merged(found[key], entry) if key in found else entry
    return sorted(found.values(), key=lambda entry: entry.date)


def _merged(one: Entry, other: Entry) -> Entry:
    fine, coarse = (other, one) if other.score_unit < one.score_unit else (one, other)
    slack = (fine.score_unit + coarse.score_unit) / 2
    for benchmark, score in coarse.scores.items():
        if abs(fine.scores.get(benchmark, score) - score) > slack:
            raise DataError(
                f"{other.place}: {other.model} has {other.scores[benchmark]} in {benchmark.title} on {other.date}, "
                f"but {one.scores[benchmark]} in {one.place}; leave out the file that is wrong"
            )
    parameters = min(one.parameters, other.parameters, key=lambda known: (known.number is None, known.origin != "file"))
    average = fine if fine.given_average is not None else coarse
    return replace(
        fine,
        scores={**coarse.scores, **fine.scores},
        listed=one.listed or other.listed,
        given_average=average.given_average,
        average_unit=average.average_unit,
        parameters=parameters,
        url=one.url or other.url,
        flags=tuple(dict.fromkeys((*one.flags, *other.flags))),
    )
