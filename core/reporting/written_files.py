"""JSON that a stage wrote, read back into a known shape, or refused with its place named."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from core.errors import DataError

Shape = TypeVar("Shape", bound=BaseModel)
Figure = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]  # JSON has no NaN


class Written(BaseModel):
    """A part of a file that a stage wrote. What a newer version adds is no error."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def read_optional(path: Path, shape: type[Shape]) -> Shape | None:
    """A JSON file of a known shape; None where it is not there. Raises DataError naming what is wrong."""
    try:
        return shaped(parse_json(path.read_bytes(), str(path)), shape, str(path))
    except FileNotFoundError:
        return None


def read_each(directory: Path, shape: type[Shape]) -> dict[str, Shape]:
    """All JSON files of a directory by name, without the ending. Raises DataError naming what is wrong."""
    return {
        path.stem: shaped(parse_json(path.read_bytes(), str(path)), shape, str(path))
        for path in sorted(directory.glob("*.json"))
    }


def read_lines(path: Path) -> list[tuple[str, Any]]:
    """The objects of a JSON Lines file, each with its place as file:line; none where there is no file.

    A last line without an end, as a process that was stopped leaves it, is left out.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [
        (place, parse_json(line, place))
        for place, line in ((f"{path}:{number}", line) for number, line in enumerate(lines, 1))
        if line.strip()
    ]


def parse_json(data: bytes, place: str) -> Any:
    """Any JSON, with NaN and lone surrogates (shown as U+FFFD) as Python's json writes them."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text)
        if "\\ud" in text.lower():
            value = json.loads(_LONE_SURROGATES.sub("\ufffd", json.dumps(value, ensure_ascii=False)))
        return value
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not valid JSON ({error}). Run its stage again to have it rewritten.") from error


def shaped(value: Any, shape: type[Shape], place: str) -> Shape:
    """The value as its shape. Raises DataError with the key path of the first thing that is wrong."""
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join(map(str, first["loc"])) or "the whole"
        found = f", found {str(first['input'])[:80]!r}" if first["type"] != "missing" else ""
        raise DataError(f"{place}: {key}: {first['msg']}{found}. Run its stage again to have it rewritten.") from error


_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
