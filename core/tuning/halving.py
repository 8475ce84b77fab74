"""Which trials of a sweep go on at a rung, and which have no more hope: asynchronous successive halving."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from core.tuning.trials import Report, Trial

RESERVE = 1  # trials of a rung that are kept beside those that may go on, should one of these fail


@dataclass(frozen=True)
class Halving:
    """ASHA (Li et al. 2020, algorithm 2): a trial halts at each rung, until it is among the best 1/factor there.

    Ray Tune's own decides when a trial comes to a rung, by those that came before it, so that early ones all go on.

    budgets: of the rungs, the whole training last; count: of trials; by_loss: trials are compared by validation loss
    before their end, else by the score.
    """

    budgets: tuple[int, ...]
    factor: int
    count: int
    by_loss: bool
    higher_is_better: bool

    def next(self, trials: Sequence[Trial], busy: Collection[int], all_begun: bool) -> tuple[int, int] | None:
        """The number of a trial that goes on, and the budget that it goes on to; None where none does.

        The highest rung first. busy: numbers of trials under way. all_begun: whether none is left to begin; once
        nothing is under way either, one of each rung goes on however few came to it.
        """
        last = all_begun and not busy
        for rung in reversed(range(len(self.budgets) - 1)):
            there = self._there(trials, rung)
            most = len(there) // self.factor
            if last:
                most = max(1, most)
            for trial in there[:most]:
                if trial.number not in busy and trial.status == "running" and self._reached(trial) == rung:
                    return trial.number, self.budgets[rung + 1]
        return None

    def hopeless(self, trials: Sequence[Trial], busy: Collection[int]) -> list[Trial]:
        """Halted trials that will not be among the best of their rung, if no more than one of those is lost.

        busy: numbers of trials under way, which have left the rung that they are known to be at.
        """
        most = max(1, self.count // self.factor) + RESERVE
        return [
            trial
            for rung in range(len(self.budgets) - 1)
            for trial in self._there(trials, rung)[most:]
            if trial.number not in busy and trial.status == "running" and self._reached(trial) == rung
        ]

    def _there(self, trials: Sequence[Trial], rung: int) -> list[Trial]:
        """Trials that have come to a rung, the best first."""
        there = [trial for trial in trials if trial.status != "failed" and self._reached(trial) >= rung]
        return sorted(there, key=lambda trial: (self._cost(trial.reports[rung]), trial.number))

    def _reached(self, trial: Trial) -> int:
        """The highest rung that a trial has come to; -1: none."""
        return len(trial.reports) - 1

    def _cost(self, report: Report) -> float:
        figure = report.validation_loss if self.by_loss else report.score
        if figure is None or math.isnan(figure):  # as JSON has what is not finite
            return math.inf
        return -figure if self.higher_is_better and not self.by_loss else figure
