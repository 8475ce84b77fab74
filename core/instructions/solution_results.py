"""Numbers in a worked solution that are results of intermediate calculations, and its final answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Literal, NamedTuple

Kind = Literal["annotation", "equation", "phrase", "term"]

DIGITS = r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+"
NUMBER = re.compile(rf"(?<![\w.,])(?:{DIGITS})")
CURRENCY = r"(?:\\?\$|£|€)?"
EQUALS = r"(?:(?<![<>!=~:])=(?!=)|≈|\\approx)"
# What makes a number the beginning of something longer: 3x, 4 * 5, 2^3, 12:30, 7/8, 4 \times 5, 1.5.2, 2(x + 1)
GOES_ON = r"(?![\d.,]*\d|[A-Za-z]|\s*(?:[-+*/×÷^(]|[xX]\s*\d|\\(?:cdot|times|div|d?frac|sqrt|pmod|[cl]?dots)|:\d))"
ANNOTATION = re.compile(rf"<<[^<>]*=\s*-?(?P<inner>{DIGITS})>>(?P<space>\s*)(?:{CURRENCY}-?(?P<outer>{DIGITS}))?")
EQUATION = re.compile(rf"{EQUALS}\s*{CURRENCY}\s*-?{CURRENCY}(?P<number>{DIGITS}){GOES_ON}")
TERM = re.compile(rf"{EQUALS}\s*[(\[]*{CURRENCY}-?{CURRENCY}(?P<number>{DIGITS})(?![\d.,]*\d)")
PHRASE = re.compile(
    rf"\b(?:is|are|equals?|gives?(?: us)?|gets?|makes?|leaves?|totals?|(?:total|sum) of)"
    rf"(?: (?:then|now|therefore|thus|also|only|exactly|equal to|a total of|left with))?"
    rf"\s+{CURRENCY}(?P<number>{DIGITS}){GOES_ON}",
    re.IGNORECASE,
)
NO_PROSE = re.compile(r"<<[^<>]*>>|\[asy\].*?\[/asy\]", re.DOTALL)  # annotations, and drawings in MATH
LONGEST = 30  # characters of a number that may be corrupted
FINAL = re.compile(r"####[^\n]*|\b(?:the|final) answer is\b[^\n]*|\\boxed\s*\{", re.IGNORECASE)


class Result(NamedTuple):
    """A result: characters begin to end of the solution are the number, as written.

    Of GSM8K's annotations (<<48/2=24>>24) the span is both numbers and what is between them: they are one result.
    """

    begin: int
    end: int
    written: str
    kind: Kind


class Solution(NamedTuple):
    """What is known of a solution: where its final answer is stated first, its values, and what may be corrupted."""

    final_begin: int
    final_values: frozenset[Decimal]
    results: tuple[Result, ...]


def value_of(written: str) -> Decimal:
    """The value of a number as written: 1,250.50."""
    return Decimal(written.replace(",", ""))


def numbers(text: str) -> frozenset[Decimal]:
    """The values of all numbers in a text, without their signs."""
    return frozenset(value_of(found) for found in NUMBER.findall(text))


def read_solution(question: str, solution: str) -> Solution | None:
    """The final answer and the intermediate results of a solution, in its order; None where it has no number.

    The final answer is what follows "####", "The answer is" or stands in \\boxed{}; where there is none of them, the
    last number. A result stands before it, has another value than it, and is one of
    - annotation: <<48/2=24>>24, as in GSM8K (Cobbe et al. 2021, https://arxiv.org/abs/2110.14168);
    - equation: a number after = with which the expression ends, as in "12 * 3 = 36.";
    - phrase: a number after "is", "equals", "gives", "a total of" and the like;
    - term: a number after = with which the expression goes on, as in "500 + 125 - x = 625 - x".
    A number that the question has too is none, except in an annotation: it may be a given.
    """
    statements = list(FINAL.finditer(solution))
    if statements:
        begin = statements[0].start()
        finals = numbers(" ".join(_statement(solution, found) for found in statements))
    else:
        last = next(reversed(list(NUMBER.finditer(solution))), None)
        if last is None:
            return None
        begin, finals = last.start(), frozenset([value_of(last.group())])
    given = numbers(question)
    found: list[Result] = []
    for result in _candidates(solution):
        if len(result.written) > LONGEST:
            continue
        value = value_of(result.written)
        if result.end > begin or value in finals or (result.kind != "annotation" and value in given):
            continue
        if not any(result.begin < other.end and other.begin < result.end for other in found):
            found.append(result)
    return Solution(begin, finals, tuple(sorted(found)))


def _statement(solution: str, found: re.Match[str]) -> str:
    """A statement of the final answer: to the end of its line, or of the box."""
    if not found.group().startswith("\\boxed"):
        return found.group()
    depth = 1
    for place in range(found.end(), len(solution)):
        depth += {"{": 1, "}": -1}.get(solution[place], 0)
        if depth == 0:
            return solution[found.end() : place]
    return solution[found.end() :]


def _candidates(solution: str) -> Iterator[Result]:
    """Everything that looks like a result, the surest kind first."""
    for found in ANNOTATION.finditer(solution):
        begin, end = found.span("inner")
        inner, outer = found.group("inner"), found.group("outer")
        if outer is not None and value_of(outer) == value_of(inner):
            yield Result(begin, found.end("outer"), outer, "annotation")
        elif outer is None or found.group("space"):
            yield Result(begin, end, inner, "annotation")
    inside = [found.span() for found in NO_PROSE.finditer(solution)]
    kinds: tuple[tuple[Kind, re.Pattern[str]], ...] = (("equation", EQUATION), ("phrase", PHRASE), ("term", TERM))
    for kind, pattern in kinds:
        for found in pattern.finditer(solution):
            begin, end = found.span("number")
            if not any(first <= begin < last for first, last in inside):
                yield Result(begin, end, found.group("number"), kind)
