"""Content hashes: of a recipe's section, of files, of the code that a stage runs."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path
from typing import Any

import orjson
import xxhash

ROOT = Path(__file__).resolve().parent.parent.parent


def fingerprint(value: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of a JSON-like value, whatever the order of its keys."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def file_checksum(path: Path) -> str:
    """xxh3-128 of a file's bytes, in hexadecimal."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def files_identity(path: Path) -> list[list[Any]]:
    """Name, size and time of change of a file, or of the files in a directory; [] where there is neither.

    Cheap for weights of any size; a copy with other times counts as another.
    """
    files = sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]
    return [[each.name, each.stat().st_size, each.stat().st_mtime_ns] for each in files if each.is_file()]


def code_version(*places: str) -> str:
    """Hash of the syntax of rooms and modules, e.g. code_version("core/tokens", "ray_jobs/tokenize.py").

    Comments and layout do not count.
    """
    digest = hashlib.sha256()
    for place in sorted(places):
        files = [ROOT / place] if place.endswith(".py") else sorted((ROOT / place).rglob("*.py"))
        for path in files:
            digest.update(path.relative_to(ROOT).as_posix().encode())
            digest.update(ast.dump(ast.parse(path.read_bytes())).encode())
    return digest.hexdigest()[:16]
