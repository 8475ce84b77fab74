"""What `raycipe dedup` is given: options and files, refused by their names on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.dedup.minhash import MinhashDedup
from core.documents.fields import Fields
from core.documents.files import file_format
from core.documents.reading import Shard, shards
from core.documents.source import Source, format_by_name
from core.errors import DataError, RecipeError

SOURCE = "files"  # all files are one source
LONGEST_NGRAM = 10_000  # tokens


def minhash_options(minhash: Mapping[str, Any], seed: int) -> MinhashDedup:
    """The options of those keys that are not None. Raises RecipeError for a wrong one, and for a wrong seed."""
    if (keep := minhash.get("keep")) not in (None, "first", "longest"):
        raise RecipeError(f"--keep: found '{keep}', expected first or longest")
    if not -(2**63) <= seed < 2**63:
        raise RecipeError(f"--seed: found {seed}, expected a whole number of 64 bits")
    if (minhash.get("ngram") or 1) > LONGEST_NGRAM:
        raise RecipeError(f"--ngram: found {minhash['ngram']}, expected at most {LONGEST_NGRAM:,} tokens")
    for name in ("bands", "rows_per_band"):
        if minhash.get(name) is not None and minhash[name] > 2**31:
            raise RecipeError(f"--{name.replace('_', '-')}: found {minhash[name]}, more than --permutations can be")
    try:
        return MinhashDedup(**{name: value for name, value in minhash.items() if value is not None})
    except ValidationError as error:
        raise RecipeError("; ".join(_said(problem) for problem in error.errors())) from error


def _said(problem: Any) -> str:
    """A wrong option, by its name on the command line."""
    name = "".join(f"--{str(part).replace('_', '-')} " for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if name:
        return f"{name}{message}, found {problem['input']!r}"
    message = re.sub(r"\b(linkage|verify|keep|priority): ", r"\1 ", message)
    names = "|".join(sorted(MinhashDedup.model_fields, key=len, reverse=True))
    message = re.sub(rf"\b({names})\b", lambda found: f"--{found[0].replace('_', '-')}", message)
    return message.replace("--verify true", "--verify")


def paths(found: Sequence[Shard]) -> list[str]:
    """The files, each once, in their order."""
    return list(dict.fromkeys(one.path for shard in found for one in (shard, *shard.more)))


def file_shards(files: Sequence[str], text_field: str, id_field: str | None, skip: bool) -> list[Shard]:
    """The files as shards. Raises RecipeError or DataError for a wrong name, format or column name."""
    expected = "expected Parquet or JSON Lines (.parquet, .jsonl, .ndjson, each also with .gz or .zst)"
    for pattern in files:
        if not pattern:
            raise RecipeError("FILES: one of the names is empty, expected a path, a pattern or a URL")
        if format_by_name(pattern) not in (None, "parquet", "jsonl"):
            raise DataError(f"{pattern}: found {format_by_name(pattern)}, {expected}")
    if not text_field:
        raise RecipeError("--text-field: is empty, expected the name of a column")
    if id_field == "":
        raise RecipeError("--id-field: is empty, expected the name of a column")
    try:
        source = Source(files=list(files), fields=Fields(text=text_field), on_error="skip" if skip else "stop")
    except ValidationError as error:
        raise RecipeError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
    try:
        found = shards(SOURCE, source, Path.cwd())
    except DataError as error:
        told, unknown, _ = str(error).partition("the name tells no format")
        if unknown:
            raise DataError(f"{told}{unknown}, {expected}") from error
        raise
    for path in paths(found):
        if file_format(path, source) not in ("parquet", "jsonl"):
            raise DataError(f"{path}: found {file_format(path, source)}, {expected}")
    return found
