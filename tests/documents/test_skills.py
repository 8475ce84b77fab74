from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import ValidationError

from core.documents.skills import HELD_OUT, HELD_OUT_PER_SKILL, Planted, Skills, skills_documents
from core.documents.table import DOCUMENTS, content

KINDS = ["exact_duplicate", "near_duplicate", "refusal", "too_short", "leak"]


@pytest.fixture(scope="module")
def train() -> pa.Table:
    return skills_documents(Skills(), 42, "skills", "train")


@pytest.fixture(scope="module")
def held_out() -> pa.Table:
    return skills_documents(Skills(), 42, "skills", "heldout")


def meta(documents: pa.Table) -> list[dict[str, Any]]:
    return [json.loads(text) for text in documents["meta"].to_pylist()]


def rows_of(documents: pa.Table, kind: str | None) -> list[int]:
    return [row for row, about in enumerate(meta(documents)) if about["planted"] == kind]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def grams(text: str) -> frozenset[tuple[str, ...]]:
    """Word 5-grams; fewer words count as one."""
    found = words(text)
    return frozenset(tuple(found[i : i + 5]) for i in range(max(1, len(found) - 4)))


def jaccard(one: frozenset[Any], other: frozenset[Any]) -> float:
    return len(one & other) / len(one | other)


def largest_jaccard(texts: Iterable[str]) -> float:
    """Of all pairs that share a 5-gram, so of all pairs."""
    sets = [grams(text) for text in texts]
    holders = defaultdict(list)
    largest = 0.0
    for row, one in enumerate(sets):
        shared = Counter(other for gram in one for other in holders[gram])
        for other, count in shared.items():
            largest = max(largest, count / (len(one) + len(sets[other]) - count))
        for gram in one:
            holders[gram].append(row)
    return largest


def digest(documents: pa.Table) -> str:
    return hashlib.sha256(json.dumps(documents.to_pylist()).encode()).hexdigest()[:16]


def test_a_seed_gives_the_same_rows_on_every_platform(train, held_out):
    assert train.schema == DOCUMENTS
    assert (digest(train), digest(held_out)) == ("60e1687b6cf30d88", "e299db9cc5da8233")
    assert digest(skills_documents(Skills(), 43, "skills", "train")) != digest(train)


def test_the_held_out_questions_depend_on_the_seed_alone(held_out):
    others = skills_documents(Skills(rows=500, dialogues=1), 42, "skills", "heldout")
    assert others.equals(held_out)


@pytest.mark.parametrize("rows", [100, 1237, 12_000])
def test_the_set_has_as_many_rows_of_each_kind_as_it_was_asked_for(rows):
    shares = {kind: 0.01 * place for place, kind in enumerate(reversed(KINDS))}
    options = Skills(rows=rows, planted=Planted(**shares))
    made = skills_documents(options, 7, "skills", "train")
    found = Counter(about["planted"] or "ordinary" for about in meta(made))
    assert made.num_rows == rows
    assert found == {kind: count for kind, count in options.counts.items() if count}


def test_rows_without_a_fresh_question_become_dialogues():
    none_planted = Planted(**dict.fromkeys(KINDS, 0))
    made = skills_documents(Skills(rows=9000, dialogues=0.1, planted=none_planted), 1, "skills", "train")
    assert Counter(about["skill"] for about in meta(made))["dialogue"] > 4000
    assert len(set(content(made).to_pylist())) == 9000


def test_ids_are_those_of_rows_and_planted_rows_name_what_they_copy_or_leak(train, held_out):
    ids, messages = train["id"].to_pylist(), train["messages"].to_pylist()
    assert ids == [f"skills:0:{row}" for row in range(train.num_rows)]
    row_of = {name: row for row, name in enumerate(ids)}
    asked = {name: about["question"] for name, about in zip(held_out["id"].to_pylist(), meta(held_out), strict=True)}
    about = meta(train)
    for row in rows_of(train, "exact_duplicate") + rows_of(train, "near_duplicate"):
        assert row_of[about[row]["of"]] < row
        assert about[row_of[about[row]["of"]]]["planted"] is None
    for row in rows_of(train, "exact_duplicate"):
        assert messages[row] == messages[row_of[about[row]["of"]]]
    for row in rows_of(train, "leak"):
        assert asked[about[row]["of"]] in {message["content"] for message in messages[row]}


def test_planted_rows_are_spread_through_the_set(train):
    for kind in KINDS:
        places = rows_of(train, kind)
        assert min(places) < 0.2 * train.num_rows
        assert max(places) > 0.8 * train.num_rows


@pytest.mark.parametrize("seed", range(5))
def test_near_duplicates_share_more_than_four_fifths_of_their_word_5_grams_with_the_original(seed):
    options = Skills(rows=2000, planted=Planted(near_duplicate=0.2))
    made = skills_documents(options, seed, "skills", "train")
    texts, about = content(made).to_pylist(), meta(made)
    row_of = {name: row for row, name in enumerate(made["id"].to_pylist())}
    for row in rows_of(made, "near_duplicate"):
        original = texts[row_of[about[row]["of"]]]
        assert texts[row] != original
        assert 0.8 < jaccard(grams(texts[row]), grams(original)) < 1


