"""A leaderboard over time: ranks, who is new and who is gone, and where files disagree with themselves."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np
import numpy.typing as npt

from core.reporting.leaderboard.entries import Benchmark, Entry, Source, merge

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranked:
    """rank: 1 is best; models of the same average share a rank, and the ranks after it are left out."""

    entry: Entry
    average: Decimal
    rank: int


@dataclass(frozen=True)
class Turnover:
    """Models of a snapshot that the one before did not have, and the other way round.

    renamed: of a model that vanished the new one with exactly its scores, where there is one on both sides.
    """

    date: datetime.date
    stayed: int
    new: Sequence[str]
    vanished: Sequence[str]
    renamed: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Rescored:
    """How the scores of models changed from one snapshot to the next, beyond rounding: points, of those that changed.

    models: that both snapshots have. A model is what it was: where many change, what changed is the measure.
    """

    date: datetime.date
    benchmark: Benchmark
    models: int
    changed: int
    median: float
    lowest: float
    highest: float

    @property
    def measure_changed(self) -> bool:
        """Whether a fifth of the models changed, and not of a few."""
        return self.changed >= max(5, self.models / 5)


@dataclass(frozen=True)
class Leaderboard:
    """All that files tell. entries: by date; benchmarks: those that an average is the mean of."""

    sources: Sequence[Source]
    entries: Sequence[Entry]
    benchmarks: tuple[Benchmark, ...]

    @cached_property
    def dates(self) -> list[datetime.date]:
        """Of the snapshots that have averages; without any, of result files."""
        of = [entry for entry in self.entries if entry.average(self.benchmarks) is not None]
        return sorted({entry.date for entry in of if entry.listed} or {entry.date for entry in of})

    @cached_property
    def rankings(self) -> dict[datetime.date, list[Ranked]]:
        """Each date's models that have all scores, best first."""
        listed = any(entry.listed for entry in self.entries)
        return {
            date: ranked(
                [each for each in self.entries if each.date == date and each.listed == listed], self.benchmarks
            )
            for date in self.dates
        }

    @cached_property
    def measured(self) -> list[Entry]:
        """The newest entry of each model of a result file, where snapshots are there too."""
        listed = any(entry.listed for entry in self.entries)
        return list({entry.model: entry for entry in self.entries if not entry.listed}.values()) if listed else []

    @cached_property
    def latest(self) -> list[Ranked]:
        """The last snapshot with the models of result files put among its own."""
        if not self.dates:
            return []
        last = [each.entry for each in self.rankings[self.dates[-1]]]
        names = {entry.model for entry in self.measured}
        return ranked([entry for entry in last if entry.model not in names] + self.measured, self.benchmarks)

    @cached_property
    def repeated(self) -> list[tuple[Entry, Entry]]:
        """Rows of models that their snapshot has already, each with the one that counts; of one file per date."""
        found: dict[datetime.date, Sequence[tuple[Entry, Entry]]] = {}
        for source in self.sources:
            if source.repeated:
                found.setdefault(source.repeated[0][0].date, source.repeated)
        return [pair for pairs in found.values() for pair in pairs]

    @cached_property
    def disagreeing(self) -> list[tuple[Entry, Decimal]]:
        """Entries whose average, as given, is off by more than rounding, with the recomputed one; each once."""
        found: dict[tuple[datetime.date, str, Decimal], tuple[Entry, Decimal]] = {}
        for source in self.sources:
            for entry in (*source.entries, *(row for row, _ in source.repeated)):
                average = entry.average(tuple(entry.scores)) if len(entry.scores) == len(self.benchmarks) else None
                if entry.given_average is None or average is None:
                    continue
                if abs(average - entry.given_average) > (entry.score_unit + entry.average_unit) / 2:
                    found.setdefault((entry.date, entry.model, entry.given_average), (entry, average))
        return list(found.values())

    @cached_property
    def incomplete(self) -> list[Entry]:
        """Entries without all of the benchmarks."""
        return [entry for entry in self.entries if entry.average(self.benchmarks) is None]

    @cached_property
    def turnovers(self) -> list[Turnover]:
        """From each snapshot to the next."""
        return [self._turnover(before, after) for before, after in zip(self.dates, self.dates[1:], strict=False)]

    @cached_property
    def rescored(self) -> list[Rescored]:
        """From each snapshot to the next, by benchmark."""
        return [
            self._rescored(before, after, benchmark)
            for before, after in zip(self.dates, self.dates[1:], strict=False)
            for benchmark in self.benchmarks
        ]

    def scores(self, date: datetime.date, benchmark: Benchmark | None = None) -> Numbers:
        """A snapshot's scores, best first; None: the averages."""
        of = self.rankings[date]
        found = [each.average if benchmark is None else each.entry.scores[benchmark] for each in of]
        return np.sort(np.array(found, float))[::-1]

    def find(self, model: str, date: datetime.date) -> Ranked | None:
        """A model in a snapshot, by its full name."""
        return next((each for each in self.rankings.get(date, []) if each.entry.model == model), None)

    def _turnover(self, before: datetime.date, after: datetime.date) -> Turnover:
        old = {each.entry.model: each.entry for each in self.rankings[before]}
        now = {each.entry.model: each.entry for each in self.rankings[after]}
        new, vanished = [name for name in now if name not in old], [name for name in old if name not in now]
        arrived, left = _by_scores(now, new), _by_scores(old, vanished)
        renamed = [
            (left[scores][0], arrived[scores][0])
            for scores in left
            if len(left[scores]) == 1 and len(arrived.get(scores, [])) == 1
        ]
        return Turnover(after, len(now) - len(new), new, vanished, renamed)

    def _rescored(self, before: datetime.date, after: datetime.date, benchmark: Benchmark) -> Rescored:
        old = {each.entry.model: each.entry for each in self.rankings[before]}
        pairs = [(old[each.entry.model], each.entry) for each in self.rankings[after] if each.entry.model in old]
        changes = [
            float(now.scores[benchmark] - then.scores[benchmark])
            for then, now in pairs
            if abs(now.scores[benchmark] - then.scores[benchmark]) > (now.score_unit + then.score_unit) / 2
        ]
        low, median, high = np.quantile(changes, [0, 0.5, 1]).tolist() if changes else (0.0, 0.0, 0.0)
        return Rescored(after, benchmark, len(pairs), len(changes), median, low, high)


