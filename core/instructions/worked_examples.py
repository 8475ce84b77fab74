"""Prompts with answered questions before the one that is asked."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

from pydantic import Field

from core.errors import DataError

Count = Annotated[int, Field(ge=0, le=100)]
Shots = Count | Annotated[list[Count], Field(min_length=2, max_length=2)]  # so many, or from the first to the second


class Example(NamedTuple):
    """A question as it is asked, and its answer."""

    asked: str
    answer: str


def check_prompt(prompt: str, known: Sequence[str]) -> None:
    """Raises ValueError for a prompt in which {question} is not there once, or other braces than the known ones."""
    names = re.findall(r"\{(\w*)\}", prompt)
    if names.count("question") != 1 or not set(names) <= set(known):
        listed = " and ".join(f"{{{name}}}" for name in known)
        raise ValueError(f"a prompt needs {{question}} once, and knows {listed}; found {prompt!r}")


def filled(prompt: str, parts: Mapping[str, str]) -> str:
    """The prompt with its names in braces replaced; braces in what they stand for are left alone."""
    return re.sub(r"\{(\w+)\}", lambda found: parts[found.group(1)], prompt)


def check_shots(shots: Shots) -> None:
    """Raises ValueError where the second number is below the first."""
    if isinstance(shots, list) and shots[0] > shots[1]:
        raise ValueError(f"few_shot: from {shots[0]} to {shots[1]} is no range")


def with_examples(asked: str, examples: Sequence[Example], shots: Shots, seed: int, between: str) -> str:
    """The question after so many of the examples that ask something else, with blank lines between them.

    seed: of the draws, of how many and of which; between: what stands between an example's question and its answer.
    Raises DataError where there are fewer other questions than wanted.
    """
    count = random.Random(seed).randint(*shots) if isinstance(shots, list) else shots
    if not count:
        return asked
    few = random.Random(seed).sample(examples, min(len(examples), count + 8))  # most draws need no look at all others
    others = [each for each in few if each.asked != asked]
    if len(others) < count:
        others = [each for each in examples if each.asked != asked]
        if len(others) < count:
            raise DataError(
                f"few_shot asks for {count} worked examples, and there are {len(others)} other questions to draw from"
            )
        others = random.Random(seed).sample(others, count)
    return "\n\n".join([*(f"{each.asked}{between}{each.answer}" for each in others[:count]), asked])
