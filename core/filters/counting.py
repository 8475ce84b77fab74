"""Counts that several filters share, each an int64 per text, taken on Arrow buffers.

A word is a run of characters that are no white space, of any script: "don't" is one word, and so is a Chinese
sentence without spaces.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SPACE = r"\s\v\x{85}\p{Z}"  # RE2's \s is ASCII without the vertical tab; with the others it is Unicode's
PUNCTUATION = r"\p{P}$+<=>^`|~"  # Unicode's, and the ASCII symbols that Python's string.punctuation has besides


def characters(texts: pa.Array) -> pa.Array:
    """Code points."""
    return _count(pc.utf8_length(texts))


def words(texts: pa.Array) -> pa.Array:
    """Words."""
    return matches(texts, rf"[^{SPACE}]+")


def words_with_letters(texts: pa.Array) -> pa.Array:
    """Words with at least one letter of any script."""
    return matches(texts, rf"[^{SPACE}]*\p{{L}}[^{SPACE}]*")


def spaces(texts: pa.Array) -> pa.Array:
    """Characters of white space."""
    return matches(texts, rf"[{SPACE}]")


def characters_but(texts: pa.Array, left_out: str) -> pa.Array:
    """Characters outside a class, given as in a regular expression's brackets."""
    return characters(pc.replace_substring_regex(texts, rf"[{left_out}]+", ""))


def matches(texts: pa.Array, pattern: str) -> pa.Array:
    """Matches of a regular expression (RE2) that do not overlap."""
    return _count(pc.count_substring_regex(texts, pattern))


def line_lengths(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Lines of each text and the characters of its longest line; a newline at the end begins no further line."""
    split = pc.split_pattern(pc.replace_substring_regex(texts, r"\r?\n\z", ""), "\n")
    lengths = pc.utf8_length(pc.list_flatten(split)).to_numpy()
    lines = pc.list_value_length(split).to_numpy()
    longest = np.maximum.reduceat(lengths, np.cumsum(lines) - lines)
    return pa.array(lines.astype(np.int64)), pa.array(longest.astype(np.int64))


def ratio(part: pa.Array, whole: pa.Array) -> pa.Array:
    """part / whole; 0 where there is nothing to divide by."""
    return pc.divide(part.cast(pa.float64()), pc.max_element_wise(whole, 1).cast(pa.float64()))


def _count(counts: pa.Array) -> pa.Array:
    return counts.cast(pa.int64())
