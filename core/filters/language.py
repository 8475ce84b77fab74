"""Drops documents in other languages, told by a fastText model."""

from __future__ import annotations

import difflib

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from core.documents.ledger import Verdict
from core.documents.table import content
from core.errors import DataError
from core.filters.fasttext_model import carried_model, labels, load_fasttext, predictions
from core.filters.judging import Filled, Filter, judge

PREFIX = "__label__"  # of fastText's labels


class Language(Filter):
    """Language identification with fastText's lid.176 (arXiv:1607.01759, arXiv:1612.03651), as CCNet and FineWeb do."""

    languages: list[Filled] = Field(
        min_length=1, description="Codes of the languages that are kept, as the model has them, e.g. [en, de]."
    )
    min_score: float = Field(
        0.65, ge=0, le=1, description="The model's probability of the language at least. FineWeb: 0.65."
    )
    model: str | None = Field(
        None,
        min_length=1,
        description="Path of a fastText model (.bin, .ftz); without it lid.176.ftz, installed along.",
    )
    max_characters: int | None = Field(
        None,
        ge=1,
        description="Characters of a document, from its beginning, that the model is shown; null: all, as FineWeb. "
        "With 2000 it takes half the time and tells one document in a hundred otherwise.",
    )


def check_language(options: Language) -> None:
    """Raises DataError for a code that the model does not have, and as `language` does."""
    path = options.model or carried_model()
    known = [label.removeprefix(PREFIX) for label in labels(load_fasttext(path))]
    for code in options.languages:
        if code not in known:
            nearest = _nearest(code, known)
            hint = f"; did you mean '{nearest}'?" if nearest else "."
            shown = ", ".join(known[:200]) + (", ..." if len(known) > 200 else "")
            raise DataError(f"language.languages: {path} does not know '{code}'{hint} It knows {shown}")


def _nearest(code: str, known: list[str]) -> str | None:
    """The code that was probably meant: en for EN, eng, en-US, English, __label__en."""
    bare = code.lower().removeprefix(PREFIX)
    related = [each for each in known if bare.startswith(each.lower()) or each.lower().startswith(bare)]
    if related:
        return min(related, key=lambda each: abs(len(each) - len(bare)))
    return next(iter(difflib.get_close_matches(bare, known, n=1)), None)


def language(documents: pa.Table, options: Language) -> Verdict:
    """Judges a table of DOCUMENTS; labels: the language found, of every document that is judged, kept or not.

    Reasons: other_language, uncertain_language (the language is one of those, but its probability is too small);
    evidence: the language and its probability. A document without a letter is uncertain, its label null.
    The model is shown one line: newlines become spaces.
    Raises DataError if the model file cannot be read, ResourceError if the package is missing.
    """

    def judged(chosen: pa.Table) -> Verdict:
        model = load_fasttext(options.model or carried_model())
        texts = content(chosen)
        if options.max_characters is not None:
            texts = pc.utf8_slice_codeunits(texts, 0, options.max_characters)
        found = predictions(model, texts)
        codes = pa.array([label.removeprefix(PREFIX) if label else None for label, _ in found], pa.string())
        scores = pa.array([score for _, score in found], pa.float64())
        wanted = pc.fill_null(pc.is_in(codes, value_set=pa.array(options.languages, pa.string())), False)
        certain = pc.greater_equal(scores, options.min_score)
        other = pc.and_(pc.is_valid(codes), pc.invert(wanted))
        reason = pc.if_else(other, "other_language", pc.if_else(certain, None, "uncertain_language"))
        shown = pc.binary_join_element_wise(codes, pc.round(scores, 3).cast(pa.string()), " ")
        shown = pc.coalesce(shown, "no language found")
        return Verdict(reason, pc.if_else(pc.is_valid(reason), shown, None), labels=codes)

    return judge(documents, options, judged)
