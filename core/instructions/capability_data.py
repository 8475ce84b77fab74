"""Training splits of benchmarks as documents: each question with its right answer, as plain text.

Moxin's last phase trains on such (https://arxiv.org/abs/2412.06845, "capability data"; their form is not published).
The words are those of lm-eval's task of that name (EleutherAI/lm-evaluation-harness, 0.4.13, lm_eval/tasks), so that a
score measures what was trained; every document says in `meta.benchmark` which scores must be marked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson
import pyarrow as pa
from pydantic import Field, model_validator

from core.documents.mapping import Misfit, table
from core.documents.rows import Problem, Row
from core.instructions.benchmarks import Benchmark, tasks_of
from core.instructions.multiple_choice import (
    Answers,
    Columns,
    Item,
    answered,
    asked,
    items,
    problem,
    text_of,
)
from core.instructions.multiple_choice_layouts import Layout, LayoutName, columns_of
from core.instructions.worked_examples import check_prompt, filled
from core.options import Options


class Solved(NamedTuple):
    """A benchmark of questions with worked answers: the columns, and how it is asked."""

    question: str
    answer: str
    prompt: str


LAYOUT_OF: dict[Benchmark, LayoutName] = {  # where the recipe says none: the hub's
    "arc_challenge": "arc_hub",
    "arc_easy": "arc_hub",
    "boolq": "boolq",
    "commonsense_qa": "commonsenseqa_hub",
    "hellaswag": "hellaswag",
    "mmlu": "mmlu",
    "openbookqa": "openbookqa_hub",
    "piqa": "piqa",
    "siqa": "siqa",
    "winogrande": "winogrande",
}
SOLVED: dict[Benchmark, Solved] = {
    "gsm8k": Solved("question", "answer", "Question: {question}\nAnswer:"),
    "math": Solved("problem", "solution", "Problem: {question}\nAnswer:"),
}


class CapabilityData(Options):
    """Rows of a benchmark's training split, as the text of each question with its right answer."""

    benchmark: Benchmark = Field(description="What the rows are of: scores on its tasks are marked as trained on.")
    layout: Layout | None = Field(
        None, description="The columns of the rows: a known layout by its name, or the columns; none: as on the hub."
    )
    prompt: str | None = Field(
        None,
        description="How a question is asked: {question}, {before}, and {choices} for the list; none: as in lm-eval.",
    )
    answers: Answers | None = Field(
        None, description="What is answered: the text of the right choice, or its letter; none: as in lm-eval."
    )

    @model_validator(mode="after")
    def _fits_the_benchmark(self) -> CapabilityData:
        if self.benchmark in SOLVED and (self.layout is not None or self.answers is not None):
            raise ValueError(f"{self.benchmark} has no choices: layout and answers are not for it")
        if self.benchmark not in SOLVED:
            _ = self.columns
        elif self.prompt is not None:
            check_prompt(self.prompt, ["question"])
        return self

    @property
    def columns(self) -> Columns:
        """The columns of a benchmark of multiple choice. Raises ValueError where the prompt does not go with them."""
        return columns_of(self.layout or LAYOUT_OF[self.benchmark], self.prompt, self.answers)

    @property
    def needed(self) -> set[str]:
        """The columns that are read."""
        if solved := SOLVED.get(self.benchmark):
            return {solved.question, solved.answer}
        return self.columns.needed


def capability_documents(
    rows: Sequence[Row], options: CapabilityData, source: str, file: int
) -> tuple[pa.Table, list[Problem]]:
    """The rows as DOCUMENTS of text, in order, and the problems of rows that do not fit.

    source: the source's name; file: the file's number, for ids. `meta` holds item (the row's own id, or its number)
    and benchmark: the lm-eval tasks that a model trained on it must be marked for, as `benchmarks.trained_on` reads.
    """
    made: list[tuple[Row, str, str]]
    if solved := SOLVED.get(options.benchmark):
        made, problems = _solved(rows, solved._replace(prompt=options.prompt or solved.prompt))
    else:
        columns = options.columns
        found, problems = items(rows, columns)
        made = [(row, item.id, _said(item, columns)) for row, item in found]
    benchmark = tasks_of(options.benchmark)
    documents = [
        {
            "id": f"{source}:{file}:{row.number}",
            "text": said,
            "meta": orjson.dumps({"item": id_, "benchmark": benchmark}).decode(),
        }
        for row, id_, said in made
    ]
    return table(documents, source), problems


def _said(item: Item, columns: Columns) -> str:
    return f"{asked(item, columns)} {answered(item, item.answer, columns)}"


def _solved(rows: Sequence[Row], solved: Solved) -> tuple[list[tuple[Row, str, str]], list[Problem]]:
    made = []
    problems = []
    for row in rows:
        try:
            question = filled(solved.prompt, {"question": text_of(row.value, solved.question)})
            made.append((row, str(row.number), f"{question} {text_of(row.value, solved.answer)}"))
        except Misfit as misfit:
            problems.append(problem(row, misfit))
    return made, problems
