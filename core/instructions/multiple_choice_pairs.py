"""Preference pairs from multiple choice: the right choice against each wrong one.

As Smaug's (Pal et al. 2024, https://arxiv.org/abs/2402.13228; data sets abacusai/ARC_DPO_FewShot and
HellaSwag_DPO_FewShot): a question with k choices gives k - 1 pairs. Their sizes follow from the splits: HellaSwag's
39,905 training and 10,042 validation questions have four endings each, 3 x 39,905 = 119,715 and 3 x 10,042 = 30,126;
ARC-Challenge's 1,119 training questions give 3 x 1,119 = 3,357, and its 299 validation questions 895 = 3 x 299 - 2:
a few must have three or five choices, in training as many the one as the other. The names say that prompts hold worked
examples; how many, and in what words, is not documented: here the words are those of lm-eval, by which such
models are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa
from pydantic import Field, model_validator

from core.artifacts.seeds import derive_seed
from core.documents.mapping import table
from core.documents.rows import Problem, Row
from core.instructions.benchmarks import Benchmark, tasks_of
from core.instructions.multiple_choice import Answers, Columns, answered, asked, items
from core.instructions.multiple_choice_layouts import Layout, columns_of
from core.instructions.worked_examples import Example, Shots, check_shots, with_examples
from core.options import Options


class MultipleChoicePairs(Options):
    """One preference pair for each wrong choice of a multiple-choice question."""

    layout: Layout = Field(description="The columns of the rows: a known layout by its name, or the columns.")
    prompt: str | None = Field(
        None,
        description="How a question is asked: {question}, {before}, and {choices} for the list; none: the layout's.",
    )
    answers: Answers | None = Field(
        None, description="What is chosen and rejected: the text of a choice, or its letter; none: the layout's own."
    )
    few_shot: Shots = Field(
        0,
        description="Answered questions before each, drawn by seed: so many, or [least, most]. Smaug's number is not "
        "documented.",
    )
    benchmark: Benchmark | None = Field(
        None, description="What the rows are of: scores of models trained on them are marked for its tasks."
    )

    @model_validator(mode="after")
    def _prompt_fits_the_columns(self) -> MultipleChoicePairs:
        _ = self.columns
        check_shots(self.few_shot)
        return self

    @property
    def columns(self) -> Columns:
        """The layout's columns, with this prompt and these answers. Raises ValueError where they do not go together."""
        return columns_of(self.layout, self.prompt, self.answers)


def multiple_choice_pairs(
    rows: Sequence[Row],
    options: MultipleChoicePairs,
    source: str,
    file: int,
    seed: int = 0,
    examples: Sequence[Example] = (),
) -> tuple[pa.Table, list[Problem]]:
    """Pairs of all rows as DOCUMENTS, in order, and the problems of rows that are no questions.

    source: the source's name; file: the file's number; examples: what `worked_examples` makes of the rows that are
    drawn from, the same for every batch, so that a row's pairs depend on the row and the seed alone.
    A pair's id is {source}:{file}:{row}:{index of the wrong choice}; `meta` holds item, wrong (that index) and, where
    it is declared, benchmark. Raises DataError where there are fewer other questions than `few_shot` asks for.
    """
    columns = options.columns
    found, problems = items(rows, columns)
    benchmark = {} if options.benchmark is None else {"benchmark": tasks_of(options.benchmark)}
    made: list[dict[str, Any]] = []
    for row, item in found:
        prompt = asked(item, columns)
        prompt = with_examples(prompt, examples, options.few_shot, derive_seed(seed, "few_shot", prompt), " ")
        made += [
            {
                "id": f"{source}:{file}:{row.number}:{wrong}",
                "prompt": prompt,
                "chosen": answered(item, item.answer, columns),
                "rejected": answered(item, wrong, columns),
                "meta": orjson.dumps({"item": item.id, "wrong": wrong, **benchmark}).decode(),
            }
            for wrong in range(len(item.choices))
            if wrong != item.answer
        ]
    return table(made, source), problems


def worked_examples(rows: Sequence[Row], options: MultipleChoicePairs) -> list[Example]:
    """The questions of rows with their right choices, to be drawn from as examples; rows that are none are left out."""
    found, _ = items(rows, options.columns)
    columns = options.columns
    return [Example(asked(item, columns), answered(item, item.answer, columns)) for _, item in found]