def test_other_rows_are_no_near_duplicates_of_each_other(train):
    texts = content(train).to_pylist()
    ordinary = [texts[row] for row in rows_of(train, None)]
    others = [texts[row] for kind in ("refusal", "too_short") for row in rows_of(train, kind)]
    assert len({" ".join(words(text)) for text in ordinary + others}) == len(ordinary) + len(others)
    assert largest_jaccard(ordinary + others) < 0.7


def test_no_ordinary_row_holds_a_held_out_question(train, held_out):
    asked = {tuple(words(about["question"])) for about in meta(held_out)}
    lengths = {len(question) for question in asked}
    assert len(asked) == HELD_OUT
    assert lengths <= {8, 9}  # so decontamination looks for a question as a whole

    def holds_one(text: str) -> bool:
        found = words(text)
        return any(tuple(found[i : i + n]) in asked for n in lengths for i in range(len(found) - n + 1))

    texts = content(train).to_pylist()
    assert not any(holds_one(texts[row]) for row in rows_of(train, None))
    assert all(holds_one(texts[row]) for row in rows_of(train, "leak"))


def test_only_too_short_rows_are_short(train):
    lengths = [len(words(text)) for text in content(train).to_pylist()]
    assert max(lengths[row] for row in rows_of(train, "too_short")) <= 4
    assert min(lengths[row] for row in rows_of(train, None)) >= 9


def test_held_out_questions_offer_different_choices_one_of_them_right(held_out):
    for exam, messages in zip(meta(held_out), held_out["messages"].to_pylist(), strict=True):
        assert [message["content"] for message in messages] == [exam["question"], exam["answer"]]
        assert exam["choices"][exam["gold"]] == exam["answer"]
        assert len(set(exam["choices"])) == len(exam["choices"]) == (2 if exam["skill"] == "comparison" else 4)
    assert set(Counter(exam["skill"] for exam in meta(held_out)).values()) == {HELD_OUT_PER_SKILL}


def test_a_held_out_fact_is_taught_in_other_words(train, held_out):
    taught = defaultdict(set)
    for row in rows_of(train, None):
        turns = [message["content"] for message in train["messages"][row].as_py()]
        for question, answer in zip(turns[::2], turns[1::2], strict=True):
            taught[answer].add(question)
    for exam in meta(held_out):
        assert taught[exam["answer"]]
        assert exam["question"] not in taught[exam["answer"]]


def test_curation_drops_every_planted_row_and_no_other(train, held_out):
    from core.dedup.decontaminate import Decontaminate, EvaluationIndex, contamination
    from core.dedup.exact import ExactDedup, content_keys, first_occurrences
    from core.dedup.minhash import MinhashDedup, find_near_duplicates
    from core.documents.source import Source
    from core.filters.length import Length, length
    from core.filters.refusals import Refusals, refusals

    def step(documents: pa.Table, kind: str, dropped: list[bool]) -> pa.Table:
        assert [row for row, drop in enumerate(dropped) if drop] == rows_of(documents, kind)
        return documents.filter(pa.array([not drop for drop in dropped])).combine_chunks()

    left = step(train, "too_short", pc.is_valid(length(train, Length(min_words=6)).reason).to_pylist())
    left = step(left, "refusal", pc.is_valid(refusals(left, Refusals()).reason).to_pylist())
    first = first_occurrences(content_keys(content(left), ExactDedup()))
    left = step(left, "exact_duplicate", [row != kept for row, kept in enumerate(first.tolist())])
    near = set(find_near_duplicates(content(left), MinhashDedup(), 42)["row"].to_pylist())
    left = step(left, "near_duplicate", [row in near for row in range(left.num_rows)])
    options = Decontaminate(against={"heldout": Source(skills=Skills())})
    index = EvaluationIndex.build(held_out["id"].to_pylist(), content(held_out), options)
    left = step(left, "leak", pc.is_valid(contamination(content(left), index).reason).to_pylist())
    assert rows_of(left, None) == list(range(left.num_rows))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"rows": 5000, "planted": {"leak": 0.1}}, "500 leaks of 400 held-out questions"),
        ({"dialogues": 0.1, "planted": {"near_duplicate": 0.2}}, "near duplicates are copies of as many dialogues"),
        ({"planted": dict.fromkeys(KINDS, 0.15)}, "more than half of the rows"),
        ({"planted": {"near": 0.1}}, "Extra inputs are not permitted"),
    ],
)
def test_a_set_that_cannot_be_made_is_refused(options, what):
    with pytest.raises(ValidationError, match=what):
        Skills.model_validate(options)
