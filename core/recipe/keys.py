"""Every key that a recipe may have: where it stands, what it takes, and what it means."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from core.recipe.loading import Loc
from core.recipe.schema import Recipe

TYPES = {int: "integer", float: "number", bool: "true or false", str: "text", type(None): "null"}
BOUNDS = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}


@dataclass(frozen=True)
class Key:
    """A key of the schema. path: <name> stands for a name that the recipe chooses, <number> for a place in a list."""

    path: str
    field: FieldInfo

    @property
    def takes(self) -> str:
        """What it may be: "integer from 0 or null", "adamw or adamw_8bit"."""
        limits = [(word, getattr(each, name, None)) for each in self.field.metadata for name, word in BOUNDS.items()]
        bounds = "".join(f" {word} {limit}" for word, limit in limits if limit is not None)
        kinds = _takes(self.field.annotation)
        return " or ".join(f"{kind}{bounds}" if kind in ("integer", "number") else kind for kind in kinds)

    @property
    def section(self) -> type[BaseModel] | None:
        """The class of the keys below it."""
        return _section(self.field.annotation)

    def as_json(self) -> dict[str, Any]:
        """`required` and `default`; a section's is null, as its keys have their own."""
        required = self.field.is_required()
        default = None if required or self.section else self.field.get_default(call_default_factory=True)
        return {
            "key": self.path,
            "takes": self.takes,
            "required": required,
            "default": to_jsonable_python(default),
            "meaning": self.field.description or _first_line(self.section),
        }


def recipe_keys(model: type[BaseModel] = Recipe, prefix: str = "") -> Iterator[Key]:
    """Every key of the schema, a section before the keys in it."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        key = Key(path, field)
        yield key
        if key.section is None:
            continue
        origin = typing.get_origin(_inner(field.annotation))
        within = {dict: ".<name>", list: ".<number>"}.get(origin, "")
        yield from recipe_keys(key.section, f"{path}{within}.")


def model_at(loc: Loc) -> type[BaseModel] | None:
    """The options class that stands at a key path of the schema."""
    current: Any = Recipe
    for part in loc:
        if isinstance(current, type) and issubclass(current, BaseModel):
            declared = current.model_fields.get(str(part))
            current = _inner(declared.annotation) if declared else None
        elif typing.get_origin(current) in (dict, list):
            current = _inner(typing.get_args(current)[-1])
        else:
            return None
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _first_line(section: type[BaseModel] | None) -> str:
    return (section.__doc__ or "").partition("\n")[0] if section else ""


def _section(annotation: Any) -> type[BaseModel] | None:
    inner = _inner(annotation)
    if typing.get_origin(inner) in (dict, list):
        inner = _inner(typing.get_args(inner)[-1])
    return inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None


def _inner(annotation: Any) -> Any:
    """X of `X | None`, and the class of options among the members of another union; Annotated unwrapped."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _inner(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        options = [inner for inner in map(_inner, members) if isinstance(inner, type) and issubclass(inner, BaseModel)]
        return _inner(members[0]) if len(members) == 1 else options[0] if len(options) == 1 else annotation
    return annotation


def _takes(annotation: Any) -> list[str]:
    """Each of the things that a value may be."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _takes(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return list(dict.fromkeys(kind for member in arguments for kind in _takes(member)))
    if origin is typing.Literal:
        return [str(value) for value in arguments]
    if origin is dict:
        return [f"{{name: {' or '.join(_takes(arguments[1]))}}}"]
    if origin in (list, tuple):
        return [f"[{' or '.join(_takes(arguments[0]))}, ...]"]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return ["section"]
    return [TYPES.get(annotation, getattr(annotation, "__name__", str(annotation)))]
