"""Natural Instructions' task files (Wang et al. 2022, https://arxiv.org/abs/2204.07705).

Their layout: `tasks/README.md` of https://github.com/allenai/natural-instructions.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from core.documents.rows import known_names, named
from core.errors import DataError

SUFFIXES = (".json", ".json.gz")
PIECE = 1 << 16
INSTANCES = b'"Instances"'


@dataclass(frozen=True)
class TaskHeader:
    """What is known of a task without its instances."""

    name: str
    categories: tuple[str, ...]
    domains: tuple[str, ...]
    input_languages: tuple[str, ...]
    output_languages: tuple[str, ...]
    sources: tuple[str, ...] | None = None  # the data sets it was made from; None where that is not known


@dataclass(frozen=True)
class Instance:
    """One question of a task with all answers that count as right."""

    id: str
    input: str
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """A task: its definition, its worked examples (input, output) and its instances."""

    header: TaskHeader
    definition: str
    examples: tuple[tuple[str, str], ...]
    instances: tuple[Instance, ...]

    @property
    def name(self) -> str:
        return self.header.name


def task_files(directory: Path) -> list[Path]:
    """The task files of a directory, sorted by name. Raises DataError where there are none."""
    files = sorted(path for path in directory.glob("*.json*") if path.name.endswith(SUFFIXES))
    if not files:
        raise DataError(f"{directory}: expected Natural Instructions' task files ({', '.join(SUFFIXES)}), found none")
    names = [task_name(path) for path in files]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{directory}: the task {twice[0]} is there twice, as .json and as .json.gz: remove one")
    return files


def read_header(path: Path) -> TaskHeader:
    """The header of a task file, read no further than it reaches where the instances come last, as they do in NI's.

    Raises DataError where it is no task file.
    """
    try:
        content = orjson.loads(_before_instances(path) + INSTANCES + b": []}")
        return _header(path, content)
    except (orjson.JSONDecodeError, DataError):  # another order, or the word in a text: the whole file will tell
        return _header(path, _content(path))


def read_task(path: Path) -> Task:
    """Reads a task file (.json, .json.gz). Raises DataError where it is not one.

    The definition is the first that the file gives: further ones are other wordings of it. Birbal too takes the first.
    """
    content = _content(path)
    definitions = _texts(path, content, "Definition")
    if not definitions:
        raise DataError(f"{path}: not a Natural Instructions task: Definition is an empty list")
    return Task(
        header=_header(path, content),
        definition=definitions[0],
        examples=tuple(
            (_text(place, example, "input"), _text(place, example, "output"))
            for place, example in _objects(path, content, "Positive Examples")
        ),
        instances=tuple(
            Instance(_text(place, each, "id"), _text(place, each, "input"), _texts(place, each, "output"))
            for place, each in _objects(path, content, "Instances")
        ),
    )


def task_name(path: Path) -> str:
    """The name of the task that a file holds."""
    return path.name.removesuffix(".gz").removesuffix(".json")


def _header(path: Path, content: Mapping[str, Any]) -> TaskHeader:
    return TaskHeader(
        name=task_name(path),
        categories=_texts(path, content, "Categories"),
        domains=_texts(path, content, "Domains"),
        input_languages=_texts(path, content, "Input_language"),
        output_languages=_texts(path, content, "Output_language"),
        sources=_texts(path, content, "Source"),
    )


def _before_instances(path: Path) -> bytes:
    """The file's bytes up to the key of the instances; all of them where it is not there. Raises DataError."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = b""
            while piece := file.read(PIECE):
                data += piece
                if (end := data.find(INSTANCES, max(0, len(data) - len(piece) - len(INSTANCES)))) >= 0:
                    return data[:end]
            return data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as a task file ({error})") from error


def _content(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
        content = orjson.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    except (OSError, EOFError, zlib.error, orjson.JSONDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a task file ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a Natural Instructions task, but {named(content)}; expected an object")
    return content


def _objects(path: Path, content: Mapping[str, Any], key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The objects of a list, each with its place for messages."""
    found = _field(path, content, key)
    if not isinstance(found, list):
        raise DataError(f"{path}: {key} holds {named(found)}, expected a list of objects")
    for number, each in enumerate(found):
        if not isinstance(each, dict):
            raise DataError(f"{path}: {key}[{number}] is {named(each)}, expected an object")
        yield f"{path}: {key}[{number}]", each


def _texts(place: Path | str, content: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = _field(place, content, key)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise DataError(f"{place}: {key} holds {named(found)}, expected a list of texts")
    return tuple(found)


def _text(place: str, content: Mapping[str, Any], key: str) -> str:
    found = _field(place, content, key)
    if not isinstance(found, str):
        raise DataError(f"{place}: {key} holds {named(found)}, expected a text")
    return found


def _field(place: Path | str, content: Mapping[str, Any], key: str) -> Any:
    if key not in content:
        raise DataError(f"{place}: not a Natural Instructions task: no '{key}'; {known_names(key, content)}")
    return content[key]
