"""What a run's page says of Natural Instructions: which tasks were taken, and what each bucket and task gave."""

from __future__ import annotations

from core.reporting.formats import count, decimal
from core.reporting.frame import Block, Column, Table, Text
from core.reporting.instruction_files import BucketCounts, Sampling, SelectedTasks, TaskCounts

WAYS = {"exact_match": "exact match", "generation": "generation"}


def selection_blocks(source: str, found: SelectedTasks) -> list[Block]:
    """How many tasks the rules take of a source, and how that agrees with a published list."""
    reasons = ", ".join(f"{reason.replace('_', ' ')} {count(number)}" for reason, number in found.left_out_by.items())
    said = f"{source}: {count(len(found.selected))} of {count(found.tasks)} tasks are selected"
    said += f"; left out by {reasons}." if reasons else "."
    if found.without_file:
        said += f" {count(len(found.without_file))} of them have no file and give nothing."
    if (agreed := found.agreement) is not None:
        listed = agreed.both + len(agreed.only_list)
        said += (
            f" Of the {count(listed)} tasks in {agreed.published}, the rules take {count(agreed.both)}: precision "
            f"{decimal(agreed.precision)}, recall {decimal(agreed.recall)}."
        )
    return [Text(said)]


def sampling_blocks(found: Sampling) -> list[Block]:
    """What was drawn by score: what falls short, and the tables of buckets and of tasks."""
    blocks: list[Block] = [
        Text(
            f"{found.step} drew {count(found.chosen)} of {count(found.instances)} instances by the base model's score."
        )
    ]
    blocks += [Text(f"{found.step}: {line}.", "bad") for line in found.shortfalls]
    counted = [Column("instances", count), Column("given", count, "by the bucket's rule"), Column("drawn", count)]
    buckets = [
        [WAYS.get(each.scoring, each.scoring), f"{each.low:g} to {each.high:g}", each.tasks, *_counts(each)]
        for each in found.buckets
    ]
    columns = [Column("scored by"), Column("accuracy of the task, or ROUGE-L"), Column("tasks", count), *counted]
    blocks.append(Table(f"What each bucket gave to {found.step}", columns, buckets))
    tasks = [
        [each.task, WAYS.get(each.scoring, each.scoring), each.score, each.quota, *_counts(each)]
        for each in found.tasks
    ]
    columns = [
        Column("task"),
        Column("scored by"),
        Column("mean score", decimal),
        Column("asked for", count, "by its buckets"),
        *counted,
    ]
    blocks.append(Table(f"What each task gave to {found.step}", columns, tasks, folded=len(tasks) > 12))
    return blocks


def _counts(of: BucketCounts | TaskCounts) -> list[int]:
    return [of.instances, of.pool, of.chosen]
