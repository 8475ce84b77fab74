"""Asynchronous successive halving: who goes on, who has no hope, and what a whole sweep comes to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.tuning.halving import Halving
from core.tuning.trials import Report, Trial

BUDGETS = (1, 4, 16)


def halving(count: int, by_loss: bool = True, higher: bool = True) -> Halving:
    return Halving(BUDGETS, 4, count, by_loss, higher)


def trial(number: int, *losses: float) -> Trial:
    reports = [
        Report(budget, BUDGETS[-1], budget, 1 - loss, None, loss, None, 0, 0.0, 0.0, {})
        for budget, loss in zip(BUDGETS, losses, strict=False)
    ]
    return Trial(number, Path(), {}, [], reports, "finished" if len(reports) == len(BUDGETS) else "running")


def test_nothing_goes_on_before_a_quarter_of_those_there_is_one():
    three = [trial(number, 0.1 * number) for number in range(3)]
    assert halving(12).next(three, (), False) is None
    assert halving(12).next([*three, trial(3, 0.05)], (), False) == (0, 4)
    assert halving(12).next([*three, trial(3, 0.05)], {0}, False) is None  # it is under way


@pytest.mark.parametrize(("by_loss", "higher", "best"), [(True, True, 0), (False, True, 0), (False, False, 3)])
def test_what_is_best_is_a_low_loss_or_a_good_score(by_loss, higher, best):
    trials = [trial(number, 0.1 * number) for number in range(4)]
    assert halving(12, by_loss, higher).next(trials, (), False) == (best, 4)


def test_the_highest_rung_goes_first_and_failed_trials_do_not_count():
    four = [trial(number, 0.1 * number, 0.1 * number) for number in range(4)]
    rest = [trial(number, 0.05) for number in range(4, 8)]
    assert halving(12).next([*four, *rest], (), False) == (0, 16)
    failed = [replace(four[0], status="failed"), *four[1:]]
    assert halving(12).next([*failed, *rest], (), False) == (4, 4)


def test_the_last_ones_there_go_on_however_few_they_are():
    trials = [trial(0, 0.3), trial(1, 0.2)]
    assert halving(2).next(trials, (), True) == (1, 4)
    assert halving(2).next(trials, {0}, True) is None


def test_a_trial_that_too_many_are_before_has_no_hope():
    trials = [trial(number, 0.1 * number) for number in range(6)]
    assert [each.number for each in halving(12).hopeless(trials, ())] == [4, 5]  # one is kept in reserve
    assert [each.number for each in halving(12).hopeless(trials, {4})] == [5]  # on its way to the next rung
    assert [each.number for each in halving(24).hopeless(trials, ())] == []


def test_a_loss_that_is_not_finite_is_the_worst():
    trials = [trial(number, 0.1 * number) for number in range(3)]
    lost = [replace(trial(3, 0.0).reports[0], validation_loss=value) for value in (None, float("nan"))]
    trials += [replace(trial(3 + place), reports=[report]) for place, report in enumerate(lost)]
    assert halving(12).next(trials, (), False) == (0, 4)


@settings(deadline=None)
@given(st.permutations(range(12)), st.integers(1, 4))
def test_a_whole_sweep_ends_with_the_best_and_drops_none_that_would_have_gone_on(order, at_once):
    """Trials of a fixed order of goodness, whatever order they begin in and however many run at once."""
    known: dict[int, Trial] = {}
    left, busy = list(order), dict[int, int]()
    plan, hopeless = halving(12), set[int]()
    spent = 0.0
    while True:
        while len(busy) < at_once:
            going = plan.next(list(known.values()), busy, not left)
            if going is None and left:
                going = left.pop(0), BUDGETS[0]
            if going is None:
                break
            assert going[0] not in hopeless
            busy[going[0]] = going[1]
        if not busy:
            break
        number = next(iter(busy))
        rung = BUDGETS.index(busy.pop(number))
        spent += (BUDGETS[rung] - (BUDGETS[rung - 1] if rung else 0)) / BUDGETS[-1]
        known[number] = trial(number, *[0.01 * number] * (rung + 1))
        hopeless |= {each.number for each in plan.hopeless(list(known.values()), busy)}
    finished = [number for number, each in known.items() if each.status == "finished"]
    assert 0 in finished  # the best
    assert spent <= 12 / 16 + 9 * 3 / 16 + 6 * 12 / 16  # each better than all before it
    assert all(number in hopeless or number in finished or len(known[number].reports) > 0 for number in known)
