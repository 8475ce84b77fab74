"""Few-shot prompts for the instances of a task, and what of a model's continuation is its answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

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


Layout = Literal["birbal", "tk_instruct"]
PREAMBLE = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request."
)


class FewShot(Options):
    """Few-shot scoring: the recipe's base model answers every instance of Natural Instructions' selected tasks."""

    sources: list[str] | None = Field(
        None, min_length=1, description="Sources of natural_instructions; without it, all of them."
    )
    layout: Layout = Field(
        "birbal", description="How a prompt is written: as Birbal's, or as those of Natural Instructions' own models."
    )
    shots: int = Field(
        4,
        ge=0,
        description="Worked examples in a prompt, at most: 4 in the one prompt that Birbal shows; Tk-Instruct 2.",
    )
    max_new_tokens: int = Field(
        128, ge=1, description="Tokens that the model may write; it stops at a blank line. 128 as Tk-Instruct."
    )
    max_prompt_tokens: int | None = Field(
        None, ge=1, description="Longest prompt; none: what the model's length leaves. Examples are left out to fit."
    )
    batch_size: int = Field(32, ge=1, description="Prompts run together.")
    backend: Literal["transformers", "vllm"] = Field(
        "transformers", description="vllm: Ray Data's LLM processor, on GPUs; `pip install raycipe[vllm]`."
    )


def few_shot_prompt(
    task: Task, instance: Instance, shots: int, layout: Layout = "birbal", fits: Callable[[str], bool] | None = None
) -> str:
    """The definition, at most `shots` of the task's positive examples, and the input, up to where the answer begins.

    birbal: as the README of https://github.com/Upaya07/NeurIPS-llm-efficiency-challenge shows it. tk_instruct: as
    Natural Instructions' own models (Wang et al. 2022, appendix; `ni_collator.py` of
    https://github.com/yizhongw/Tk-Instruct), without the full stop that it puts behind answers: a model would learn
    it, and miss the exact match. An example is taken while the prompt fits. Between examples is a blank line and
    within their answers none, so that the answer ends at the first blank line.
    fits: whether a prompt is short enough for the model; one without any example is returned whatever it says.
    """
    return _prompt(task, instance, _shots_that_fit(task, instance, shots, layout, fits), layout)


def few_shot_prompts(
    task: Task,
    instances: Sequence[Instance],
    scoring: Scoring,
    options: FewShot,
    fits: Callable[[str], bool] | None = None,
) -> pa.Table:
    """PROMPTS of a task's instances (those of `task_documents`), a row each, in order."""
    layout = options.layout
    shots = [_shots_that_fit(task, instance, options.shots, layout, fits) for instance in instances]
    columns = {
        "task": [task.name] * len(instances),
        "id": [instance.id for instance in instances],
        "scoring": [scoring] * len(instances),
        "prompt": [_prompt(task, each, count, layout) for each, count in zip(instances, shots, strict=True)],
        "shots": shots,
        "golds": [instance.outputs for instance in instances],
        "instruction_words": [words(task.definition)] * len(instances),
        "input_words": [words(instance.input) for instance in instances],
    }
    return pa.table(columns, schema=PROMPTS)


def prediction(continuation: str) -> str:
    """What a model answers: its text before the first blank line, stripped."""
    return continuation.split("\n\n", 1)[0].strip()


def _shots_that_fit(
    task: Task, instance: Instance, shots: int, layout: Layout, fits: Callable[[str], bool] | None
) -> int:
    most = min(shots, len(task.examples))
    if fits is None:
        return most
    return next((count for count in range(most, 0, -1) if fits(_prompt(task, instance, count, layout))), 0)


def _prompt(task: Task, instance: Instance, shots: int, layout: Layout) -> str:
    examples = [(given.strip(), _without_blank_lines(answer)) for given, answer in task.examples[:shots]]
    definition, asked = task.definition.strip(), instance.input.strip()
    if layout == "birbal":
        shown = [f"### Input:\n{given}\n\n### Response:\n{answer}\n\n" for given, answer in examples]
        instruction = f"{PREAMBLE}\n\n### Instruction:\n{definition}\n\n"
        return f"{instruction}{''.join(shown)}### Input:\n{asked}\n\n### Response:\n"
    shown = [
        f"Positive Example {number} -\nInput: {given}\nOutput: {answer}\n\n"
        for number, (given, answer) in enumerate(examples, start=1)
    ]
    return f"Definition: {definition}\n\n{''.join(shown)}Now complete the following example -\nInput: {asked}\nOutput:"


def _without_blank_lines(text: str) -> str:
    return re.sub(r"\n\s*\n", "\n", text.strip())
