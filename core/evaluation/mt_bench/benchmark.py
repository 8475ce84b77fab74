"""MT-Bench: questions of two turns, and single-answer grading by a judge, as published.

Zheng et al. 2023, https://arxiv.org/abs/2306.05685, and its code, fastchat/llm_judge of
https://github.com/lm-sys/FastChat. Questions, the judge's prompts and reference answers are files of the user's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from core.errors import DataError
from core.evaluation.mt_bench.endpoint import Message

QUESTIONS, PROMPTS, REFERENCES = "question.jsonl", "judge_prompts.jsonl", "reference_answer/gpt-4.jsonl"
WITH_REFERENCE = ("math", "reasoning", "coding")  # categories that are judged beside a reference answer
TEMPERATURES = {
    "writing": 0.7,
    "roleplay": 0.7,
    "extraction": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "reasoning": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
OTHER_TEMPERATURE = 0.7  # of a category that is not MT-Bench's
UNRATED = -1.0
RATINGS = (re.compile(r"\[\[(\d+\.?\d*)\]\]"), re.compile(r"\[(\d+\.?\d*)\]"))  # the second where the first is nowhere
LOWEST, HIGHEST = 1, 10


@dataclass(frozen=True)
class Question:
    """One or two turns that a user takes."""

    id: int | str
    category: str
    turns: tuple[str, ...]
    references: tuple[str, ...]  # a right answer to each turn; none where it is judged without

    @property
    def temperature(self) -> float:
        """That its answers are drawn with, as published."""
        return TEMPERATURES.get(self.category, OTHER_TEMPERATURE)


@dataclass(frozen=True)
class Benchmark:
    """Questions, and the judge's system prompt and prompt template by the prompt's name."""

    questions: tuple[Question, ...]
    prompts: Mapping[str, tuple[str, str]]

    def judge_messages(self, question: Question, answers: Sequence[str], turn: int) -> list[Message]:
        """What the judge is asked about the answer to a turn (1 or 2). answers: to this turn and those before it."""
        system, template = self.prompts[prompt_name(question, turn)]
        content = template.format(**_filled(question, answers, turn))
        return [{"role": "system", "content": system}, {"role": "user", "content": content}]


def prompt_name(question: Question, turn: int) -> str:
    """Of the published prompt that a turn's answer is judged by."""
    return f"single-{'math-' if question.references else ''}v1{'-multi-turn' if turn == 2 else ''}"


def _filled(question: Question, answers: Sequence[str], turn: int) -> dict[str, str]:
    """What stands in a template's places."""
    filled = {f"ref_answer_{number}": text for number, text in enumerate(question.references, 1)}
    if turn == 1:
        return filled | {"question": question.turns[0], "answer": answers[0]}
    filled |= {f"question_{number}": text for number, text in enumerate(question.turns, 1)}
    return filled | {f"answer_{number}": text for number, text in enumerate(answers, 1)}


def rating(judgment: str) -> float:
    """The first `[[n]]` of a judgment, else its first `[n]`; UNRATED where there is neither.

    So is a number that is not on the judge's scale, 1 to 10, which FastChat would take as it is.
    """
    found = next((match for match in (pattern.search(judgment) for pattern in RATINGS) if match), None)
    value = float(found[1]) if found else UNRATED
    return value if LOWEST <= value <= HIGHEST else UNRATED


def read_benchmark(directory: Path, limit: int | None = None) -> Benchmark:
    """Reads QUESTIONS (the first `limit`), PROMPTS, and REFERENCES of the categories that need them.

    Raises DataError, with file and line, for a file that is not there, a row of another form, a question that comes
    twice, and a prompt or a reference answer that is missing.
    """
    path = directory / QUESTIONS
    questions: dict[int | str, Question] = {}
    references: dict[int | str, tuple[str, ...]] | None = None
    for place, row in _rows(path)[:limit]:
        question = Question(
            _field(row, "question_id", (int, str), place),
            _field(row, "category", (str,), place),
            _texts(_field(row, "turns", (list,), place), f"{place}: turns"),
            (),
        )
        if question.id in questions:
            raise DataError(f"{place}: a second question {question.id}")
        if question.category in WITH_REFERENCE:
            references = _references(directory / REFERENCES) if references is None else references
            found = references.get(question.id, ())
            if len(found) < len(question.turns):
                raise DataError(
                    f"{directory / REFERENCES}: found {len(found)} reference answers to question {question.id} "
                    f"({question.category}), expected {len(question.turns)}"
                )
            question = Question(question.id, question.category, question.turns, found[: len(question.turns)])
        questions[question.id] = question
    if not questions:
        raise DataError(f"{path}: no questions")
    return Benchmark(tuple(questions.values()), _prompts(directory / PROMPTS, list(questions.values())))


def _prompts(path: Path, questions: Sequence[Question]) -> dict[str, tuple[str, str]]:
    """The prompts that the questions need, tried out on one of them each."""
    needed = {
        prompt_name(question, turn): (question, turn)
        for question in questions
        for turn in range(1, len(question.turns) + 1)
    }
    prompts = {}
    for place, row in _rows(path):
        if (name := _field(row, "name", (str,), place)) in needed:
            system, template = (_field(row, key, (str,), place) for key in ("system_prompt", "prompt_template"))
            question, turn = needed[name]
            try:
                template.format(**_filled(question, question.turns, turn))
            except (LookupError, ValueError) as error:
                raise DataError(f"{place}: prompt_template of {name} cannot be filled in ({error!r})") from error
            prompts[name] = (system, template)
    if missing := sorted(needed.keys() - prompts):
        raise DataError(f"{path}: no prompt {missing[0]}")
    return prompts


def _references(path: Path) -> dict[int | str, tuple[str, ...]]:
    found = {}
    for place, row in _rows(path):
        choice = (_field(row, "choices", (list,), place) or [None])[0]
        turns = choice.get("turns") if isinstance(choice, dict) else None
        found[_field(row, "question_id", (int, str), place)] = _texts(turns, f"{place}: choices[0].turns")
    return found


def _rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with its place."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); MT-Bench's files are FastChat's, fastchat/llm_judge/data"
        ) from error
    rows = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not valid JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: found {type(row).__name__}, expected an object")
            rows.append((f"{path}:{number}", row))
    return rows


def _field(row: Mapping[str, Any], name: str, kinds: tuple[type, ...], place: str) -> Any:
    if not isinstance(value := row.get(name), kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise DataError(f"{place}: {name} is {type(value).__name__}, expected {expected}")
    return value


def _texts(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= 2 or not all(isinstance(each, str) for each in value):
        raise DataError(f"{place}: found {value!r}, expected one or two texts")
    return tuple(value)
