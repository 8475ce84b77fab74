"""What an answer says in its own voice: without code, quotations, speech of others and letters; and its sentences."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

SET_APART = "\n[…]\n"  # instead of a block of code, of quotation, of speech; it counts as a sentence
QUOTE = '""'
BLOCK = r"(?s:```.*?(?:```|\z)|~~~.*?(?:~~~|\z))|(?m:^[ \t]*>[^\n]*)"
# "Dear Ann,", "Hi Tom," on a line of its own: what follows is written for somebody else to say
LETTER = r"(?ms)^(?:Dear [^\n]{1,60}|(?:Hi|Hello|Hey|To) [A-Z][^\n]{0,60})[,:][ \t]*\n.*"
SPEAKER = r"(?m)^[ \t]*(?:\*\*)?\pL[\pL\d .'-]{0,28}:(?:\*\*)?[ \t][^\n]*"  # "Clerk: We are closed."
SPEAKER_LINES = 2  # at least, for a script: one such line may be a heading
QUOTED = r"""(?m)"[^"\n]*"|“[^”\n]*”|«[^»\n]*»|`[^`\n]+`|(^|[\s(])'\pL(?:[^'\n]|'\pL)*'($|\PL)"""
SENTENCE = r"(?s:.*?)(?:[.!?]+[\"')\]*_]*(?:\s+|\z)|\n+|\z)"
SENTENCE_END = r"[.!?]+[\"')\]*_]*(?:\s+|$)|\n+"


def own_words(answers: pa.LargeStringArray) -> pa.LargeStringArray:
    """Each answer without what it quotes, writes in code or has others say, and with ' as the only apostrophe.

    Quotation marks of a pair on one line, with what is between them, become `""`. A script is two lines or more that
    begin with a name and a colon.
    """
    texts = pc.replace_substring(pc.replace_substring(answers, "’", "'"), "‘", "'")
    texts = pc.replace_substring_regex(texts, BLOCK, SET_APART)
    texts = pc.replace_substring_regex(texts, LETTER, SET_APART)
    script = pc.greater_equal(pc.count_substring_regex(texts, SPEAKER), SPEAKER_LINES)
    if pc.any(script).as_py():
        texts = pc.if_else(script, pc.replace_substring_regex(texts, SPEAKER, SET_APART), texts)
    return pc.replace_substring_regex(texts, QUOTED, rf"\1{QUOTE}\2")


def opening(texts: pa.LargeStringArray, count: int) -> pa.LargeStringArray:
    """The first `count` sentences of each text."""
    found = pc.extract_regex(texts, rf"\A\s*(?P<opening>(?:{SENTENCE}){{1,{count}}})")
    return pc.struct_field(found, "opening")


def sentences(texts: pa.LargeStringArray) -> tuple[NDArray[np.int64], pa.LargeStringArray]:
    """The sentences of all texts, without the marks at their ends, and the text that each is in, int64[sentences].

    A line's end ends a sentence. Without a letter, a digit or … it is none.
    """
    lists = pc.split_pattern_regex(texts, SENTENCE_END)
    parts, rows = pc.list_flatten(lists), pc.list_parent_indices(lists)
    filled = pc.match_substring_regex(parts, r"[\pL\d…]")
    return rows.filter(filled).to_numpy(), pc.utf8_trim_whitespace(parts.filter(filled))
