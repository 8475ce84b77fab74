"""Sources that hold more than documents: Natural Instructions' tasks, and questions that become pairs or texts."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from core.documents.source import Source
from core.instructions.capability_data import CapabilityData
from core.instructions.multiple_choice_pairs import MultipleChoicePairs
from core.instructions.task_selection import NaturalInstructions


class InstructionSource(Source):
    """A source of a recipe: any that `core.documents` reads, and what instructions are made from."""

    kinds: ClassVar[dict[str, set[str]]] = {
        **Source.kinds,
        "files": Source.kinds["files"] | {"multiple_choice_pairs", "capability_data"},
        "dataset": Source.kinds["dataset"] | {"multiple_choice_pairs", "capability_data"},
        "natural_instructions": set(),
    }
    makers: ClassVar[tuple[str, ...]] = ("fields", "multiple_choice_pairs", "capability_data")

    natural_instructions: NaturalInstructions | None = Field(
        None, description="Natural Instructions' task files, and which of the tasks are taken."
    )
    multiple_choice_pairs: MultipleChoicePairs | None = Field(
        None, description="In place of fields: multiple-choice questions, one preference pair for each wrong choice."
    )
    capability_data: CapabilityData | None = Field(
        None, description="In place of fields: a benchmark's training split, each question with its answer."
    )

    @property
    def holds_pairs(self) -> bool:
        """Whether its documents are preference pairs as they are read."""
        return self.multiple_choice_pairs is not None or (self.fields is not None and self.fields.form == "pair")
