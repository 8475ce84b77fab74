from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from core.documents.table import DOCUMENTS
from core.filters.lower_case import LowerCase, lower_case
from tests.filters.conftest import chat, pairs, table

QUESTION, ANSWER = "How many LÄMPS has Ann?", "Ann has TWO."


def dialogues(count: int, source: str = "s") -> pa.Table:
    return table(*({"id": f"{source}:{number}", **chat(QUESTION, ANSWER), "source": source} for number in range(count)))


def lowered(documents: pa.Table) -> list[bool]:
    """Whether the question of each is; nothing else may have changed."""
    found = []
    for messages in documents["messages"].to_pylist():
        [question, answer] = (message["content"] for message in messages)
        assert answer == ANSWER
        assert question in (QUESTION, QUESTION.lower())
        found.append(question != QUESTION)
    return found


def test_a_share_of_the_documents_is_lower_cased_and_counted() -> None:
    made, verdict = lower_case(dialogues(2000), LowerCase(probability=0.3), seed=1)
    assert made.schema == DOCUMENTS
    assert 520 < sum(lowered(made)) < 680
    assert verdict.labels is not None
    assert [label == "lower_cased" for label in verdict.labels.to_pylist()] == lowered(made)
    assert pairs(verdict) == [(None, None)] * 2000
    everyone, _ = lower_case(dialogues(50), LowerCase(probability=1.0), seed=1)
    assert all(lowered(everyone))


def test_which_ones_goes_by_the_seed_and_the_id_and_not_by_the_batch() -> None:
    documents, options = dialogues(100), LowerCase(probability=0.5)
    once = lowered(lower_case(documents, options, 1)[0])
    parts = [lowered(lower_case(documents.slice(*part), options, 1)[0]) for part in ((0, 30), (30, 70))]
    assert parts[0] + parts[1] == once
    assert lowered(lower_case(documents, options, 2)[0]) != once


def test_other_sources_parts_and_forms_stay_as_they_are() -> None:
    text = table({"id": "t", "source": "s", "text": QUESTION})
    documents = pa.concat_tables([dialogues(5, "s"), dialogues(5, "other"), text])
    options = LowerCase(probability=1.0, sources=["s"])
    made, verdict = lower_case(documents, options, 1)
    assert lowered(made.slice(0, 10)) == [True] * 5 + [False] * 5
    assert made["text"].to_pylist()[-1] == QUESTION
    assert verdict.labels is not None and verdict.labels.null_count == 6
    untouched, _ = lower_case(documents, LowerCase(probability=1.0, sources=["none"]), 1)
    assert untouched.equals(documents)
    whole, _ = lower_case(documents, LowerCase(probability=1.0, part="all"), 1)
    assert whole["text"].to_pylist()[-1] == QUESTION.lower()
    assert whole["messages"][0][1]["content"].as_py() == ANSWER.lower()
    assert lower_case(documents.slice(0, 0), options, 1)[0].num_rows == 0


@pytest.mark.parametrize("probability", [0, 1.5, None])
def test_probability_that_changes_nothing_or_cannot_be_is_refused(probability: float | None) -> None:
    with pytest.raises(ValidationError):
        LowerCase.model_validate({"probability": probability})
