"""What several filters count, on Arrow buffers: characters, words and lines of each text, of any script.

A word is a run of characters without white space, its punctuation with it, as `str.split` gives: "don't" is one
word, and so is a Chinese sentence without spaces.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

SPACE = r"\s\v\x1c-\x1f\x{85}\p{Z}"  # Unicode's, as Python has it; RE2's \s alone is ASCII's
PUNCTUATION = r"\p{P}$+<=>^`|~"  # Unicode's, and the ASCII symbols that Python's string.punctuation has besides


def characters(texts: pa.Array) -> pa.Array:
    """Code points of each text, int64."""
    return pc.utf8_length(texts).cast(pa.int64())


def characters_but(texts: pa.Array, left_out: str) -> pa.Array:
    """Code points outside a class, which is written as in a regular expression's brackets, int64."""
    return characters(pc.replace_substring_regex(texts, rf"[{left_out}]+", ""))


def matches(texts: pa.Array, pattern: str) -> pa.Array:
    """Matches of a regular expression (RE2) that do not overlap, int64. Anchored ones count wrong: ask each line."""
    return pc.count_substring_regex(texts, pattern).cast(pa.int64())


def words(texts: pa.Array) -> pa.Array:
    """The words of each text, a list; null where there are none."""
    trimmed = pc.utf8_trim_whitespace(texts)
    return pc.utf8_split_whitespace(pc.if_else(pc.equal(trimmed, ""), None, trimmed))


def lines(texts: pa.Array) -> pa.Array:
    """The lines of each text, a list. A newline at the end begins no further line."""
    return pc.split_pattern(pc.replace_substring_regex(texts, r"\r?\n\z", ""), "\n")


def count(lists: pa.Array) -> pa.Array:
    """How many items each list has, int64."""
    return pc.fill_null(pc.list_value_length(lists), 0).cast(pa.int64())


def total(lists: pa.Array, values: pa.Array) -> pa.Array:
    """The sum for each list of its items' values (numbers, or booleans to count), int64.

    values: one for each item of the flattened lists.
    """
    sums = np.concatenate([[0], np.cumsum(values.cast(pa.int64()).to_numpy())])
    ends = np.cumsum(count(lists).to_numpy())
    return pa.array(np.diff(sums[np.concatenate([[0], ends])]))


def largest(lists: pa.Array, values: pa.Array) -> pa.Array:
    """The largest for each list of its items' values. No list may be empty."""
    lengths = count(lists).to_numpy()
    return pa.array(np.maximum.reduceat(values.to_numpy(), np.cumsum(lengths) - lengths))


def ratio(part: pa.Array, whole: pa.Array) -> pa.Array:
    """part / whole, float64; 0 where there is nothing to divide by."""
    return pc.divide(part.cast(pa.float64()), pc.max_element_wise(whole, 1).cast(pa.float64()))
