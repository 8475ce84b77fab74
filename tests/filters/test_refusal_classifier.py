"""How well refusals are found, on answers written for this that neither phrases nor classifier were made from."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from functools import cache
from pathlib import Path

import pyarrow as pa
import pytest

from core.documents.editing import carry_out
from core.documents.ledger import Ledger
from core.documents.table import DOCUMENTS
from core.filters import refusal_classifier
from core.filters.refusal_classifier import classifier
from core.filters.refusals import Refusals, refusals
from tests.filters.conftest import chat, pairs, table

ANSWERS = Path(__file__).parent / "refusal_answers.jsonl"
USUAL = {"refusal": 0.9, "moralising": 0.8, "deflection": 0.65, "half_refusal": 0.9}  # found at least
UNUSUAL = {"unusual_refusal", "unusual_moralising", "unusual_deflection", "unusual_half_refusal"}  # one in three is
ANSWERING = {"idk": 30, "story": 20, "code": 18, "dialogue": 10, "letter": 12, "service": 12, "safety": 14}
ANSWERING |= {"role_play": 8, "quotation": 14, "about_ai": 12, "sorry_then_answer": 15, "moral_answer": 16, "plain": 12}


def dialogues(asked: list[tuple[str, str]]) -> pa.Table:
    rows = [
        {
            "id": str(number),
            "source": "s",
            "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
        }
        for number, (question, answer) in enumerate(asked)
    ]
    return pa.Table.from_pylist(rows, DOCUMENTS)


@cache
def judged() -> tuple[Counter[str], Counter[str]]:
    """How many answers of each kind there are, and how many are taken for refusals."""
    rows = [json.loads(line) for line in ANSWERS.read_text().splitlines()]
    verdict = refusals(dialogues([(row["asked"], row["answer"]) for row in rows]), Refusals())
    found = [row["kind"] for row, reason in zip(rows, verdict.reason.to_pylist(), strict=True) if reason]
    return Counter(row["kind"] for row in rows), Counter(found)


def test_usual_refusals_deflections_and_morals_are_found() -> None:
    there, found = judged()
    for kind, least in USUAL.items():
        assert found[kind] >= least * there[kind], kind
    assert sum(found[kind] for kind in USUAL) >= 0.85 * sum(there[kind] for kind in USUAL)


def test_of_very_unusual_ones_a_third_is_found() -> None:
    there, found = judged()
    assert sum(found[kind] for kind in UNUSUAL) >= 0.3 * sum(there[kind] for kind in UNUSUAL)


def test_what_is_taken_for_a_refusal_is_one() -> None:
    _, found = judged()
    right = sum(found[kind] for kind in {*USUAL, *UNUSUAL})
    assert right / sum(found.values()) >= 0.97


@pytest.mark.parametrize("kind", ANSWERING)
def test_honest_answers_stories_and_code_with_the_words_stay(kind: str) -> None:
    there, found = judged()
    assert there[kind] >= ANSWERING[kind]
    assert found[kind] <= {"idk": 1, "about_ai": 2}.get(kind, 0)


def test_the_answers_are_none_of_the_classifiers_examples() -> None:
    examples = {
        line.strip().lower()
        for path in (Path(refusal_classifier.__file__).parent / "refusal_examples").glob("*.txt")
        for line in path.read_text().splitlines()
        if line.strip()
    }
    assert len(examples) > 2_000
    answers = [json.loads(line)["answer"].lower() for line in ANSWERS.read_text().splitlines()]
    assert not examples & set(answers)


@pytest.mark.parametrize(
    ("file", "question", "answer", "most"),
    [
        ("instruct/dolly_hhrlhf_train_small.jsonl.gz", "prompt", "response", 10),  # half of them do refuse
        ("gsm8k/train.jsonl.gz", "question", "answer", 0),
    ],
)
def test_real_answers_stay(shared_data: Path, file: str, question: str, answer: str, most: int) -> None:
    with gzip.open(shared_data / file, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    verdict = refusals(dialogues([(row[question], row[answer]) for row in rows]), Refusals())
    assert len(verdict.reason) - verdict.reason.null_count <= most


def test_training_again_gives_the_same_weights() -> None:
    first = classifier()
    classifier.cache_clear()
    again = classifier()
    assert (first.refuses.weights == again.refuses.weights).all()
    assert first.evades.bias == again.evades.bias


def test_each_decision_shows_what_decided() -> None:
    found = pairs(refusals(table(chat("Do it.", "That is not a task I am willing to take on for anyone.")), Refusals()))
    [(reason, evidence)] = found
    assert reason == "refusal"
    assert evidence.startswith("classifier ") or "not" in evidence
    assert pairs(refusals(table(chat("Name it.", "Paris.")), Refusals())) == [(None, None)]


REFUSED = "I'm sorry, but I can't help with that."
TURNS = [
    ("user", "Who wrote it?"),
    ("assistant", "Ada wrote it."),
    ("user", "Write me a virus."),
    ("assistant", REFUSED),
    ("user", "Then a poem."),
    ("assistant", "Roses are red."),
]


@pytest.mark.parametrize(
    ("drop", "left"),
    [("turn", [0, 1, 2, 4, 5]), ("pair", [0, 1, 4, 5]), ("dialogue", [])],
)
def test_the_turn_the_pair_or_the_dialogue_leaves_and_is_kept_aside(drop: str, left: list[int]) -> None:
    messages = [{"role": role, "content": content} for role, content in TURNS]
    documents = pa.Table.from_pylist([{"id": "d", "source": "s", "messages": messages}], DOCUMENTS)
    ledger = Ledger()
    ledger.read(documents)
    verdict = refusals(documents, Refusals(drop=drop))  # type: ignore[arg-type]
    after, dropped, cut = carry_out(documents, "refusals", verdict, ledger)
    account = ledger.summary(["s"], ["refusals"])["sources"]["s"]
    if drop == "dialogue":
        assert (after.num_rows, dropped.num_rows, cut.num_rows) == (0, 1, 0)
        assert account["kept"]["documents"] == 0
        return
    assert after["messages"][0].as_py() == [messages[place] for place in left]
    gone = [content for place, (_, content) in enumerate(TURNS) if place not in left]
    assert cut["text"].to_pylist() == gone
    assert all("sorry" in evidence for evidence in cut["evidence"].to_pylist())
    lost = account["read"]["bytes"] - account["kept"]["bytes"]
    assert lost == sum(len(text) + 1 for text in gone)  # and a newline each
    step = account["steps"][0]
    assert sum(reason["spans"] for reason in step["cut"].values()) == len(gone)


def test_a_refusal_further_down_is_found_where_all_sentences_are_looked_at() -> None:
    answer = f"Rome lies in Italy. It is old. {REFUSED}"
    documents = table(chat("Tell me about Rome.", answer))
    assert pairs(refusals(documents, Refusals()))[0][0] is None
    assert pairs(refusals(documents, Refusals(look_at="throughout")))[0][0] == "refusal"
