"""Drops documents that do not look like prose: Gopher's quality rules."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from core.documents.ledger import Verdict
from core.filters.counting import PUNCTUATION, count, lines, matches, ratio, total, words
from core.filters.judging import Filled, Filter, Rule, above, below, text_rules, verdict


class Heuristics(Filter):
    """Gopher's quality rules for English web text (Rae et al. 2021, arXiv:2112.11446, appendix A1.1)."""

    min_words: int = Field(50, ge=0, description="Words at least. Gopher: 50.")
    max_words: int = Field(100_000, ge=1, description="Words at most. Gopher: 100,000.")
    min_mean_word_length: float = Field(3, ge=0, description="Mean characters per word at least. Gopher: 3.")
    max_mean_word_length: float = Field(10, ge=0, description="Mean characters per word at most. Gopher: 10.")
    max_symbol_ratio: float = Field(
        0.1, ge=0, description="Hash signs, and likewise ellipses, per word at most. Gopher: 0.1."
    )
    max_bullet_lines: float = Field(
        0.9, ge=0, le=1, description="Share of lines that begin with a bullet at most. Gopher: 0.9."
    )
    max_ellipsis_lines: float = Field(
        0.3, ge=0, le=1, description="Share of lines that end with an ellipsis at most. Gopher: 0.3."
    )
    min_alphabetic_words: float = Field(
        0.8, ge=0, le=1, description="Share of words with a letter at least. Gopher: 0.8."
    )
    stop_words: list[Filled] = Field(
        ["the", "be", "to", "of", "and", "that", "have", "with"],
        description="Words that a text of this language holds. Gopher's eight English ones.",
    )
    min_stop_words: int = Field(
        2, ge=0, description="Different ones of the stop words in a document at least. Gopher: 2."
    )

    @model_validator(mode="after")
    def _something_can_be_kept(self) -> Heuristics:
        for what in ("words", "mean_word_length"):
            least, most = getattr(self, f"min_{what}"), getattr(self, f"max_{what}")
            if least > most:
                raise ValueError(f"min_{what} {least} is above max_{what} {most}: no document would be kept")
        there = len(_different(self.stop_words))
        if self.min_stop_words > there:
            raise ValueError(
                f"min_stop_words {self.min_stop_words} is above the number of different stop_words, {there}: "
                "no document would be kept"
            )
        return self


def heuristics(documents: pa.Table, options: Heuristics) -> Verdict:
    """Judges a table of DOCUMENTS.

    Reasons: too_few_words, too_many_words, short_words, long_words, hash_signs, ellipses, bullet_lines,
    ellipsis_lines, non_alphabetic_words, too_few_stop_words; evidence: the value found.
    A word is a run without white space with its punctuation: the paper does not define it. Those of punctuation alone
    do not count for the number of words and their mean length. So datatrove counts too, but with spaCy's tokens, which
    are shorter; it takes stop words in lower case only, and any line that begins with a dash for a bullet.
    """

    def rules(texts: pa.Array) -> Iterator[Rule]:
        found = words(texts)
        flat, number = pc.list_flatten(found), count(found)
        real = pc.match_substring_regex(flat, rf"[^{PUNCTUATION}]")
        real_number = total(found, real)
        yield below("too_few_words", real_number, options.min_words, "words")
        yield above("too_many_words", real_number, options.max_words, "words")
        mean_length = ratio(total(found, pc.if_else(real, pc.utf8_length(flat), 0)), real_number)
        yield below("short_words", mean_length, options.min_mean_word_length, "characters per word")
        yield above("long_words", mean_length, options.max_mean_word_length, "characters per word")
        hashes = ratio(matches(texts, "#"), number)
        yield above("hash_signs", hashes, options.max_symbol_ratio, "per word")
        ellipses = ratio(matches(texts, r"\.\.\.|…"), number)
        yield above("ellipses", ellipses, options.max_symbol_ratio, "per word")
        bullets = _share_of_lines(texts, r"^[ \t]*(?:[•‣●▪◦]|[-*] )")
        yield above("bullet_lines", bullets, options.max_bullet_lines, "(share of the lines)")
        trailing = _share_of_lines(texts, r"(?:\.\.\.|…)\s*$")
        yield above("ellipsis_lines", trailing, options.max_ellipsis_lines, "(share of the lines)")
        alphabetic = ratio(total(found, pc.match_substring_regex(flat, r"\pL")), number)
        yield below("non_alphabetic_words", alphabetic, options.min_alphabetic_words, "(share of the words)")
        held = _stop_words(texts, options)
        yield below("too_few_stop_words", held, options.min_stop_words, "different stop words")

    return verdict(documents, options, text_rules(rules))


def _share_of_lines(texts: pa.Array, pattern: str) -> pa.Array:
    """The share of each text's lines that a regular expression fits."""
    found = lines(texts)
    return ratio(total(found, pc.match_substring_regex(pc.list_flatten(found), pattern)), count(found))


def _stop_words(texts: pa.Array, options: Heuristics) -> pa.Array:
    """How many of the stop words each text holds, as whole words in any case."""
    lowered = pc.utf8_lower(texts)
    held = (
        pc.match_substring_regex(lowered, rf"(?:^|[^\pL\pN_])\Q{word}\E(?:$|[^\pL\pN_])").cast(pa.int64())
        for word in _different(options.stop_words)
    )
    return reduce(pc.add, held, pa.repeat(pa.scalar(0, pa.int64()), len(texts)))


def _different(stop_words: list[str]) -> list[str]:
    return list(dict.fromkeys(word.lower() for word in stop_words))
