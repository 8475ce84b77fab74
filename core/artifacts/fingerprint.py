"""Content hashes: of a recipe's section, of files, of the code that a stage runs."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path
from typing import Any

import orjson
import xxhash

CORE = Path(__file__).resolve().parent.parent


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


def code_version(*rooms: str) -> str:
    """Hash of the syntax of `core`'s given rooms, e.g. code_version("tokens"): comments and layout do not count."""
    digest = hashlib.sha256()
    for room in sorted(rooms):
        for path in sorted((CORE / room).rglob("*.py")):
            digest.update(path.relative_to(CORE).as_posix().encode())
            digest.update(ast.dump(ast.parse(path.read_bytes())).encode())
    return digest.hexdigest()[:16]
