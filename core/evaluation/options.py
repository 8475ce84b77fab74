"""What a recipe can ask of its evaluation."""

from __future__ import annotations

from pydantic import Field

from core.options import Options


class Evaluate(Options):
    """Which models are scored by lm-eval, on which tasks."""

    tasks: list[str] = Field(
        min_length=1,
        description="lm-eval tasks and groups by name, those of task_files, and Raycipe's own: skills_choice and "
        "skills_generate (held-out questions of the skills generator), arc_local (multiple choice from a file).",
    )
    task_files: list[str] = Field([], description="YAML files of further lm-eval tasks.")
    data: dict[str, dict[str, str]] = Field(
        {},
        description="Local files in place of a hub's: {task or hub data set: {split: file}}; JSON lines, also .gz.",
    )
    models: list[str] | None = Field(None, description="base, and names of training phases; none: base and the last.")
    compare: list[str] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="Two of the models: how much better the second is than the first, on the same questions, with a "
        "95 % interval; none: the first and the last.",
    )
    clusters: dict[str, str] = Field(
        {},
        description="{task: field of its documents} that questions with a common passage share: their errors are not "
        "independent. Known beforehand for boolq, drop, multirc, race, record and squadv2.",
    )
    few_shot: int | None = Field(None, ge=0, description="Examples before each question; none: the task's own number.")
    limit: int | None = Field(None, ge=1, description="Questions per task; none: all.")
    batch_size: int = Field(16, ge=1, description="Requests run together.")
    chat_template: bool = Field(False, description="Ask through the tokenizer's chat template, as in fine-tuning.")
