"""What a recipe can ask of its report."""

from __future__ import annotations

from pydantic import Field

from core.options import Options


class Report(Options):
    """The page that a run ends with."""

    title: str | None = Field(None, description="Heading of the page. null: the recipe's name.")
    examples_per_reason: int = Field(
        3, ge=0, description="Dropped documents shown for each step and reason, spread evenly over all of them."
    )
    questions_per_task: int = Field(
        4, ge=0, description="Evaluation questions shown for each task, spread evenly over all of them."
    )
    longest_example: int = Field(
        4000, ge=100, description="In characters: a longer document or answer is cut, and the page says by how much."
    )
