"""Which local files a task reads in place of its hub's data set."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import DataError, RecipeError, first_line
from core.evaluation.benchmark_files import Benchmark, is_convertible, raw_rows
from core.evaluation.benchmark_rows import benchmark_of
from core.evaluation.options import Evaluate
from core.evaluation.task_definitions import SPLITS, setting

BUILDERS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet"}  # of Hugging Face datasets


@dataclass(frozen=True)
class DataSet:
    """What a task reads: the hub's data set and subset, and the splits for its questions and its examples.

    examples: None where they are written into the task, or where none are asked. splits: all that it may read.
    """

    task: str
    path: str
    subset: str
    questions: str | None
    examples: str | None
    splits: tuple[str, ...]
    is_local: bool  # whether its YAML file names local files

    @classmethod
    def of(cls, task: str, definition: Path, subset: str | None, few_shot: int) -> DataSet:
        """Of a task whose YAML file leaves `subset` open, or names it."""
        test, validation, training, few = (setting(definition, key) for key in SPLITS)
        written = "samples" in (setting(definition, "fewshot_config") or {})
        drawn = few or (None if written else training or validation)
        return cls(
            task,
            str(setting(definition, "dataset_path")),
            subset or str(setting(definition, "dataset_name") or ""),
            test or validation or training,
            drawn if few_shot else None,
            tuple(sorted({split for split in (test, validation, training, few) if split})),
            "data_files" in (setting(definition, "dataset_kwargs") or {}),
        )

    @property
    def benchmark(self) -> Benchmark | None:
        """The form in which it is published; None where none is known."""
        return benchmark_of(self.path, self.subset)

    def is_converted(self, file: Path) -> bool:
        """Whether a file of it is read as published."""
        return self.benchmark is not None and is_convertible(file)

    def first_document(self, file: Path) -> dict[str, Any] | None:
        """The first document of a file; None for an empty file. Raises DataError where it cannot be read."""
        if self.benchmark is not None and is_convertible(file):
            return next(self.benchmark.rows(file, self.subset), None)
        if suffix(file) == ".parquet":
            return next(iter(next(pq.ParquetFile(file).iter_batches(1)).to_pylist()), None)
        return next(raw_rows(file), None)

    def read_through(self, file: Path) -> None:
        """Reads a file to its end, before models are trained for it. Raises DataError, with the row, for a broken one.

        Not .json and .csv of a task's own, whose forms are known to Hugging Face's datasets alone.
        """
        if self.is_converted(file):
            assert self.benchmark is not None
            deque(self.benchmark.rows(file, self.subset), maxlen=0)
        elif suffix(file) == ".jsonl":
            deque(raw_rows(file), maxlen=0)
        elif suffix(file) == ".parquet":
            try:
                deque(pq.ParquetFile(file).iter_batches(), maxlen=0)
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{file}: not readable as Parquet ({first_line(error)})") from error


def suffix(file: Path) -> str:
    """The ending of a file's name, but for .gz."""
    return Path(file.name.removesuffix(".gz")).suffix


def local_files(data: DataSet, key: str | None, options: Evaluate, recipe_dir: Path, few_shot: int) -> dict[str, Path]:
    """The file of each split that a task reads; none: it reads its hub's.

    key: of `evaluate.data`, if that names the task. Raises RecipeError for a split that the task does not read,
    DataError for a file that is not there, or of a form that is not known, or a split that lacks one; and for a task
    whose data would come from a hub while HF_HUB_OFFLINE forbids it.
    """
    origin, directory = "", None
    files: dict[str, Path] = {}
    if key is not None:
        origin = f"evaluate.data.{key}"
        files, directory = _mapped(data, options.data[key], origin, recipe_dir)
    elif options.data_dir is not None and data.benchmark is not None:
        origin = "evaluate.data_dir"
        directory = found_path(options.data_dir, recipe_dir, origin) / data.benchmark.directory
        files = _published(data, data.benchmark, directory)
    if files:
        _check_splits(data, files, origin, directory, few_shot)
    else:
        _check_hub(data, f"; no {_names(data, data.questions)} in {directory}" if directory else "")
    return files


