"""Which tasks of Natural Instructions are taken, by rules on what is known of them, each decision with its reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pydantic import Field, model_validator

from core.errors import DataError
from core.instructions.natural_instructions import TaskHeader
from core.instructions.scoring_labels import Scoring
from core.instructions.task_presets import PRESETS, Preset
from core.options import Options


class Choice(Options):
    """What of a kind is taken. A * in a name stands for anything."""

    allow: list[str] | None = Field(
        None, min_length=1, description="A task is taken only if one of these is said of it; without it, any."
    )
    deny: list[str] = Field([], description="A task of which one of these is said is left out.")


class NaturalInstructions(Options):
    """Natural Instructions' task files as a source, and which of them are taken."""

    preset: Preset | None = Field(
        None,
        description="The rules of another system, for all keys that are not given; core/instructions/task_presets.py "
        "has them with their source.",
    )
    directory: str = Field(min_length=1, description="Directory of the task files, .json or .json.gz.")
    input_languages: list[str] | None = Field(
        None, min_length=1, description="All languages of a task's inputs must be among these; without it, any."
    )
    output_languages: list[str] | None = Field(
        None, min_length=1, description="All languages of a task's outputs must be among these; without it, any."
    )
    categories: Choice = Field(Choice(), description="By category, e.g. Question Answering; a task has one.")
    domains: Choice = Field(Choice(), description="By domain, e.g. Mathematics, News; a task may have several.")
    sources: Choice = Field(Choice(), description="By the data set that a task was made from, e.g. qasc.")
    tasks: str | list[str] | None = Field(
        None,
        min_length=1,
        description="Only these: names (a * stands for anything), or the path of a file with a name on each line.",
    )
    table: str | None = Field(
        None,
        min_length=1,
        description="A table of all tasks (NI's tasks/README.md, or JSON Lines), by which they are judged in place of "
        "the files' own headers; it does not have the data sets they come from.",
    )
    published: str | None = Field(
        None,
        min_length=1,
        description="A list of task names by others, one on a line: how the rules agree with it is told.",
    )
    exclude_tasks: list[str] = Field([], description="Names of tasks that are left out; a * stands for anything.")
    scoring: dict[str, Scoring] = Field(
        {},
        description="How tasks are scored, by name: exact_match or generation. The others are labelled from their "
        "answers, since Birbal's labels were not published.",
    )
    max_instances_per_task: int | None = Field(
        None, ge=1, description="At most so many instances of a task, drawn by seed and id; the others are dropped."
    )
    definition: Literal["user", "system"] = Field(
        "user",
        description="Where a task's definition goes: above the input in the user's message, as instruction and input "
        "of other sources are joined, or into a system message of its own.",
    )

    @model_validator(mode="before")
    @classmethod
    def _filled_from_preset(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(name := given.get("preset"), str) and name in PRESETS:
            return {**PRESETS[name], **given}
        return given


class LeftOut(NamedTuple):
    """Why a task is not taken."""

    reason: str  # input_language, output_language, category, domain, source, excluded, not_listed
    evidence: str  # what shows it


@dataclass(frozen=True)
class Selection:
    """The tasks that rules select, in order, and why each other one is left out."""

    selected: tuple[str, ...]
    left_out: Mapping[str, LeftOut]
    missing: tuple[str, ...]  # names in `tasks` or `scoring` that no task has

    @property
    def reasons(self) -> Counter[str]:
        """How many tasks each reason left out."""
        return Counter(each.reason for each in self.left_out.values())


def select_tasks(
    headers: Iterable[TaskHeader], options: NaturalInstructions, listed: Collection[str] | None = None
) -> Selection:
    """Judges every task. listed: the names and patterns in `tasks`, or None for no list."""
    selected = []
    left_out = {}
    names = []
    for header in headers:
        names.append(header.name)
        why = why_left_out(header, options, listed)
        if why is None:
            selected.append(header.name)
        else:
            left_out[header.name] = why
    wanted = dict.fromkeys([*(listed or ()), *options.scoring])
    there = set(names)
    missing = [name for name in wanted if name not in there and not any(_fits([name], each) for each in names)]
    return Selection(tuple(selected), left_out, tuple(missing))


def why_left_out(
    header: TaskHeader, options: NaturalInstructions, listed: Collection[str] | None = None
) -> LeftOut | None:
    """The first rule that a task breaks; None for one that is taken.

    Raises DataError where a rule asks for the source and the header does not have it.
    """
    for reason, found, allowed in (
        ("input_language", header.input_languages, options.input_languages),
        ("output_language", header.output_languages, options.output_languages),
    ):
        if allowed is not None and (others := [language for language in found if language not in allowed]):
            return LeftOut(reason, ", ".join(others))
    if options.sources != Choice() and header.sources is None:
        raise DataError(
            f"{header.name}: its source is not known from a table of tasks, but `sources` is given: read the task "
            "files, or use exclude_tasks"
        )
    for reason, values, choice in (
        ("category", header.categories, options.categories),
        ("domain", header.domains, options.domains),
        ("source", header.sources or (), options.sources),
    ):
        denied = [value for value in values if _fits(choice.deny, value)]
        if denied:
            return LeftOut(reason, ", ".join(denied))
        if choice.allow is not None and not any(_fits(choice.allow, value) for value in values):
            return LeftOut(reason, ", ".join(values) or "none")
    if _fits(options.exclude_tasks, header.name):
        return LeftOut("excluded", header.name)
    if listed is not None and header.name not in listed and not _fits(listed, header.name):
        return LeftOut("not_listed", header.name)
    return None


def _fits(patterns: Collection[str] | Sequence[str], value: str) -> bool:
    return any(
        value == pattern or ("*" in pattern and re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), value))
        for pattern in patterns
    )
