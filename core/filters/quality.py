"""Drops documents that a classifier finds less like good examples than like ordinary ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from core.documents.ledger import Verdict
from core.documents.source import Source
from core.documents.table import content
from core.errors import DataError
from core.filters.fasttext_model import labels, load_fasttext, probabilities
from core.filters.judging import Filter, judge
from core.filters.quality_model import QualityModel, QualityTraining, score
from core.options import Options


class QualityExamples(Options):
    """What a classifier is trained from. DCLM: OpenHermes 2.5 and ELI5 against web pages."""

    positive: dict[str, Source] = Field(min_length=1, description="Sources of good documents, by name.")
    negative: dict[str, Source] = Field(min_length=1, description="Sources of ordinary documents, by name.")

    @model_validator(mode="after")
    def _names_differ(self) -> QualityExamples:
        both = [name for name in self.positive if name in self.negative]
        if both:
            raise ValueError(f"positive and negative both name {', '.join(both)}: give their sources different names")
        return self


class Quality(Filter):
    """A quality classifier, as DCLM's (Li et al. 2024, arXiv:2406.11794, section 4.4): trained here, or fastText's."""

    train: QualityExamples | None = Field(None, description="Examples to train a classifier from.")
    training: QualityTraining = Field(QualityTraining(), description="How it is trained.")
    model: str | None = Field(None, min_length=1, description="Path of a supervised fastText model (.bin, .ftz).")
    label: str = Field(
        "__label__hq", min_length=1, description="The fastText model's label of good documents. DCLM's: __label__hq."
    )
    min_score: float | None = Field(None, ge=0, le=1, description="Probability of being good at least.")
    top_fraction: float | None = Field(
        None, gt=0, le=1, description="Share of the documents that is kept, those with the best scores. DCLM: 0.1."
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Quality:
        if (self.train is None) == (self.model is None):
            raise ValueError("quality needs exactly one of train (examples) and model (a fastText file)")
        if (self.min_score is None) == (self.top_fraction is None):
            raise ValueError("quality needs exactly one of min_score and top_fraction")
        return self


@dataclass(frozen=True)
class FastTextQuality:
    """A supervised fastText model, by its path, and its label of good documents."""

    path: str
    label: str

    def check(self) -> None:
        """Raises DataError if the file is no such model or does not know the label, ResourceError without fastText."""
        known = labels(load_fasttext(self.path))
        if self.label not in known:
            shown = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
            raise DataError(
                f"{self.path}: the model has no label {self.label}; it has {shown}: set `label` to one of them"
            )


def quality_scores(texts: pa.LargeStringArray, model: QualityModel | FastTextQuality) -> NDArray[np.float32]:
    """The probability that each text is good, float32[rows]. A fastText model is loaded once per process."""
    if isinstance(model, QualityModel):
        return score(texts, model)
    return np.array(probabilities(load_fasttext(model.path), texts, model.label), np.float32)


def quality(documents: pa.Table, options: Quality, model: QualityModel | FastTextQuality) -> Verdict:
    """Judges a table of DOCUMENTS by `min_score`. Reason: low_quality; evidence: the score.

    With `top_fraction` the least score to keep is that of the whole corpus: ask `quality_scores`.
    """
    if options.min_score is None:
        raise ValueError("without min_score a document cannot be judged alone")
    least = np.float32(options.min_score)

    def judged(chosen: pa.Table) -> Verdict:
        scores = pa.array(quality_scores(content(chosen), model))
        low = pc.less(scores, pa.scalar(least))
        shown = pc.round(scores.cast(pa.float64()), 3).cast(pa.string())
        return Verdict(pc.if_else(low, "low_quality", None), pc.if_else(low, shown, None))

    return judge(documents, options, judged)
