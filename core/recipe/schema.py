"""A recipe: what the rooms declare, composed."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from core.dedup.bloom import BloomDedup
from core.dedup.decontaminate import Decontaminate
from core.dedup.exact import ExactDedup
from core.dedup.minhash import MinhashDedup
from core.dedup.substring import SubstringDedup
from core.documents.mixture import Mixture, check_shares
from core.evaluation.options import Evaluate
from core.filters.c4 import C4
from core.filters.code import Code
from core.filters.fineweb import FineWeb
from core.filters.heuristics import Heuristics
from core.filters.language import Language
from core.filters.length import Length
from core.filters.lower_case import LowerCase
from core.filters.metadata import Metadata
from core.filters.personal_data import PersonalData
from core.filters.phrases import Phrases
from core.filters.quality import Quality
from core.filters.refusals import Refusals
from core.filters.repetition import Repetition
from core.instructions.corrupted_solutions import CorruptedSolutions
from core.instructions.few_shot import FewShot
from core.instructions.preference_pairs import PreferencePairs
from core.instructions.score_sampling_options import SampleByScore
from core.instructions.source import InstructionSource
from core.models.options import Model
from core.options import Options
from core.planning.options import Resources
from core.reporting.options import Report
from core.training.options import Phase
from core.tuning.options import Sweep

NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
Name = Annotated[str, StringConstraints(pattern=NAME)]


class Step(Options):
    """One curation step: a single key, its name, with its settings ({} for the defaults)."""

    length: Length | None = None
    heuristics: Heuristics | None = None
    repetition: Repetition | None = None
    c4: C4 | None = None
    fineweb: FineWeb | None = None
    language: Language | None = None
    code: Code | None = None
    refusals: Refusals | None = None
    personal_data: PersonalData | None = None
    quality: Quality | None = None
    metadata: Metadata | None = None
    phrases: Phrases | None = None
    lower_case: LowerCase | None = None
    exact_dedup: ExactDedup | None = None
    minhash_dedup: MinhashDedup | None = None
    bloom_dedup: BloomDedup | None = None
    substring_dedup: SubstringDedup | None = None
    decontaminate: Decontaminate | None = None
    sample_by_score: SampleByScore | None = None
    corrupted_solutions: CorruptedSolutions | None = None
    preference_pairs: PreferencePairs | None = None

    @model_validator(mode="after")
    def _one_step(self) -> Self:
        if len(self.model_fields_set) != 1 or self.options is None:
            raise ValueError(f"a step has exactly one of the keys {', '.join(Step.model_fields)}")
        return self

    @property
    def kind(self) -> str:
        """The step's name, e.g. "minhash_dedup"."""
        return next(iter(self.model_fields_set))

    @property
    def options(self) -> Any:
        """The settings under that name."""
        return getattr(self, self.kind)


class Data(Options):
    """Where documents come from, the steps that clean them in order, and how much of each source is kept."""

    sources: dict[Name, InstructionSource] = Field(min_length=1)
    steps: list[Step] = Field([], description="Carried out in this order.")
    mixture: Mixture | None = Field(
        None,
        description="How much of each source, drawn by seed: a number of documents, all, or {documents | fraction | "
        "tokens | share}; none: all of every source.",
    )
    mixture_tokens: int | None = Field(
        None,
        ge=1,
        description="Tokens of the whole mixture, of which shares are taken; without it, as many as there are.",
    )

    @model_validator(mode="after")
    def _shares_can_be_met(self) -> Self:
        check_shares(self.mixture or {}, self.mixture_tokens)
        return self


class Recipe(Options):
    """The whole of a recipe, resolved: scale and overrides applied."""

    name: Name = Field(description="The run's name too, unless the command says another.")
    description: str = Field("", description="What `raycipe recipes` and the page say of it.")
    seed: int = Field(42, ge=0, description="Of all that is drawn: samples, order, initial weights, dropout.")
    model: Model
    data: Data
    infer: FewShot | None = Field(None, description="Few-shot scoring of instructions, for the step sample_by_score.")
    train: dict[Name, Phase] = Field(min_length=1, description="Phases in order, each from the last one's weights.")
    sweep: Sweep | None = None
    evaluate: Evaluate | None = None
    report: Report = Report()
    resources: Resources = Resources()
