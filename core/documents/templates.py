"""Texts with the names of columns in braces, e.g. "Title: {title}": checked, and filled."""

from __future__ import annotations

import re
from collections.abc import Callable

PIECES = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[{}]")  # doubled braces stand for themselves


def template_columns(template: str) -> set[str]:
    """The columns that a template names. Raises ValueError for a brace that is not of a name."""
    found = [(piece.group(), piece[1]) for piece in PIECES.finditer(template)]
    if any(piece in "{}" for piece, _ in found):
        raise ValueError(f"a brace stands alone in {template!r}: write {{column}}, or {{{{ and }}}} for braces")
    return {name for _, name in found if name is not None}


def filled(template: str, text_of: Callable[[str], str]) -> str:
    """The template with the text of each column put in, without white space at its ends."""
    return PIECES.sub(lambda piece: piece.group()[0] if piece[1] is None else text_of(piece[1]), template).strip()
