"""Hugging Face datasets, by name and revision or from a local directory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.documents.columns import Columns
from core.documents.source import Source
from core.errors import DataError, ResourceError

BATCH = 1_000  # rows taken at once


def load(source: Source, recipe_dir: Path) -> Any:
    """The split of a dataset as `datasets.Dataset`, memory-mapped; downloaded where it is not cached.

    Raises ResourceError where it cannot be reached, DataError where it has no such subset or split.
    """
    import datasets

    assert source.dataset is not None
    local = _local_directory(source.dataset, recipe_dir)
    name = str(local or source.dataset)
    datasets.disable_progress_bars()
    try:
        if local is not None and ((local / "state.json").is_file() or (local / "dataset_dict.json").is_file()):
            loaded = datasets.load_from_disk(name)
            if not isinstance(loaded, datasets.DatasetDict):
                return loaded
            if source.split not in loaded:
                raise DataError(f"dataset {name}: no split '{source.split}'; there are: {', '.join(loaded)}")
            return loaded[source.split]
        return datasets.load_dataset(name, source.subset, split=source.split, revision=source.revision)
    except DataError:
        raise
    except Exception as error:  # the hub's, requests' and the dataset's own errors
        if local is not None or isinstance(error, ValueError):  # a ValueError is an unknown split or subset
            raise DataError(f"dataset {name}: cannot be read: {_first_line(error.__cause__ or error)}") from error
        raise _not_there(source, error) from error


def rows(loaded: Any, place: str, begin: int, end: int) -> Iterator[Columns]:
    """Rows begin to end of a loaded dataset, some at a time; numbers count from the dataset's first."""
    table = loaded.with_format("arrow")
    for start in range(begin, end, BATCH):
        yield Columns(start, place, table[start : min(end, start + BATCH)])


def _local_directory(name: str, recipe_dir: Path) -> Path | None:
    given = Path(name).expanduser()
    for base in (recipe_dir, Path.cwd()):
        if (base / given).is_dir():
            return (base / given).absolute()
    if given.is_absolute() or name.startswith("."):
        raise DataError(f"dataset {name}: no such directory (looked in {recipe_dir} and in {Path.cwd()})")
    return None


def _not_there(source: Source, error: Exception) -> ResourceError:
    import datasets

    name = source.dataset or ""
    revision = f" at revision {source.revision}" if source.revision else ""
    if datasets.config.HF_HUB_OFFLINE and isinstance(error, ConnectionError):
        why = "it is not in the local cache, and HF_HUB_OFFLINE is set"
        advice = "Unset HF_HUB_OFFLINE, or give a local directory as dataset."
    else:
        why = _first_line(error)
        advice = "Check the name and the network, log in if it is gated, or give a local directory as dataset."
    return ResourceError(f"dataset {name}{revision}: cannot be loaded: {why}\n{advice}")


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
