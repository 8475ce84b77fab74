"""Drops documents that are too short or too long."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pydantic import Field, model_validator

from core.documents.ledger import Verdict
from core.filters.counting import PUNCTUATION, SPACE, characters, characters_but, count, words
from core.filters.judging import Filter, Rule, above, below, text_rules, verdict


class Length(Filter):
    """Bounds on the size of a document: all its text, the turns of a dialogue together. None is set by default."""

    min_characters: int | None = Field(None, ge=0, description="Characters (code points) at least.")
    max_characters: int | None = Field(None, ge=1, description="Characters (code points) at most.")
    min_words: int | None = Field(None, ge=0, description="Words (runs without white space) at least.")
    max_words: int | None = Field(None, ge=1, description="Words (runs without white space) at most.")
    min_letters: int | None = Field(
        None,
        ge=0,
        description="Characters at least once punctuation, spaces, newlines and tabs are removed. SlimPajama: 200.",
    )

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Length:
        pairs = {
            "characters": (self.min_characters, self.max_characters),
            "words": (self.min_words, self.max_words),
        }
        for what, (least, most) in pairs.items():
            if least is not None and most is not None and least > most:
                raise ValueError(f"min_{what} {least} is above max_{what} {most}: no document would be kept")
        if all(bound is None for pair in pairs.values() for bound in pair) and self.min_letters is None:
            raise ValueError(
                "no bound is given: set min_characters, max_characters, min_words, max_words or min_letters"
            )
        return self


def length(documents: pa.Table, options: Length) -> Verdict:
    """Judges a table of DOCUMENTS.

    Reasons: too_short, too_long (characters), too_few_words, too_many_words, too_few_letters.
    Evidence: the count.
    The rule of letters: SlimPajama, https://www.cerebras.ai/blog/slimpajama, "low-length documents".
    """

    def rules(texts: pa.Array) -> Iterator[Rule]:
        if options.min_characters is not None:
            yield below("too_short", characters(texts), options.min_characters, "characters")
        if options.max_characters is not None:
            yield above("too_long", characters(texts), options.max_characters, "characters")
        if options.min_words is not None:
            yield below("too_few_words", count(words(texts)), options.min_words, "words")
        if options.max_words is not None:
            yield above("too_many_words", count(words(texts)), options.max_words, "words")
        if options.min_letters is not None:
            letters = characters_but(texts, SPACE + PUNCTUATION)
            yield below("too_few_letters", letters, options.min_letters, "letters")

    return verdict(documents, options, text_rules(rules))
