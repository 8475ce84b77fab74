from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from core.documents.skills import REFUSALS, Skills, skills_documents
from core.filters.refusals import Refusals, refusals
from tests.filters.conftest import chat, pairs, reasons, table, texts

REFUSING = [
    "I'm sorry, but as an AI language model I cannot help with that.",
    "As an AI language model, I don't have feelings.",
    "As a language model, I cannot browse the web.",
    "As an AI, I must be careful here.",
    "I'm just an AI assistant.",
    "I’m sorry, but I can’t assist with that request.",
    "Sorry, I can't do that.",
    "I apologize, but I am unable to provide the answer you want.",
    "My apologies, but I am not able to help you.",
    "Unfortunately, I cannot answer that.",
    "I'm afraid I won't be able to help you with this.",
    "I cannot fulfill that request.",
    "I can't provide instructions for that.",
    "I am not able to engage in this.",
    "I must respectfully decline.",
    "I would rather not discuss this.",
    "It is not appropriate for me to answer.",
    "That goes against my programming.",
    "I don't have personal opinions on this.",
    "Hello there! I'M SORRY, BUT I CANNOT HELP WITH THAT.",
    "\n\n  I'm sorry, but I can't help with that.",
    *REFUSALS,
]
ANSWERING = [
    "",
    "Paris.",
    "I don't know.",
    "I'm not sure, but it may be Rome.",
    "I do not know who wrote it; nobody does.",
    "I'm sorry to hear that you can't sleep.",
    "I'm sorry for your loss. Take the time you need.",
    "Dear Ann, I am sorry that I cannot come to your party.",
    "The cat can't help but chase the mouse.",
    "You cannot provide a default for this argument.",
    "As an AI researcher, she writes about ethics.",
    "GPT-3 works as a language model to predict words.",
    "Unfortunately, the train was late.",
    "An apology begins with 'I am sorry'.",
    "Aladdin I cannot say more of.",
]


@pytest.mark.parametrize("answer", REFUSING)
def test_answer_that_refuses_is_dropped_for_its_phrase(answer: str) -> None:
    [(reason, evidence)] = pairs(refusals(table(chat("Do it.", answer)), Refusals()))
    assert reason == "refusal"
    assert evidence
    assert evidence in answer.lower().replace("’", "'")


@pytest.mark.parametrize("answer", ANSWERING)
def test_honest_answer_is_kept(answer: str) -> None:
    assert pairs(refusals(table(chat("Do it.", answer)), Refusals())) == [(None, None)]


def test_only_the_assistant_is_judged() -> None:
    asked = chat("I'm sorry, but I can't help with that. Why do models say this?", "They are trained to.")
    system = {
        "source": "s",
        "messages": [
            {"role": "system", "content": "As an AI language model, you help."},
            {"role": "assistant", "content": "Hello."},
        ],
    }
    assert reasons(refusals(table(asked, system), Refusals())) == [None, None]


def test_any_answer_of_a_dialogue_that_refuses_is_enough_and_the_first_is_shown() -> None:
    dialogue = chat("Hi", "Hello.", "Do it.", "I must decline.", "Please!", "I cannot fulfill that request.")
    assert pairs(refusals(table(chat("Hi", "Hello."), dialogue), Refusals())) == [
        (None, None),
        ("refusal", "i must decline"),
    ]


def test_of_a_pair_the_chosen_answer_is_judged() -> None:
    refusing, fine = REFUSING[0], "Here it is."
    chosen = {"source": "s", "prompt": "Do it.", "chosen": refusing, "rejected": fine}
    rejected = {"source": "s", "prompt": refusing, "chosen": fine, "rejected": refusing}
    assert reasons(refusals(table(chosen, rejected), Refusals())) == ["refusal", None]


def test_plain_text_is_never_judged() -> None:
    assert reasons(refusals(texts(*REFUSING), Refusals())) == [None] * len(REFUSING)


def test_only_the_opening_sentences_are_judged() -> None:
    answer = "Here it is. It took a while. I'm sorry, but I can't help with that."
    assert reasons(refusals(table(chat("Do it.", answer)), Refusals())) == [None]
    assert reasons(refusals(table(chat("Do it.", answer)), Refusals(opening_sentences=3))) == ["refusal"]


def test_more_phrases_are_taken_as_they_are_written() -> None:
    documents = table(chat("Do it.", "Ask a doctor (please)."), chat("Do it.", "Ask a doctor, please."))
    options = Refusals(phrases=["Ask a doctor (please)"])
    assert pairs(refusals(documents, options)) == [("refusal", "ask a doctor (please)"), (None, None)]


def test_forms_are_told_apart_in_one_table_and_in_a_part_of_it() -> None:
    rows = [
        chat("Hi", "Hello."),
        {"source": "s", "text": REFUSING[0]},
        chat("Do it.", REFUSING[0]),
        {"source": "s", "prompt": "Do it.", "chosen": REFUSING[0], "rejected": "x"},
        chat("Do it."),
        {"source": "s", "messages": [{"role": None, "content": None}, {"role": "assistant", "content": None}]},
    ]
    documents = pa.concat_tables([table(*rows[:2]), table(*rows[2:])])
    wanted = [None, None, "refusal", "refusal", None, None]
    assert reasons(refusals(documents, Refusals())) == wanted
    assert reasons(refusals(documents.slice(2), Refusals())) == wanted[2:]
    assert reasons(refusals(documents.slice(0, 0), Refusals())) == []
    assert reasons(refusals(documents, Refusals(sources=["other"]))) == [None] * 6


def test_planted_refusals_are_found_and_nothing_else() -> None:
    documents = skills_documents(Skills(rows=2000), 7, "skills", "train")
    planted = ['"planted": "refusal"' in meta for meta in documents["meta"].to_pylist()]
    dropped = [reason is not None for reason in reasons(refusals(documents, Refusals()))]
    assert sum(planted) > 0
    assert dropped == planted


def test_empty_phrase_would_be_in_every_answer_and_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 character"):
        Refusals(phrases=[""])
