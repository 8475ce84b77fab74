"""Prompts with answered questions before the one that is asked."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from core.errors import DataError


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


def with_examples(asked: str, examples: Sequence[Example], count: int, seed: int, between: str) -> str:
    """The question after so many of the examples that ask something else, with blank lines between them.

    seed: of the draw; between: what stands between an example's question and its answer. Raises DataError where
    there are fewer other questions than `count`.
    """
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
