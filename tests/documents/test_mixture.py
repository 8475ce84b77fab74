from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from core.documents import ranking, repeats
from core.documents.mixture import (
    Amount,
    Drawn,
    Mixture,
    Part,
    check_shares,
    draw,
    draw_mixture,
    keys,
    sample,
    select,
)
from core.errors import DataError

IDS = pa.array([f"s:0:{row}" for row in range(2000)])


def test_count_is_kept_exactly_and_all_where_there_are_fewer() -> None:
    assert [sample(IDS, count, 1).sum() for count in (0, 1, 700, 2000, 9000)] == [0, 1, 700, 2000, 2000]
    assert sample([], 5, 1).shape == (0,)


def test_choice_is_spread_evenly_and_follows_the_seed() -> None:
    chosen = sample(IDS, 1000, 1)
    halves = chosen.reshape(4, 500).sum(axis=1)
    assert halves.min() > 200
    assert (chosen == sample(IDS, 1000, 1)).all()
    assert 300 < (chosen & sample(IDS, 1000, 2)).sum() < 700


def test_keys_are_the_same_on_every_machine() -> None:
    assert keys(["s:0:0", "größe"], 42).tolist() == [16567061109433449888, 17420246033315459584]


@settings(deadline=None)
@given(st.lists(st.text(max_size=6), max_size=30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 2**63 - 1))
def test_smaller_choice_is_part_of_the_larger(ids: list[str], some: int, more: int, seed: int) -> None:
    small, large = sample(ids, min(some, more), seed), sample(ids, max(some, more), seed)
    assert not (small & ~large).any()
    assert large.sum() == min(max(some, more), len(ids))


@settings(deadline=None)
@given(st.permutations(range(40)), st.integers(0, 40))
def test_choice_depends_on_ids_and_not_on_their_order(order: list[int], count: int) -> None:
    ids = [f"d{number}" for number in range(40)]
    straight = {name for name, kept in zip(ids, sample(ids, count, 3), strict=True) if kept}
    shuffled = [ids[place] for place in order]
    assert {name for name, kept in zip(shuffled, sample(shuffled, count, 3), strict=True) if kept} == straight


def test_of_equal_ids_the_earlier_goes_first() -> None:
    assert select(np.array([5, 1, 5, 5], np.uint64), 2).tolist() == [True, True, False, False]


def source(documents: int, tokens: int | None = 10, seed: int = 1, name: str = "s") -> Part:
    """Keys of a source's documents, with so many tokens each, or from 0 to 99."""
    lengths = np.arange(documents) % 100 if tokens is None else np.full(documents, tokens)
    return keys([f"{name}:0:{row}" for row in range(documents)], seed), lengths.astype(np.int64)


def counts(drawn: Drawn) -> list[int]:
    return [int(count) for part in drawn.counts() for count in part]


def test_integers_and_all_mean_what_they_meant_to_sample() -> None:
    part = source(2000)
    chosen = counts(draw([part], 700))
    assert chosen == sample(IDS, 700, 1).astype(int).tolist()
    assert counts(draw([part], "all")) == [1] * 2000
    assert draw([part], 0).documents == 0


def test_fraction_and_token_budget_take_the_documents_with_the_smallest_keys() -> None:
    part = source(1000)
    assert counts(draw([part], Amount(fraction=0.29))) == counts(draw([part], 290))
    drawn = draw([part], Amount(tokens=1234))
    assert (drawn.documents, drawn.tokens) == (124, 1240)  # the last one goes over
    assert counts(drawn) == counts(draw([part], 124))


def test_source_that_is_short_says_so() -> None:
    part = source(10)
    assert draw([part], 20).note == "has 10 documents of the 20 asked for"
    assert draw([part], Amount(tokens=2000)).note == "has 100 tokens of the 2,000 asked for"
    assert draw([part], Amount(tokens=2000, replacement=True)).note is None
    assert draw([], Amount(documents=5, replacement=True)).note == "has 0 documents of the 5 asked for"


AMOUNTS = st.builds(
    lambda measure, count, replacement: Amount.model_validate({measure: count, "replacement": replacement}),
    st.sampled_from(["documents", "tokens"]),
    st.integers(0, 400),
    st.booleans(),
)


