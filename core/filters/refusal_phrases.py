"""Phrases by which an assistant refuses or hides behind being a machine: what nobody says who answers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

AI = (
    r"(?:ai|a\.i\.|artificial intelligence|(?:large |ai |text-based ai )?language model|"
    r"(?:virtual|digital|ai) assistant|chat ?bot|machine learning model)"
)
ADVERB = r"(?: \w+ly| just| still| also| therefore)?"
CANNOT = (
    rf"i(?:'m| am)?{ADVERB} (?:cannot|can not|can't|could not|couldn't|"
    r"(?:will not|won't)(?: be able)?|unable|not able|not capable|"
    r"not allowed|not permitted|not programmed|not designed|not comfortable|not willing|not going)"
    rf"(?: to| of| with)?{ADVERB}"
)
DO = (
    r"(?:assist|help|provide|answer|fulfil|fulfill|comply|support|create|generate|write|produce|offer|give|"
    r"share|discuss|engage|continue|complete|do (?:that|this|so)|respond|recommend|promote|endorse|participate|"
    r"process|access|browse|perform|satisfy|grant|entertain|suggest|advise|describe|explain|tell)"
)
GIVEN = (
    r"(?:tips|advice|guidance|instructions|directions|information|details|specifics|help|assistance|support|"
    r"an? (?:\w+ )?opinion|opinions|recommendations|predictions|content|material)\b"
)
WOULD = r"(?:is|was|would be|'s|isn't|is not|wouldn't be|would not be)"
PHRASES = (
    # "As an AI language model, ..."
    rf"(?:as|being) (?:just |only |merely )?an? {AI}(?: (?:language )?model| assistant| chatbot| system| program)?"
    r"(?:,| (?:i|my|developed|created|trained)\b)",
    rf"i(?:'m| am) (?:just |only |merely |simply )?an? {AI}\b",
    # "I'm sorry, but I can't help with that", "Unfortunately, I am unable to answer"
    r"(?:sorry|afraid|apologi[sz]e|apologies|unfortunately|regret(?:tably)?)\b[^.!?\n]{0,80}?\b" + CANNOT + " " + DO,
    # the same without an apology: fewer verbs, since others are said in good answers too
    CANNOT + r" (?:assist (?:you )?(?:with|in)|help (?:you )?with|fulfill?|comply with|"
    r"provide (?:you )?(?:with )?(?:any|an?|the|that|this|such|specific|information|instructions|guidance|advice|"
    r"personal|medical|legal)\b|answer (?:that|this|your|such)|engage in|participate in|promote|endorse|"
    r"generate|support or|discuss (?:that|this|such)|do (?:that|this) for you|respond to (?:that|this))",
    # "I'm not able to offer you any legal advice"
    CANNOT + r" (?:provide|offer|give|share)(?: you)?(?: with)?(?: \w+){0,3}? " + GIVEN,
    r"i (?:can't|cannot|can not|won't|will not) and (?:i )?(?:can't|cannot|can not|won't|will not)\b",
    r"i (?:do not|don't|would not|wouldn't) feel (?:comfortable|right) \w+ing\b",
    r"i (?:must|have to|need to|will have to|am going to have to) (?:respectfully |politely )?(?:decline|refuse)",
    r"i (?:respectfully|politely|will|must) decline",
    r"i (?:would|'d) (?:rather|prefer) not (?:to )?(?:discuss|answer|say|talk|comment|engage)",
    # "It would be unethical for me to ...", "It's not my place to ..."
    rf"it {WOULD} (?:not |in|un|ir)?(?:appropriate|ethical|right|responsible|possible|wrong) (?:for|of) me to",
    r"(?:against|violates?|outside|beyond|within) (?:my|our|openai's) "
    r"(?:programming|guidelines|ethical|ethics|principles|policy|policies|content|usage|capabilities)",
    r"my (?:programming|guidelines|policy|policies|instructions)"
    r" (?:do not|don't|does not|doesn't|prohibits?|prevents?|forbids?)",
    # "I don't have personal opinions"
    r"i (?:do not|don't) (?:have|possess|hold) (?:any )?(?:personal|the ability|the capability|feelings|emotions|"
    r"opinions|(?:real-time|current) (?:data|information)|access to (?:real-time|current|personal|the internet))",
    # "That is not something I can help with"
    r"(?:not|isn't|never) something (?:that )?i(?:'m| am|'d| would)? "
    r"(?:can|be|will|do|able|willing|comfortable|allowed)\b",
)


def telling_phrase(texts: pa.LargeStringArray, more: Sequence[str]) -> pa.Array:
    """The first phrase in each text, lower-cased, that tells a refusal, or is one of `more`; null where there is none.

    texts: with ' as the only apostrophe.
    """
    phrases = [*PHRASES, *(re.escape(phrase.replace("’", "'")) for phrase in more)]
    found = pc.extract_regex(texts, rf"(?i)(?:^|[^\pL])(?P<phrase>{'|'.join(phrases)})")
    return pc.utf8_lower(pc.struct_field(found, "phrase"))