def _mapped(
    data: DataSet, named: str | dict[str, str], origin: str, recipe_dir: Path
) -> tuple[dict[str, Path], Path | None]:
    """The files that `evaluate.data` names for a task, and their directory where it names that."""
    if isinstance(named, dict):
        return {
            split: found_path(text, recipe_dir, f"{origin}.{split}", file=True) for split, text in named.items()
        }, None
    place = found_path(named, recipe_dir, origin)
    if place.is_file():
        return {data.questions or "test": place}, None
    if data.benchmark is None:
        raise RecipeError(
            f"{origin}: how the files of {data.path} lie in a directory is not known; name one for each split "
            f"({', '.join(data.splits)})"
        )
    files = _published(data, data.benchmark, place)
    if not files:
        raise DataError(f"{origin}: {data.task} needs {_names(data, data.questions)} in {place}")
    return files, place


def _published(data: DataSet, benchmark: Benchmark, directory: Path) -> dict[str, Path]:
    there = benchmark.find(directory, data.subset)
    return {split: path for split, path in there.items() if split in data.splits}


def _names(data: DataSet, split: str | None) -> str:
    names = data.benchmark.names(split or "", data.subset) if data.benchmark else []
    return " or ".join(names) or f"a file of the split '{split}'"


def _check_hub(data: DataSet, more: str) -> None:
    """Raises DataError where a task without local files could not have any."""
    mapping = f"evaluate.data: {{{data.task}: {{{data.questions or 'test'}: FILE}}}}"
    if data.path in BUILDERS.values() and not data.is_local:
        raise DataError(f"evaluate.tasks: {data.task} reads local files; give them: {mapping}")
    if os.environ.get("HF_HUB_OFFLINE") == "1" and data.path not in BUILDERS.values():
        if data.benchmark is not None:
            mapping += f" or {{{data.path}: DIRECTORY}}, or evaluate.data_dir, with {_names(data, data.questions)}"
        raise DataError(
            f"evaluate.tasks: {data.task} reads {data.path} from a hub, and HF_HUB_OFFLINE is set{more}; "
            f"give local files: {mapping}"
        )


def _check_splits(data: DataSet, files: dict[str, Path], key: str, directory: Path | None, few_shot: int) -> None:
    """The files are those of splits that the task reads, it has the ones that it needs, and they can be read."""
    for split in files:
        if data.splits and split not in data.splits:
            raise RecipeError(f"{key}.{split}: {data.task} reads no such split, but {', '.join(data.splits)}")
    if not all(map(data.is_converted, files.values())):
        builders = {BUILDERS.get(suffix(file)) for file in files.values()}
        if len(builders) > 1 or None in builders:
            found = ", ".join(path.name for path in files.values())
            raise DataError(f"{key}: {found}: expected files of one of {', '.join(BUILDERS)}, also with .gz")
    uses = {data.examples: f"{few_shot} examples", data.questions: "its questions"}
    for needed, use in uses.items():
        if needed and needed not in files:
            where = f" ({_names(data, needed)} in {directory})" if directory else ""
            hint = "" if needed == data.questions else f", or set evaluate.few_shot to 0 or {{{data.task}: 0}}"
            raise DataError(f"{key}: {data.task} takes {use} from '{needed}': give that split a file{where}{hint}")
    if data.benchmark is not None:
        for file in filter(data.is_converted, files.values()):
            if data.first_document(file) is None:
                raise DataError(f"{file}: holds no rows for {data.task}")


def found_path(text: str, recipe_dir: Path, key: str, *, file: bool = False) -> Path:
    """A path named in a recipe: beside the recipe, or from the current directory. Raises DataError."""
    for path in (recipe_dir / text, Path(text)):
        if path.is_file() or (path.is_dir() and not file):
            return path.absolute()
    kind = "file" if file else "file or directory"
    raise DataError(f"{key}: no {kind} {text} (looked in {recipe_dir} and {Path.cwd()})")
