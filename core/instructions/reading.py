"""The sources of a recipe as shards, and shards as documents: those of `core.documents.reading`, and instructions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Literal

import pyarrow as pa

from core.documents import reading
from core.documents.files import expand
from core.documents.reading import Maker, Shard, file_shard, numbered, read_files, read_mapped, single_rows_of
from core.documents.rows import Problem, Row
from core.documents.source import Source
from core.instructions.capability_data import CapabilityData, capability_documents
from core.instructions.multiple_choice_pairs import MultipleChoicePairs, multiple_choice_pairs, worked_examples
from core.instructions.natural_instructions import read_task
from core.instructions.source import InstructionSource
from core.instructions.task_documents import task_documents
from core.instructions.task_files import selected_files
from core.instructions.worked_examples import Example

EXAMPLE_ROWS = 1_000  # a source's first rows, of which worked examples are drawn


def shards(name: str, source: Source, recipe_dir: Path, split: Literal["train", "heldout"] = "train") -> list[Shard]:
    """As `core.documents.reading.shards`; of Natural Instructions, one for each task that is selected.

    The shards of small task files are joined. Raises DataError where no task is selected.
    """
    if not isinstance(source, InstructionSource) or source.natural_instructions is None:
        return reading.shards(name, source, recipe_dir, split)
    files = selected_files(source.natural_instructions, recipe_dir)
    return numbered(file_shard(name, source, recipe_dir, str(path), number) for number, path in enumerate(files))


def read_shard(shard: Shard, seed: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The shard's documents (DOCUMENTS) and what is not taken of it (DROPPED), as `core.documents.reading.read_shard`.

    seed: the recipe's: for generated rows, the instances drawn of a task, and worked examples in prompts.
    """
    yield from read_files(shard, partial(_read_one, seed=seed))


def is_of_tasks(shard: Shard) -> bool:
    """Whether a shard is of Natural Instructions' tasks."""
    return isinstance(shard.options, InstructionSource) and shard.options.natural_instructions is not None


def task_files_of(shards_of_tasks: Sequence[Shard]) -> list[Path]:
    """The task files of shards of Natural Instructions, in order."""
    return [Path(each.path) for shard in shards_of_tasks for each in (shard, *shard.more)]


def _read_one(shard: Shard, seed: int) -> Iterator[tuple[pa.Table, pa.Table]]:
    source = shard.options
    if isinstance(source, InstructionSource):
        if source.natural_instructions is not None:
            made = task_documents(read_task(Path(shard.path)), source.natural_instructions, shard.source, seed)
            yield made.documents, made.dropped
            return
        if source.multiple_choice_pairs is not None:
            yield from read_mapped(shard, _pairs_maker(shard, source.multiple_choice_pairs, seed))
            return
        if source.capability_data is not None:
            yield from read_mapped(shard, _capability_maker(shard, source.capability_data))
            return
    yield from reading.read_shard(shard, seed)


def _pairs_maker(shard: Shard, options: MultipleChoicePairs, seed: int) -> Maker:
    examples: Sequence[Example] = ()
    if options.few_shot:
        first = islice(single_rows_of(_first_part(shard), options.columns.needed), EXAMPLE_ROWS)
        examples = worked_examples(list(first), options)

    def pairs(rows: Sequence[Row]) -> tuple[pa.Table, list[Problem]]:
        return multiple_choice_pairs(rows, options, shard.source, shard.file, seed, examples)

    return Maker(options.columns.needed, pairs)


def _first_part(shard: Shard) -> Shard:
    """The beginning of the source that a shard is of."""
    source = shard.options
    if source.dataset is not None:
        return Shard(shard.source, 0, source, "", shard.recipe_dir, end=EXAMPLE_ROWS)
    return Shard(shard.source, 0, source, "", shard.recipe_dir, expand(source, shard.recipe_dir)[0])


def _capability_maker(shard: Shard, options: CapabilityData) -> Maker:
    return Maker(options.needed, lambda rows: capability_documents(rows, options, shard.source, shard.file))
