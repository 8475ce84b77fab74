"""Training splits of benchmarks as documents: each question with its right answer, as plain text or as a dialogue.

Moxin's last phase trains on such texts (https://arxiv.org/abs/2412.06845, "capability data"; their form is not
published). Birbal makes dialogues of OpenBookQA, the same instruction before every question and the text of the right
choice as answer (https://github.com/Upaya07/NeurIPS-llm-efficiency-challenge, data_prep/combine_datasets.py; how the
choices were listed is not published).
The words are those of lm-eval's task of that name (EleutherAI/lm-evaluation-harness, 0.4.13, lm_eval/tasks), so that a
score measures what was trained; every document says in `meta.benchmark` which scores must be marked for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import orjson
import pyarrow as pa
from pydantic import Field, model_validator

from core.documents.mapping import Misfit, table
from core.documents.rows import Problem, Row
from core.instructions.benchmarks import Benchmark, tasks_of
from core.instructions.multiple_choice import (
    Answers,
    Columns,
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


class Said(NamedTuple):
    """A question as it is asked, and its right answer."""

    question: str
    answer: str


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
    """Rows of a benchmark's training split, each question with its right answer."""

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
    form: Literal["text", "dialogue"] = Field(
        "text", description="text: question and answer are one text; dialogue: what the user and the assistant say."
    )
    instruction: str | None = Field(
        None, min_length=1, description="The system's turn before every question, with form: dialogue."
    )

    @model_validator(mode="after")
    def _fits_the_benchmark(self) -> CapabilityData:
        if self.benchmark in SOLVED and (self.layout is not None or self.answers is not None):
            raise ValueError(f"{self.benchmark} has no choices: layout and answers are not for it")
        if self.benchmark not in SOLVED:
            _ = self.columns
        elif self.prompt is not None:
            check_prompt(self.prompt, ["question"])
        if self.instruction is not None and self.form != "dialogue":
            raise ValueError("instruction goes with form: dialogue, of which it is a turn")
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
    """The rows as DOCUMENTS of text or dialogues, in order, and the problems of rows that do not fit.

    source: the source's name; file: the file's number, for ids. `meta` holds item (the row's own id, or its number)
    and benchmark: the lm-eval tasks that a model trained on it must be marked for, as `benchmarks.trained_on` reads.
    """
    made: list[tuple[Row, str, Said]]
    if solved := SOLVED.get(options.benchmark):
        made, problems = _solved(rows, solved._replace(prompt=options.prompt or solved.prompt))
    else:
        columns = options.columns
        found, problems = items(rows, columns)
        made = [(row, item.id, Said(asked(item, columns), answered(item, item.answer, columns))) for row, item in found]
    benchmark = tasks_of(options.benchmark)
    documents = [
        {
            "id": f"{source}:{file}:{row.number}",
            **_document(said, options),
            "meta": orjson.dumps({"item": id_, "benchmark": benchmark}).decode(),
        }
        for row, id_, said in made
    ]
    return table(documents, source), problems


def _document(said: Said, options: CapabilityData) -> dict[str, Any]:
    if options.form == "text":
        return {"text": f"{said.question} {said.answer}"}
    system = [] if options.instruction is None else [{"role": "system", "content": options.instruction}]
    turns = [{"role": "user", "content": said.question}, {"role": "assistant", "content": said.answer}]
    return {"messages": system + turns}


def _solved(rows: Sequence[Row], solved: Solved) -> tuple[list[tuple[Row, str, Said]], list[Problem]]:
    made = []
    problems = []
    for row in rows:
        try:
            question = filled(solved.prompt, {"question": text_of(row.value, solved.question)})
            made.append((row, str(row.number), Said(question, text_of(row.value, solved.answer))))
        except Misfit as misfit:
            problems.append(problem(row, misfit))
    return made, problems
