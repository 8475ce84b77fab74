"""How many instances are taken, by how well a base model answers them.

Birbal: Jindal et al. 2024, https://openreview.net/forum?id=wGvflAGX5b, section 3.3, "Sampling"; its code is `data_prep`
of https://github.com/Upaya07/NeurIPS-llm-efficiency-challenge. Defaults are what the paper states, and where it states
nothing, the code's; where the two differ, both are given.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from pydantic import Field, model_validator

from core.options import Options

Quota = Annotated[int, Field(ge=0)]
Part = Annotated[float, Field(ge=0, le=1)]


class ExactMatchSample(Options):
    """Of tasks scored by exact match: so many instances of each, by the task's accuracy."""

    quotas: list[Quota] = Field(
        [350, 350, 300, 300, 250, 250, 200, 150, 100, 50],
        min_length=10,
        max_length=10,
        description="Instances of a task with accuracy in [0, .1), [.1, .2) ... [.9, 1]; the code's numbers, the paper "
        "says more at lower accuracy.",
    )
    multiplier: float = Field(
        1.0,
        gt=0,
        description="Of all quotas, rounded down. The code has 1; what the larger mixes took is not published.",
    )
    min_accuracy: Part = Field(
        0.0,
        description="Tasks with less are left out. The paper leaves some out and does not say which; the code none.",
    )
    only_wrong: bool = Field(
        False, description="Only instances that the model got wrong, as the code; the paper does not say so."
    )
    max_words: int | None = Field(
        800,
        ge=1,
        description="Instruction and input together have fewer words than this (counted by single spaces); the code's.",
    )
    total: int | None = Field(
        50_000,
        ge=0,
        description="Drawn of all that the tasks gave: 50,000 for 200K; 110,000 for 400K, 220,000 for 700K.",
    )


class GenerationSample(Options):
    """Of tasks scored by ROUGE-L: such a part of each task's instances, by their own score."""

    edges: list[Part] = Field(
        [0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8],
        min_length=2,
        description="Buckets of scores, each from an edge up to the next, which is not in it. What reaches the last "
        "is left out: the model can do it.",
    )
    shares: list[Part] = Field(
        [0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1],
        min_length=1,
        description="Part taken of each bucket of a task, rounded down. The code has .8 and .2 for .4 and .1.",
    )
    single_gold: bool = Field(
        True, description="Only instances with exactly one right answer, as the code; looked at after the shares."
    )
    max_words: int | None = Field(
        1100,
        ge=1,
        description="The input has at most so many words (counted by single spaces), as the code; after the shares.",
    )
    total: int | None = Field(
        50_000,
        ge=0,
        description="Drawn of all that the tasks gave: 50,000 for 200K; 110,000 for 400K, 220,000 for 700K.",
    )

    @model_validator(mode="after")
    def _a_share_for_each_bucket(self) -> GenerationSample:
        if any(low >= high for low, high in pairwise(self.edges)) or self.edges[0] != 0:
            raise ValueError(f"edges must ascend from 0; found {self.edges}")
        if len(self.shares) != len(self.edges) - 1:
            raise ValueError(
                f"{len(self.edges)} edges make {len(self.edges) - 1} buckets; found {len(self.shares)} shares"
            )
        return self


class SampleByScore(Options):
    """What is taken of instances that a base model has answered."""

    sources: list[str] | None = Field(
        None, min_length=1, description="Sources of natural_instructions that are drawn from; without it, all of them."
    )
    scores: str | None = Field(
        None,
        min_length=1,
        description="Parquet file of scores made before; without it, those of the run's infer stage.",
    )
    exact_match: ExactMatchSample | None = Field(
        ExactMatchSample(), description="Of tasks scored by exact match; null: nothing of them."
    )
    generation: GenerationSample | None = Field(
        GenerationSample(), description="Of tasks scored by ROUGE-L; null: nothing of them."
    )
