"""Ranks, averages, and what changes from one snapshot to the next."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.reporting.leaderboard.board import Leaderboard, build, distinct, ranked, same_scores
from core.reporting.leaderboard.entries import Entry
from core.reporting.leaderboard.files import read_source
from core.reporting.leaderboard.snapshots import BENCHMARKS
from tests.reporting.made_leaderboard import row, write_snapshot

DATE = datetime.date(2023, 5, 23)
SCORES = st.lists(st.decimals(0, 100, places=2), min_size=4, max_size=4)


def entry(model: str, *scores: Decimal | int) -> Entry:
    return Entry(DATE, model, dict(zip(BENCHMARKS, map(Decimal, scores), strict=True)), f"x.csv:{model}")


@pytest.fixture
def board(tmp_path) -> Leaderboard:
    """Three snapshots: c is renamed to d, e vanishes, f comes; then MMLU is measured anew."""
    first = [row("a", 60, 80, 50, 50), row("b", 50, 70, 40, 40), row("c", 40, 60, 31, 42), row("e", 30, 50, 26, 45)]
    second = [row("a", 60, 80, 50, 50), row("b", 50, 70, 40, 40), row("d", 40, 60, 31, 42), row("f", 20, 30, 25, 30)]
    third = [[*each[:4], str(float(each[4]) + 5), *each[5:]] for each in second]
    more = [row(f"m{n}", 30, 30, 25 + n, 40) for n in range(5)]
    again = [row(f"m{n}", 30, 30, 28 + n, 40) for n in range(5)]
    paths = [
        write_snapshot(tmp_path, "2023-05-23", first),
        write_snapshot(tmp_path, "2023-05-30", second + more),
        write_snapshot(tmp_path, "2023-06-06", [*third, *again]),
    ]
    return build([read_source(path) for path in paths])


@given(st.lists(SCORES, min_size=1, max_size=30))
def test_a_rank_is_one_more_than_the_number_of_better_models(scores):
    of = ranked([entry(f"m{n}", *each) for n, each in enumerate(scores)], BENCHMARKS)
    for each in of:
        assert each.rank == 1 + sum(other.average > each.average for other in of)
        assert each.average == sum(each.entry.scores.values()) / 4


def test_models_of_the_same_average_share_their_rank():
    of = ranked(
        [entry("d", 1, 1, 1, 1), entry("a", 3, 3, 3, 3), entry("c", 2, 4, 2, 4), entry("b", 9, 9, 9, 9)], BENCHMARKS
    )
    assert [(each.entry.model, each.rank) for each in of] == [("b", 1), ("a", 2), ("c", 2), ("d", 4)]


def test_averages_are_exact_where_binary_numbers_are_not():
    one, other = entry("a", *map(Decimal, ("0.1", "0.2", "0.3", "0.6"))), entry("b", *map(Decimal, ("0.3",) * 4))
    assert [each.rank for each in ranked([one, other], BENCHMARKS)] == [1, 1]


def test_models_with_the_same_scores_are_found_and_counted_once():
    of = ranked([entry("a", 3, 3, 3, 3), entry("copy", 3, 3, 3, 3), entry("b", 4, 2, 3, 3)], BENCHMARKS)
    assert [[each.entry.model for each in group] for group in same_scores(of)] == [["a", "copy"]]
    assert [each.entry.model for each in distinct(of)] == ["a", "b"]


def test_who_came_who_went_and_who_has_a_new_name(board):
    first, second = board.turnovers
    assert (first.stayed, first.vanished, first.renamed) == (2, ["c", "e"], [("c", "d")])
    assert set(first.new) == {"d", "f", *(f"m{n}" for n in range(5))}
    assert (second.stayed, second.new, second.vanished) == (9, [], [])


def test_a_measure_that_changes_is_told_from_models_that_do(board):
    changed = [each for each in board.rescored if each.measure_changed]
    assert [(str(each.date), each.benchmark.name, each.models, each.changed) for each in changed] == [
        ("2023-06-06", "MMLU", 9, 9)
    ]
    assert (changed[0].lowest, changed[0].median, changed[0].highest) == (3, 3, 5)


@pytest.mark.parametrize(("given", "listed"), [("50.04", []), ("50.1", []), ("50.2", ["a"]), ("49.8", ["a"])])
def test_an_average_beyond_rounding_is_listed(tmp_path, given, listed):
    rows = [row("a", 50.1, 50.1, 50, 50, average=given), row("b", 40, 40, 40, 40, average="40.0")]
    board = build([read_source(write_snapshot(tmp_path, "2023-05-23", rows))])
    assert [entry.model for entry, _ in board.disagreeing] == listed


def test_a_model_without_all_scores_has_no_rank(tmp_path):
    rows = [row("a", 50, 50, 50, 50), ["b", "60", "60", "60", "60", "", "", ""]]
    board = build([read_source(write_snapshot(tmp_path, "2023-05-23", rows))])
    assert [each.entry.model for each in board.latest] == ["a"]
    assert [each.model for each in board.incomplete] == ["b"]


def test_the_reports_snapshots_hold_five_averages_that_are_wrong(report_board):
    found = {
        (str(entry.date), entry.model): (entry.given_average, average) for entry, average in report_board.disagreeing
    }
    assert found["2023-05-23", "stabilityai/stablelm-base-alpha-3b"] == (Decimal("16.6"), Decimal("14.475"))
    assert len(found) == 5