@settings(max_examples=50, deadline=None)
@given(AMOUNTS, st.lists(st.integers(0, 60), max_size=3), st.integers(7, 40))
def test_division_into_parts_changes_nothing_and_the_budget_is_reached(
    amount: Amount, cuts: list[int], chunk: int
) -> None:
    names, lengths = source(60, None)
    ends = sorted(cuts)
    parts = [(names[begin:end], lengths[begin:end]) for begin, end in zip([0, *ends], [*ends, len(names)], strict=True)]
    drawn = draw([(names, lengths)], amount)
    once = counts(drawn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "CHUNK", chunk)
        patch.setattr(repeats, "CHUNK", chunk)
        again = draw(parts, amount)
        assert counts(again) == once
    assert [len(part) for part in again.counts()] == [len(part) for part, _ in parts]
    assert (drawn.documents, drawn.tokens) == (sum(once), int(np.dot(once, lengths)))
    if amount.replacement:
        assert drawn.documents == amount.documents or drawn.tokens >= (amount.tokens or 0)
        assert drawn.tokens - (amount.tokens or 0) < 100 or amount.tokens is None
    else:
        assert max(once) <= 1


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 300), st.booleans())
def test_smaller_amount_draws_part_of_the_larger_with_replacement_too(some: int, more: int, replacement: bool) -> None:
    part = source(50)
    small, large = (
        counts(draw([part], Amount(documents=count, replacement=replacement))) for count in sorted((some, more))
    )
    assert all(few <= many for few, many in zip(small, large, strict=True))


def test_draws_with_replacement_fall_on_all_documents_alike() -> None:
    part = source(2000)
    found = np.array(counts(draw([part], Amount(documents=8000, replacement=True))))
    assert found.sum() == 8000
    # as often 0, 1, 2, ... times as a Poisson distribution of mean 4 has it: five standard deviations
    for times in range(10):
        share = np.exp(-4) * 4**times / math.factorial(times)
        assert abs((found == times).sum() - 2000 * share) < 5 * np.sqrt(2000 * share * (1 - share)) + 1
    other = np.array(counts(draw([source(2000, seed=2)], Amount(documents=8000, replacement=True))))
    assert abs(np.corrcoef(found, other)[0, 1]) < 0.12


def test_more_draws_than_can_be_meant_are_refused() -> None:
    with pytest.raises(DataError, match="the source holds 10 documents; to draw 9,000,000,000"):
        draw([source(10)], Amount(documents=9_000_000_000, replacement=True))


def test_shares_are_met_with_the_most_tokens_that_no_source_runs_short_of() -> None:
    parts = {"web": [source(1000, 10, name="web")], "code": [source(100, 30, name="code")]}
    drawn = draw_mixture({"web": Amount(share=0.75), "code": Amount(share=0.25)}, parts)
    assert (drawn["web"].tokens, drawn["code"].documents) == (9000, 100)
    assert [each.note for each in drawn.values()] == [None, None]
    larger = draw_mixture(
        {"web": Amount(share=0.75), "code": Amount(share=0.25, replacement=True)}, parts, mixture_tokens=13_200
    )
    assert (larger["web"].tokens, larger["code"].tokens) == (9900, 3300)
    with_replacement = draw_mixture({"web": Amount(share=0.5), "code": Amount(share=0.5, replacement=True)}, parts)
    assert with_replacement["web"].documents == 1000
    assert 10_000 <= with_replacement["code"].tokens < 10_030


def test_sources_without_a_share_are_what_the_shares_leave() -> None:
    parts = {"web": [source(1000, 10, name="web")], "code": [source(100, 30, name="code")]}
    drawn = draw_mixture({"web": Amount(share=0.75), "code": 50}, parts)
    assert (drawn["web"].tokens, drawn["code"].tokens) == (4500, 1500)


def test_shares_of_a_third_each_are_taken_for_the_whole() -> None:
    third = Amount(share=0.3333333)
    check_shares({"a": third, "b": third, "c": third}, None)


@pytest.mark.parametrize(
    ("mixture", "tokens", "says"),
    [
        ({"a": Amount(share=0.5), "b": Amount(share=0.6)}, None, "the shares add up to 1.1, more than 1"),
        ({"a": Amount(share=0.5)}, None, "add up to 0.5, and no other source makes up"),
        ({"a": Amount(share=1.0), "b": 5}, None, "leaves nothing for b"),
        ({"a": 5}, 100, "mixture_tokens goes with shares"),
        ({"a": Amount(share=1.0, replacement=True)}, None, "give mixture_tokens"),
    ],
)
def test_shares_that_cannot_be_met_are_refused(mixture: dict[str, Any], tokens: int | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_shares(mixture, tokens)


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({}, "found none"),
        ({"tokens": 5, "share": 0.5}, "found tokens and share"),
        ({"fraction": 1.5}, "needs replacement: true"),
        ({"share": 1.5}, "less than or equal to 1"),
        ({"documents": -1}, "greater than or equal to 0"),
    ],
)
def test_amount_is_exactly_one_measure(declared: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Amount.model_validate(declared)


def test_every_way_to_write_an_amount_is_valid() -> None:
    declared = {"a": 5, "b": "all", "c": {"documents": 5}, "d": {"fraction": 2, "replacement": True}, "e": {"share": 1}}
    mixture = TypeAdapter(Mixture).validate_python(declared, strict=True)
    assert mixture["c"] == Amount(documents=5)
    assert mixture["b"] == "all"