def build(sources: Sequence[Source]) -> Leaderboard:
    """Merges what files give. Raises DataError naming both places where two of them contradict each other."""
    entries = merge(entry for source in sources for entry in source.entries)
    listed = [entry for entry in entries if entry.listed] or entries
    sets = Counter(frozenset(entry.scores) for entry in listed)
    shared = max(sets, key=lambda names: (sets[names], len(names), sorted(names, key=str)))
    order = dict.fromkeys(benchmark for entry in listed for benchmark in entry.scores)
    return Leaderboard(sources, entries, tuple(benchmark for benchmark in order if benchmark in shared))


def ranked(entries: Sequence[Entry], benchmarks: Sequence[Benchmark]) -> list[Ranked]:
    """Those with all scores, best average first, by name where it is the same."""
    averages = [(average, entry) for entry in entries if (average := entry.average(benchmarks)) is not None]
    averages.sort(key=lambda pair: (-pair[0], pair[1].model.lower()))
    ranks: dict[Decimal, int] = {}
    for number, (average, _) in enumerate(averages, 1):
        ranks.setdefault(average, number)
    return [Ranked(entry, average, ranks[average]) for average, entry in averages]


def same_scores(of: Sequence[Ranked]) -> list[list[Ranked]]:
    """Models whose scores are equal on every benchmark, best first: copies, most likely."""
    groups: dict[tuple[Decimal, ...], list[Ranked]] = {}
    for each in of:
        groups.setdefault(_vector(each.entry), []).append(each)
    return [group for group in groups.values() if len(group) > 1]


def distinct(of: Sequence[Ranked]) -> list[Ranked]:
    """Without the models whose scores are exactly those of a better placed one."""
    first: dict[tuple[Decimal, ...], Ranked] = {}
    for each in of:
        first.setdefault(_vector(each.entry), each)
    return list(first.values())


def _vector(entry: Entry) -> tuple[Decimal, ...]:
    return tuple(score for _, score in sorted(entry.scores.items(), key=lambda item: str(item[0])))


def _by_scores(entries: dict[str, Entry], names: Sequence[str]) -> dict[tuple[Decimal, ...], list[str]]:
    found: dict[tuple[Decimal, ...], list[str]] = {}
    for name in names:
        found.setdefault(_vector(entries[name]), []).append(name)
    return found
