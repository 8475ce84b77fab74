"""Drops dialogues and pairs in which the assistant refuses or deflects instead of answering.

Only what the assistant says is judged, and of it only the opening sentences: the phrases are English, and further
down they may well be quoted. "I don't know" is an answer. A plain text is never judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from core.documents.ledger import Verdict
from core.filters.judging import Filled, Filter, Rule, verdict

CANNOT = (
    r"i(?:'m| am)? (?:just |simply |really |currently |still )?"
    r"(?:cannot|can not|can't|could not|couldn't|(?:will not|won't)(?: be able)?|unable|not able|not capable|"
    r"not allowed|not permitted|not programmed|not designed|not comfortable|not going)"
    r"(?: to| of| with)?(?: \w+ly)?"
)
PHRASES = (
    # "As an AI language model, ..."
    r"as an? (?:ai|artificial intelligence|(?:large |ai )?language model)"
    r"(?: (?:language )?model| assistant| chatbot| system| program)?"
    r"(?:,| (?:i|my|developed|created|trained)\b)",
    r"i(?:'m| am) (?:just |only |merely )?an? (?:ai|artificial intelligence|(?:large |ai )?language model)\b",
    # "I'm sorry, but I can't help with that", "Unfortunately, I am unable to answer"
    r"(?:sorry|afraid|apologi[sz]e|apologies|unfortunately)\b[^.!?\n]{0,80}?\b"
    + CANNOT
    + r" (?:assist|help|provide|answer|fulfill?|comply|support|create|generate|write|produce|offer|give|"
    r"share|discuss|engage|continue|complete|do (?:that|this|so)|respond|recommend|promote|endorse|participate|"
    r"process|access|browse|perform|satisfy|grant|entertain|suggest|advise|describe|explain|tell)",
    # the same without an apology: fewer verbs, since others are said in good answers too
    CANNOT + r" (?:assist (?:you )?(?:with|in)|help (?:you )?with|fulfill?|comply with|"
    r"provide (?:you )?(?:with )?(?:any|an?|the|that|this|such|specific|information|instructions|guidance|advice|"
    r"personal|medical|legal)\b|answer (?:that|this|your|such)|engage in|participate in|promote|endorse|"
    r"generate|support or|discuss (?:that|this|such)|do (?:that|this) for you|respond to (?:that|this))",
    r"i (?:must|have to|need to|will have to) (?:respectfully |politely )?(?:decline|refuse)",
    r"i (?:would|'d) (?:rather|prefer) not (?:to )?(?:discuss|answer|say|talk|comment|engage)",
    r"it (?:is|would be|'s) (?:not |in|un)(?:appropriate|ethical|right) (?:for me )?to (?:assist|help|provide|answer|"
    r"discuss|create|generate|write)",
    r"(?:against|violates?|outside) my (?:programming|guidelines|ethical|ethics|principles|policy|policies|content)",
    r"i (?:do not|don't) (?:have|possess) (?:any )?(?:personal|the ability|the capability|feelings|emotions|opinions|"
    r"(?:real-time|current) (?:data|information)|access to (?:real-time|current|personal|the internet))",
)


class Refusals(Filter):
    """Refusing and deflecting answers, as GOAT-7B leaves them out of its dialogues."""

    phrases: list[Filled] = Field(
        [], description="More phrases, in any case, that tell a refusal; no regular expressions."
    )
    opening_sentences: int = Field(
        2, ge=1, le=100, description="Sentences at the start of an answer that are looked at."
    )


def refusals(documents: pa.Table, options: Refusals) -> Verdict:
    """Judges a table of DOCUMENTS: the assistant's messages, or `chosen` of a preference pair.

    Reason: refusal; evidence: the phrase of the first answer that refuses.
    """

    def rules(judged: pa.Table) -> Iterator[Rule]:
        phrase = pc.coalesce(_in_dialogues(judged, options), _phrase(_column(judged, "chosen"), options))
        yield Rule("refusal", pc.is_valid(phrase), phrase)

    return verdict(documents, options, rules)


def _in_dialogues(documents: pa.Table, options: Refusals) -> pa.Array:
    """The phrase of the first of each document's answers that refuses; null where none does."""
    messages = _column(documents, "messages")
    turns = pc.list_flatten(messages)
    document = pc.list_parent_indices(messages)
    answers = pc.fill_null(pc.equal(pc.struct_field(turns, "role"), "assistant"), False)
    phrase = _phrase(pc.struct_field(turns, "content").filter(answers), options)
    found = pc.is_valid(phrase)
    refusing, first = np.unique(document.filter(answers).filter(found).to_numpy(), return_index=True)
    place = np.full(documents.num_rows, -1)
    place[refusing] = first
    return phrase.filter(found).take(pa.array(place, mask=place < 0))


def _phrase(answers: pa.Array, options: Refusals) -> pa.Array:
    """The first telling phrase in the opening of each answer, lower-cased; null where there is none."""
    sentence = r"[^.!?\n]*(?:[.!?\n]+|$)"
    opening = pc.extract_regex(answers, rf"\A\s*(?P<opening>(?:{sentence}){{1,{options.opening_sentences}}})")
    text = pc.replace_substring(pc.utf8_lower(pc.struct_field(opening, "opening")), "’", "'")
    phrases = [*PHRASES, *(re.escape(phrase.lower()) for phrase in options.phrases)]
    found = pc.extract_regex(text, rf"(?:^|[^\pL])(?P<phrase>{'|'.join(phrases)})")
    return pc.struct_field(found, "phrase").cast(pa.large_string())


def _column(documents: pa.Table, name: str) -> pa.Array:
    return documents[name].combine_chunks()
