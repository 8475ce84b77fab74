from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from core.documents.ledger import TURNS, Verdict
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


REFUSED = "I'm sorry, but I can't help with that."
FINE = "It is in Rome."


def removed(verdict: Verdict) -> list[tuple[int, int, str]]:
    """(row, turn, reason) of each turn that leaves."""
    assert verdict.turns is not None and verdict.turns.schema == TURNS
    return [(turn["row"], turn["turn"], turn["reason"]) for turn in verdict.turns.to_pylist()]


def test_a_dialogue_without_another_answer_and_a_pair_leave_whole() -> None:
    pair = {"source": "s", "prompt": "Do it.", "chosen": REFUSED, "rejected": FINE}
    documents = table(chat("Do it.", REFUSED), pair, chat("Do it.", REFUSED, "Where?", FINE), chat("Where?", FINE))
    for drop in ("turn", "pair"):
        verdict = refusals(documents, Refusals(drop=drop))
        assert reasons(verdict) == ["refusal", "refusal", None, None]
        assert {row for row, _, _ in removed(verdict)} == {2}


def test_requests_leave_with_the_last_of_their_answers() -> None:
    roles = ["system", "user", "user", "assistant", "assistant", "user", "assistant", "assistant", "user", "assistant"]
    contents = ["Be kind.", "One.", "Two.", REFUSED, "I must decline.", "Three.", REFUSED, FINE, "Four.", FINE]
    turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
    documents = table({"source": "s", "messages": turns})
    refused, requests = [3, 4, 6], [1, 2]  # the third request has an answer left
    assert removed(refusals(documents, Refusals(drop="turn"))) == [(0, turn, "refusal") for turn in refused]
    assert removed(refusals(documents, Refusals(drop="pair"))) == [
        (0, turn, "refused_request" if turn in requests else "refusal") for turn in sorted(refused + requests)
    ]


def test_turns_are_those_of_the_sources_own_rows() -> None:
    dialogue = chat("Do it.", REFUSED, "Where?", FINE)
    documents = table(dialogue, dialogue | {"source": "t"}, chat("Where?", FINE), dialogue)
    verdict = refusals(documents, Refusals(drop="turn", sources=["s"]))
    assert removed(verdict) == [(0, 1, "refusal"), (3, 1, "refusal")]


def test_throughout_an_answer_code_quotations_and_speech_are_not_looked_at() -> None:
    options = Refusals(look_at="throughout")
    for part in (f"```\n{REFUSED}\n```", f"> {REFUSED}", f'She said: "{REFUSED}"', f"Bot: {REFUSED}\nAnn: Why?"):
        answer = f"Rome lies in Italy. It is old.\n{part}\nThe end."
        assert reasons(refusals(table(chat("Tell me.", answer)), options)) == [None], part


def test_a_lecture_is_no_answer_and_one_beside_an_answer_is_none_of_our_business() -> None:
    lecture = "It's important to remember that stereotyping is harmful. Everyone deserves to be treated with respect."
    answer = "Carry it by bus: line 4 leaves from the station at nine, and tickets cost two euros."
    documents = table(chat("Why?", lecture), chat("How?", f"{lecture} {answer}"))
    for look_at in ("opening", "throughout"):
        [(reason, evidence), kept] = pairs(refusals(documents, Refusals(look_at=look_at)))
        assert reason == "refusal" and evidence is not None
        assert evidence.startswith("classifier ") and "stereotyping is harmful" in evidence
        assert kept == (None, None)


def test_the_classifier_can_be_left_out_and_made_stricter() -> None:
    documents = table(chat("Do it.", "That is not a thing I would ever agree to do."))
    [(reason, evidence)] = pairs(refusals(documents, Refusals()))
    assert reason == "refusal" and evidence is not None
    assert evidence.endswith("'That is not a thing I would ever agree to do'")
    assert reasons(refusals(documents, Refusals(min_score=1))) == [None]
    assert reasons(refusals(documents, Refusals(classifier=False))) == [None]
    phrase = table(chat("Do it.", REFUSED))
    assert reasons(refusals(phrase, Refusals(classifier=False))) == ["refusal"]


def test_too_few_words_for_the_classifier_are_an_answer() -> None:
    documents = table(*(chat("Is it?", answer) for answer in ("No.", "Never.", "True.", "Not at all.", "Hard pass.")))
    assert reasons(refusals(documents, Refusals(min_score=0.5))) == [None] * 5
