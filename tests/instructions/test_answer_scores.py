from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from core.instructions.answer_scores import (
    SCORED,
    answer_score,
    exact_match,
    longest_common_subsequence,
    rouge_l,
    score_continuations,
)
from core.instructions.few_shot import FewShot, few_shot_prompts
from tests.instructions.made_tasks import made_task

WORDS = st.lists(st.sampled_from(["the", "cat", "The", "dog.", ".", "a", "Straße", "b", "x1"]), max_size=90).map(
    " ".join
)


def by_table(first: list[str], second: list[str]) -> int:
    """The textbook's dynamic programming."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = row
        row = [0]
        for place, other in enumerate(second, start=1):
            row.append(before[place - 1] + 1 if word == other else max(row[-1], before[place]))
    return row[-1]


@given(WORDS, WORDS)
def test_the_subsequence_is_as_long_as_by_the_table(first: str, second: str) -> None:
    assert longest_common_subsequence(first.split(), second.split()) == by_table(first.split(), second.split())


@pytest.fixture(scope="module")
def rouge_scorer() -> Any:
    return pytest.importorskip("rouge_score.rouge_scorer")


class Words:
    """The same words as ours, as the package wants them."""

    def tokenize(self, text: str) -> list[str]:
        return text.lower().replace(".", "").split()


@given(answer=WORDS, gold=WORDS)
def test_rouge_l_equals_that_of_the_rouge_score_package(rouge_scorer: Any, answer: str, gold: str) -> None:
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False, tokenizer=Words())
    assert rouge_l(answer, gold) == pytest.approx(scorer.score(gold, answer)["rougeL"].fmeasure, abs=1e-12)
    assert rouge_l(answer, gold) == rouge_l(gold, answer)


@given(WORDS, st.lists(WORDS, max_size=4))
def test_generation_counts_the_best_gold(answer: str, golds: list[str]) -> None:
    assert answer_score("generation", answer, golds) == max([0.0, *(rouge_l(answer, gold) for gold in golds)])


def test_case_and_full_stops_do_not_count_for_rouge_l() -> None:
    assert rouge_l("The cat. Sat", "the cat sat.") == 1
    assert rouge_l("the cat sat", "the dog sat") == pytest.approx(2 / 3)
    assert rouge_l("", "the cat") == rouge_l("...", "") == 0


def test_exact_match_is_any_gold_and_case_counts() -> None:
    assert exact_match(" Yes", ["No", "Yes "])
    assert not exact_match("yes", ["Yes"])
    assert not exact_match("Yes.", ["Yes"])
    assert answer_score("exact_match", "Yes", ["Yes"]) == 1


def test_continuations_are_scored_row_by_row(tmp_path: Path) -> None:
    task = made_task(tmp_path)
    prompts = few_shot_prompts(task, task.instances, "exact_match", FewShot())
    scored = score_continuations(prompts, [" Yes\n\nInput: x", " Yes", None])
    assert scored.schema.equals(SCORED)
    assert scored["score"].to_pylist() == [1, 0, None]
    assert scored["prediction"].to_pylist() == ["Yes", "Yes", None]
    assert scored["golds"].to_pylist() == [1, 1, 2]
    assert scored.select(["id", "instruction_words", "input_words"]).to_pylist()[1] == {
        "id": "task9-b",
        "instruction_words": 3,
        "input_words": 4,
    }
    with pytest.raises(DataError, match="found 2 continuations, expected one for each of 3 prompts"):
        score_continuations(prompts, ["", ""])
