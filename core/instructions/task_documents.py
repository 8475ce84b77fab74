"""Instances of Natural Instructions' tasks as documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

from core.artifacts.seeds import derive_seed
from core.documents.ledger import DROPPED, READ
from core.documents.mapping import table
from core.documents.mixture import sample
from core.errors import DataError
from core.instructions.natural_instructions import Instance, Task
from core.instructions.scoring_labels import Scoring, scoring_label
from core.instructions.task_selection import NaturalInstructions


@dataclass(frozen=True)
class TaskDocuments:
    """A task's instances: each is in exactly one of the two tables, in the file's order."""

    documents: pa.Table  # DOCUMENTS
    dropped: pa.Table  # DROPPED, by reason no_answer or over_max_instances
    instances: tuple[Instance, ...]  # those of `documents`, their answers stripped, none of them empty
    scoring: Scoring


def scoring_of(task: Task, options: NaturalInstructions) -> Scoring:
    """How a task's answers are scored: as the options say, or as `scoring_label` judges the first answers."""
    given = options.scoring.get(task.name)
    return given or scoring_label([each.outputs[0] for each in map(_answered, task.instances) if each.outputs])


def task_documents(task: Task, options: NaturalInstructions, source: str, seed: int) -> TaskDocuments:
    """The instances of a task as dialogues: its definition and the input, answered by the first gold answer.

    Of answers the white space around them is not kept, nor those that have nothing else. A document's id is the
    instance's own. meta: task, category, scoring, instance, golds (all right answers), and the lengths that sampling
    asks for, instruction_words and input_words, in Birbal's count (`words`).
    Raises DataError where two instances have the same id.
    """
    _each_id_once(task)
    scoring = scoring_of(task, options)
    answered = [_answered(instance) for instance in task.instances]
    able = [instance for instance in answered if instance.outputs]
    most = len(able) if options.max_instances_per_task is None else options.max_instances_per_task
    drawn = sample([each.id for each in able], most, derive_seed(seed, "max_instances_per_task", task.name))
    chosen = [instance for instance, is_drawn in zip(able, drawn.tolist(), strict=True) if is_drawn]
    ids = {instance.id for instance in chosen}
    dropped = [
        {
            **_document(instance, task, options, scoring),
            "step": READ,
            "reason": "over_max_instances" if instance.outputs else "no_answer",
            "evidence": f"{len(able)} instances, {most} asked for" if instance.outputs else "no answer has any text",
        }
        for instance in answered
        if instance.id not in ids
    ]
    made = [_document(instance, task, options, scoring) for instance in chosen]
    return TaskDocuments(table(made, source), table(dropped, source, DROPPED), tuple(chosen), scoring)


def tasks_documents(
    tasks: Iterable[Task], options: NaturalInstructions, source: str, seed: int
) -> tuple[pa.Table, pa.Table]:
    """`task_documents` of several tasks that were selected: DOCUMENTS and DROPPED."""
    parts = [task_documents(task, options, source, seed) for task in tasks]
    documents, dropped = table([], source), table([], source, DROPPED)
    return (
        pa.concat_tables([documents, *(part.documents for part in parts)]),
        pa.concat_tables([dropped, *(part.dropped for part in parts)]),
    )


def words(text: str) -> int:
    """Pieces between single spaces, as Birbal's code counts words: lengths are compared with its thresholds."""
    return text.count(" ") + 1


def _answered(instance: Instance) -> Instance:
    stripped = tuple(output.strip() for output in instance.outputs)
    return Instance(instance.id, instance.input, tuple(output for output in stripped if output))


def _document(instance: Instance, task: Task, options: NaturalInstructions, scoring: Scoring) -> dict[str, Any]:
    meta = {
        "task": task.name,
        "category": next(iter(task.header.categories), None),
        "scoring": scoring,
        "instance": instance.id,
        "golds": instance.outputs,
        "instruction_words": words(task.definition),
        "input_words": words(instance.input),
    }
    messages = [*_question(task.definition, instance.input, options)]
    messages += [{"role": "assistant", "content": answer} for answer in instance.outputs[:1]]
    return {"id": instance.id, "messages": messages, "meta": orjson.dumps(meta).decode()}


def _question(definition: str, given: str, options: NaturalInstructions) -> Sequence[dict[str, str]]:
    if not given.strip():
        return [{"role": "user", "content": definition}]
    if options.definition == "system":
        return [{"role": "system", "content": definition}, {"role": "user", "content": given}]
    return [{"role": "user", "content": f"{definition}\n\n{given}"}]


def _each_id_once(task: Task) -> None:
    seen: set[str] = set()
    for instance in task.instances:
        if instance.id in seen:
            raise DataError(f"{task.name}: two instances have the id {instance.id}; ids must tell instances apart")
        seen.add(instance.id)
