"""The base of everything a recipe can declare."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Strict, closed and frozen: an unknown key or a value of another type is an error.

    Each room declares its own beside the function that obeys them; `core.recipe` composes them.
    A module that declares options imports nothing heavy (no torch, transformers, ray).
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
