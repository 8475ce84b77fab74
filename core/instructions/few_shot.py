"""Few-shot prompts for the instances of a task, and what of a model's continuation is its answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pyarrow as pa
from pydantic import Field

from core.instructions.natural_instructions import Instance, Task
from core.instructions.scoring_labels import Scoring
from core.instructions.task_documents import words
from core.options import Options

PROMPTS = pa.schema(
    [
        ("task", pa.string()),
        ("id", pa.string()),  # of the instance
        ("scoring", pa.string()),  # exact_match or generation
        ("prompt", pa.large_string()),
        ("shots", pa.int64()),  # worked examples in the prompt
        ("golds", pa.list_(pa.large_string())),  # every answer that counts as right
        ("instruction_words", pa.int64()),
        ("input_words", pa.int64()),
    ]
)


class FewShot(Options):
    """How a model is asked a task's questions."""

    shots: int = Field(
        2,
        ge=0,
        description="Worked examples in a prompt, at most; 2 as Tk-Instruct (Birbal's number was not published).",
    )


def few_shot_prompt(task: Task, instance: Instance, shots: int, fits: Callable[[str], bool] | None = None) -> str:
    """The definition, at most `shots` of the task's positive examples, and the input, up to "Output:".

    Birbal's prompts were not published. This is the layout of Natural Instructions' own models (Wang et al. 2022,
    appendix; `ni_collator.py` of https://github.com/yizhongw/Tk-Instruct), without the full stop that it puts behind
    answers: a model would learn it, and miss the exact match. As there, an example is taken while the prompt fits.
    Between examples is a blank line and within their answers none, so that the answer ends at the first blank line.
    fits: whether a prompt is short enough for the model; one without any example is returned whatever it says.
    """
    return _prompt(task, instance, _shots_that_fit(task, instance, shots, fits))


def few_shot_prompts(
    task: Task,
    instances: Sequence[Instance],
    scoring: Scoring,
    options: FewShot,
    fits: Callable[[str], bool] | None = None,
) -> pa.Table:
    """PROMPTS of a task's instances (those of `task_documents`), a row each, in order."""
    shots = [_shots_that_fit(task, instance, options.shots, fits) for instance in instances]
    columns = {
        "task": [task.name] * len(instances),
        "id": [instance.id for instance in instances],
        "scoring": [scoring] * len(instances),
        "prompt": [_prompt(task, instance, count) for instance, count in zip(instances, shots, strict=True)],
        "shots": shots,
        "golds": [instance.outputs for instance in instances],
        "instruction_words": [words(task.definition)] * len(instances),
        "input_words": [words(instance.input) for instance in instances],
    }
    return pa.table(columns, schema=PROMPTS)


def prediction(continuation: str) -> str:
    """What a model answers: its text before the first blank line, stripped."""
    return continuation.split("\n\n", 1)[0].strip()


def _shots_that_fit(task: Task, instance: Instance, shots: int, fits: Callable[[str], bool] | None) -> int:
    most = min(shots, len(task.examples))
    if fits is None:
        return most
    return next((count for count in range(most, 0, -1) if fits(_prompt(task, instance, count))), 0)


def _prompt(task: Task, instance: Instance, shots: int) -> str:
    examples = (
        f"Positive Example {number} -\nInput: {given.strip()}\nOutput: {_without_blank_lines(answer)}\n\n"
        for number, (given, answer) in enumerate(task.examples[:shots], start=1)
    )
    question = f"Now complete the following example -\nInput: {instance.input.strip()}\nOutput:"
    return f"Definition: {task.definition.strip()}\n\n{''.join(examples)}{question}"


def _without_blank_lines(text: str) -> str:
    return re.sub(r"\n\s*\n", "\n", text.strip())
