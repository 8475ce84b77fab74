"""Answers of a model, kept under what was asked: whoever asks the same again, in any run, has them at once."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import orjson

from core.artifacts.atomic import write_bytes
from core.artifacts.fingerprint import file_checksum
from core.evaluation.chunks import Answer, Chunk, chunk_key

WEIGHTS = (".safetensors", ".bin")


class AnswerCache:
    """A directory of answers, a file for each chunk. model: what `model_identity` says."""

    def __init__(self, directory: Path, model: str) -> None:
        self.directory, self.model = directory, model

    def get(self, chunk: Chunk) -> list[Answer] | None:
        """The answers to a chunk's requests, in order; None where they are not there, or not whole."""
        try:
            answers = orjson.loads(self._path(chunk).read_bytes())
        except (FileNotFoundError, orjson.JSONDecodeError):
            return None
        return [answer if isinstance(answer, str) else (_number(answer[0]), answer[1]) for answer in answers]

    def put(self, chunk: Chunk, answers: list[Answer]) -> None:
        """Keeps answers; whole or not at all."""
        write_bytes(self._path(chunk), orjson.dumps(answers))

    def note(self, name: str) -> str | None:
        """What was found out about the model; None where nothing was."""
        path = self.directory / "models" / self.model / name
        return path.read_text() if path.exists() else None

    def keep_note(self, name: str, said: str) -> None:
        """Keeps what was found out about the model."""
        write_bytes(self.directory / "models" / self.model / name, said.encode())

    def _path(self, chunk: Chunk) -> Path:
        key = chunk_key(chunk, self.model)
        return self.directory / key[:2] / f"{key}.json"


def _number(said: float | None) -> float:
    return -math.inf if said is None else said  # the only one that is kept and JSON has not


def model_identity(directory: Path, how: str) -> str:
    """What answers depend on beside the request: every file of the model directory, and how it is asked.

    how: number format, library versions and whatever else changes a last digit.
    """
    files = sorted(path for path in directory.iterdir() if path.is_file())
    said = [how, *(f"{path.name} {file_checksum(path)}" for path in files if path.suffix != ".md")]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()
