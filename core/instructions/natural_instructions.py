"""Natural Instructions' task files (Wang et al. 2022, https://arxiv.org/abs/2204.07705)."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from core.errors import DataError

MOST_LABELS = 12  # a task with at most so many different answers is a classification ...
SHORT_ANSWER = 1.3  # ... and so is one whose answers have on average at most so many words


@dataclass(frozen=True)
class Instance:
    """One question of a task with all answers that count as right."""

    id: str
    input: str
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """A task: its definition, its worked examples (input, output) and its instances."""

    name: str
    definition: str
    categories: tuple[str, ...]
    input_languages: tuple[str, ...]
    output_languages: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]
    instances: tuple[Instance, ...]

    @property
    def scoring(self) -> Literal["exact_match", "generation"]:
        """How an answer is scored, judged from the answers alone: Birbal's labels were never published."""
        answers = [output for instance in self.instances for output in instance.outputs]
        words = sum(len(answer.split()) for answer in answers) / max(1, len(answers))
        few = len(set(answers)) <= MOST_LABELS
        return "exact_match" if few or words <= SHORT_ANSWER else "generation"


def read_task(path: Path) -> Task:
    """Reads a task file (.json, .json.gz). Raises DataError where it is not one."""
    try:
        raw = path.read_bytes()
        content: dict[str, Any] = orjson.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
        return Task(
            name=path.name.removesuffix(".gz").removesuffix(".json"),
            definition=" ".join(content["Definition"]),
            categories=tuple(content["Categories"]),
            input_languages=tuple(content["Input_language"]),
            output_languages=tuple(content["Output_language"]),
            examples=tuple((example["input"], example["output"]) for example in content["Positive Examples"]),
            instances=tuple(
                Instance(each["id"], each["input"], tuple(each["output"])) for each in content["Instances"]
            ),
        )
    except (OSError, EOFError, orjson.JSONDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a task file ({error})") from error
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: not a Natural Instructions task: no {error} as its layout has it") from error
