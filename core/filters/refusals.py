"""Finds answers in which the assistant refuses, deflects or moralises instead of answering, and drops what they spoil.

Only what the assistant says in its own voice is judged: not code, quotations, others' speech, letters. Phrases and
classifier are English. "I don't know" is an answer. A plain text is never judged.

The limits: a text that was asked for (a monologue, a translation) and reads as a refusal is taken for one, and
refusals and morals in very unusual words are missed.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from core.documents.ledger import TURNS, Verdict
from core.filters.judging import Filled, Filter, judge
from core.filters.refusal_phrases import telling_phrase
from core.filters.refusal_speech import opening, own_words

REFUSAL = "refusal"
REFUSED_REQUEST = "refused_request"  # a user's turn that leaves together with all answers to it

Flags = NDArray[np.bool_]


class Refusals(Filter):
    """Refusing, deflecting and moralising answers, as GOAT-7B leaves them out of its dialogues."""

    look_at: Literal["opening", "throughout"] = Field(
        "opening", description="Sentences of an answer in which a refusal is looked for: the first, or all."
    )
    opening_sentences: int = Field(
        2, ge=1, le=100, description="Sentences at the start of an answer that are looked at, if not all are."
    )
    drop: Literal["dialogue", "pair", "turn"] = Field(
        "dialogue",
        description="What leaves: the dialogue, the answer with the user's turns before it, or the answer alone. "
        "A preference pair leaves whole, and so does a dialogue without another answer.",
    )
    phrases: list[Filled] = Field(
        [], description="More phrases, in any case, that tell a refusal; no regular expressions."
    )
    classifier: bool = Field(
        True, description="Whether answers without a telling phrase are judged by the classifier as well."
    )
    min_score: float = Field(
        0.9, ge=0.5, le=1, description="Probability from which on the classifier's word is taken. 0.9: measured."
    )


def refusals(documents: pa.Table, options: Refusals) -> Verdict:
    """Judges a table of DOCUMENTS: the assistant's messages, or `chosen` of a preference pair.

    Reason: refusal; of a user's turn that leaves with its answers: refused_request. Evidence: the phrase, lower-cased,
    or the sentence with the classifier's score ("classifier 0.97: 'I would rather we left that alone'"): of a document
    that is dropped the first one's.
    """
    return judge(documents, options, lambda chosen: _verdict(chosen, options))


def _verdict(documents: pa.Table, options: Refusals) -> Verdict:
    messages = documents["messages"].combine_chunks()
    turns = pc.list_flatten(messages)
    document = pc.list_parent_indices(messages).to_numpy()
    user, answer = (_plays(turns, role) for role in ("user", "assistant"))
    contents = pc.struct_field(turns, "content").filter(pa.array(answer))
    pairs = documents["chosen"].combine_chunks()
    found = _evidence(pa.concat_arrays([contents, pairs]), options)
    evidence = found.take(pa.array(np.cumsum(answer) - 1, mask=~answer))  # of each turn

    refusing = evidence.is_valid().to_numpy(zero_copy_only=False)
    left = np.bincount(document[answer & ~refusing], minlength=documents.num_rows) > 0
    dropped = np.zeros(documents.num_rows, bool)
    dropped[document[refusing]] = True
    if options.drop != "dialogue":
        dropped &= ~left
    shown = np.full(documents.num_rows, -1)
    place = np.flatnonzero(refusing)
    shown[document[place[::-1]]] = place[::-1]  # backwards: the first one is shown
    of_dialogues = evidence.take(pa.array(shown, mask=~dropped))
    why = pc.coalesce(of_dialogues, found.slice(len(contents)))
    reason = pc.if_else(why.is_valid(), REFUSAL, pa.scalar(None, pa.string()))
    if options.drop == "dialogue":
        return Verdict(reason, why)
    leaving = place if options.drop == "turn" else _with_requests(document, user, answer, refusing)
    leaving = leaving[~dropped[document[leaving]]]
    return Verdict(reason, why, turns=_turns(document, leaving, refusing, evidence))


def _evidence(answers: pa.LargeStringArray, options: Refusals) -> pa.Array:
    """What shows that each answer refuses; null where nothing does."""
    whole = own_words(pc.fill_null(answers, ""))
    viewed = whole if options.look_at == "throughout" else opening(whole, options.opening_sentences)
    phrase = telling_phrase(viewed, options.phrases).cast(pa.string())
    if not options.classifier:
        return phrase
    from core.filters.refusal_classifier import unanswered

    rest = pc.is_null(phrase)
    scored = unanswered(viewed.filter(rest), whole.filter(rest), options.min_score)
    open_ones = rest.to_numpy(zero_copy_only=False)
    return pc.coalesce(phrase, scored.take(pa.array(np.cumsum(open_ones) - 1, mask=~open_ones)))


def _plays(turns: pa.StructArray, role: str) -> Flags:
    played = pc.fill_null(pc.equal(pc.struct_field(turns, "role"), role), False)
    return np.asarray(played.to_numpy(zero_copy_only=False), bool)


def _with_requests(document: NDArray[np.int64], user: Flags, answer: Flags, refusing: Flags) -> NDArray[np.int64]:
    """The turns that refuse and the user's turns of which no answer is left.

    An exchange is the user's turns in a row and all that follows them, up to the user's next.
    """
    begins = np.ones(len(document), bool)
    begins[1:] = (document[1:] != document[:-1]) | (user[1:] & ~user[:-1])
    exchange = np.cumsum(begins) - 1
    answers, refusals = (np.bincount(exchange[part], minlength=len(document)) for part in (answer, refusing))
    unanswered = (refusals > 0) & (refusals == answers)
    return np.flatnonzero(refusing | (user & unanswered[exchange]))


def _turns(document: NDArray[np.int64], leaving: NDArray[np.int64], refusing: Flags, evidence: pa.Array) -> pa.Table:
    """The turns that leave as TURNS; a request's evidence is that of the first answer after it that refuses."""
    firsts = np.searchsorted(document, document[leaving])
    answers = np.flatnonzero(refusing)
    shown = answers[np.searchsorted(answers, leaving)]
    reasons = pa.array([REFUSED_REQUEST, REFUSAL]).take(pa.array(refusing[leaving].astype(np.int8)))
    columns = [document[leaving], leaving - firsts, reasons, evidence.take(pa.array(shown))]
    return pa.table(columns, names=TURNS.names).cast(TURNS)
