"""Multiple-choice questions from rows: a question, its choices and which of them is right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import orjson
from pydantic import Field, model_validator

from core.documents.mapping import Misfit
from core.documents.rows import Problem, Row, known_names, named
from core.instructions.worked_examples import check_prompt, filled
from core.options import Options

Answers = Literal["text", "letter"]
Column = Annotated[str, Field(min_length=1)]

MARKUP = re.compile(r"\[.*?\]")  # [header], [title], [step] and [substeps] of HellaSwag's WikiHow rows
LIST_HEADING = "Options are:"
MOST_CHOICES = 26
PROMPT_NAMES = ("question", "choices", "before")


class Item(NamedTuple):
    """A question with its choices."""

    id: str  # the row's own id, or its number
    before: str  # what it is about; empty where nothing is
    question: str
    choices: tuple[str, ...]
    answer: int  # index of the right choice


class Columns(Options):
    """Which columns make a question. A name with dots that is no column is a path into nested values."""

    question: Column | None = Field(
        None, description="Column with the question; without it, the words that all choices begin with."
    )
    before: Column | None = Field(None, description="Column with what the question is about, e.g. a passage.")
    title: Column | None = Field(None, description="Column with a heading, which goes before it with a colon.")
    choices: Column | list[Column] = Field(
        [],
        description="Column with the choices: a list of strings or of {label, text}, an object {label, text} of two "
        "lists, or one string '(A) ... (B) ...' (the question's own column: it ends with them). Or a column for each.",
    )
    fixed: list[str] = Field([], description="The choices where no column holds them, e.g. [no, yes].")
    after: Column | None = Field(None, description="Column with what follows every choice.")
    blank: bool = Field(False, description="A choice goes where the question has an underscore.")
    answer: Column = Field(description="Column that says which choice is right.")
    answer_is: Literal["label", "index", "number"] = Field(
        "label",
        description="label: the label of the right choice (A, B, ... where choices have none); index: its place from 0 "
        "(also false and true); number: its place from 1.",
    )
    id: Column | None = Field(None, description="Column with the question's id; without it, the row's number.")
    markup: bool = Field(False, description="Take out HellaSwag's [header], [title] and [step], as lm-eval does.")
    prompt: str = Field(
        "Question: {question}\nAnswer:",
        description="How it is asked: {question}, {before}, and {choices} for the list 'A. ...' of them.",
    )
    answers: Answers = Field("text", description="What is answered: the text of a choice, or its letter in the list.")

    @model_validator(mode="after")
    def _choices_from_one_place(self) -> Columns:
        if bool(self.choices) == bool(self.fixed):
            raise ValueError("choices (a column or a list of columns) or fixed (the choices): give exactly one")
        if self.blank and self.question is None:
            raise ValueError("blank goes with question, the column that has an underscore")
        self.check()
        return self

    def check(self) -> None:
        """Raises ValueError where the prompt does not go with the columns."""
        check_prompt(self.prompt, PROMPT_NAMES)
        if (self.before is not None) != ("{before}" in self.prompt):
            raise ValueError(
                f"the prompt has {{before}} where before names a column, and only there; found the prompt "
                f"{self.prompt!r} and the column {self.before}"
            )
        if self.answers == "letter" and "{choices}" not in self.prompt:
            raise ValueError(f"answers: letter goes with a prompt that lists the {{choices}}; found {self.prompt!r}")

    @property
    def needed(self) -> set[str]:
        """The columns that are read."""
        choices = [self.choices] if isinstance(self.choices, str) else self.choices
        return {
            name
            for name in (self.question, self.title, self.before, *choices, self.after, self.answer, self.id)
            if name
        }


def asked(item: Item, columns: Columns) -> str:
    """The layout's prompt with the question, and the list of its choices, put in."""
    listed = "\n".join(f"{letter(place)}. {choice}" for place, choice in enumerate(item.choices))
    return filled(columns.prompt, {"question": item.question, "choices": listed, "before": item.before})


def answered(item: Item, place: int, columns: Columns) -> str:
    """What the layout has as an answer: the choice at a place, or its letter."""
    return item.choices[place] if columns.answers == "text" else letter(place)


def letter(place: int) -> str:
    """The letter of a choice in the list of them: A is the first."""
    return chr(ord("A") + place)


def items(rows: Sequence[Row], columns: Columns) -> tuple[list[tuple[Row, Item]], list[Problem]]:
    """The questions of rows, each with its row, in order, and the problems of rows that are none."""
    made = []
    problems = []
    for row in rows:
        try:
            made.append((row, item(row, columns)))
        except Misfit as misfit:
            problems.append(problem(row, misfit))
    return made, problems


def problem(row: Row, misfit: Misfit) -> Problem:
    """What is kept of a row that does not fit."""
    return Problem(row.number, misfit.reason, f"{row.place}: {misfit}", orjson.dumps(row.value, default=str).decode())


def item(row: Row, columns: Columns) -> Item:
    """The question of one row. Raises Misfit where a column is missing, or the answer is none of the choices."""
    value = row.value
    labels, choices = _choices(value, columns)
    if not 2 <= len(choices) <= MOST_CHOICES:
        raise Misfit("no_choices", f"found {len(choices)} choices, expected 2 to {MOST_CHOICES}")
    answer = _answer(cell_of(value, columns.answer), labels, columns)
    if columns.after is not None:
        after = text_of(value, columns.after)
        choices = [f"{choice} {after}" for choice in choices]
    if columns.question is None:
        question, choices = _common_beginning(choices)
    elif columns.choices == columns.question:
        question = _listed(text_of(value, columns.question))[0]
    else:
        question = text_of(value, columns.question)
    if columns.blank:
        question, underscore, rest = question.partition("_")
        if not underscore:
            raise Misfit("no_blank", f"column '{columns.question}' has no underscore, which stands for the choice")
        question, choices = question.rstrip(), [choice + rest for choice in choices]
    before = "" if columns.before is None else text_of(value, columns.before)
    if columns.title is not None:
        question = f"{text_of(value, columns.title)}: {question}"
    if columns.markup:
        question, choices = _without_markup(question), [_without_markup(choice) for choice in choices]
    own = row.number if columns.id is None else cell_of(value, columns.id)
    return Item(str(own), before, question, tuple(choices), answer)


def cell_of(value: dict[str, Any], column: str) -> Any:
    """What a column holds, or a path into nested values. Raises Misfit where there is none."""
    if column in value:
        return value[column]
    inner: Any = value
    for part in column.split("."):
        if not isinstance(inner, dict) or part not in inner:
            raise Misfit("missing_field", f"no column '{column}'; {known_names(column, value)}")
        inner = inner[part]
    return inner


def text_of(value: dict[str, Any], column: str) -> str:
    """The text that a column holds. Raises Misfit."""
    found = cell_of(value, column)
    if not isinstance(found, str):
        raise Misfit("not_text", f"column '{column}' holds {named(found)}, expected text")
    return found


def _choices(value: dict[str, Any], columns: Columns) -> tuple[list[str], list[str]]:
    """Labels (A, B, ... where the data have none) and texts."""
    if columns.fixed:
        found: Any = columns.fixed
    elif isinstance(columns.choices, list):
        found = [cell_of(value, name) for name in columns.choices]
    else:
        found = cell_of(value, columns.choices)
    labels: Any = None
    if isinstance(found, str):
        _, labels, found = _listed(found)
    elif isinstance(found, dict) and {"label", "text"} <= found.keys():
        labels, found = found["label"], found["text"]
    elif isinstance(found, list) and found and all(isinstance(each, dict) for each in found):
        labels, found = [each.get("label") for each in found], [each.get("text") for each in found]
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise Misfit("not_choices", f"column '{columns.choices}' holds {named(found)}, expected a list of texts")
    if labels is None:
        labels = [letter(place) for place in range(len(found))]
    if not isinstance(labels, list) or len(labels) != len(found):
        raise Misfit("not_choices", f"column '{columns.choices}' has {named(labels)} as labels of {len(found)} choices")
    return [str(label) for label in labels], found


def _answer(found: Any, labels: list[str], columns: Columns) -> int:
    """The index of the right choice."""
    if found is None or found == "":
        raise Misfit("no_answer", f"column '{columns.answer}' is empty: is this a test split without answers?")
    if columns.answer_is == "label":
        known = str(found).strip()
        if known in labels:
            return labels.index(known)
        raise Misfit("no_such_choice", f"column '{columns.answer}' holds {named(found)}, expected {', '.join(labels)}")
    first = 0 if columns.answer_is == "index" else 1
    if isinstance(found, int) or (isinstance(found, str) and found.strip().isdecimal()):
        place = int(found) - first
        if 0 <= place < len(labels):
            return place
    last = len(labels) - 1 + first
    raise Misfit("no_such_choice", f"column '{columns.answer}' holds {named(found)}, expected {first} to {last}")


def _listed(text: str) -> tuple[str, list[str], list[str]]:
    """What stands before a list '(A) ... (B) ...' or '(1) ... (2) ...', its labels and its texts."""
    for first in "A1":
        labels: list[str] = []
        marks: list[tuple[int, int]] = []
        while found := re.compile(rf"\({chr(ord(first) + len(labels))}\):?(?=\s)").search(
            text, marks[-1][1] if marks else 0
        ):
            labels.append(found.group()[1])
            marks.append(found.span())
        if len(labels) > 1:
            ends = [begin for begin, _ in marks[1:]] + [len(text)]
            texts = [text[begin:end].strip() for (_, begin), end in zip(marks, ends, strict=True)]
            return text[: marks[0][0]].rstrip().removesuffix(LIST_HEADING).rstrip(), labels, texts
    return text, [], []


def _common_beginning(choices: list[str]) -> tuple[str, list[str]]:
    """The words that all choices begin with, and the rest of each, which has at least one word."""
    words = [choice.split(" ") for choice in choices]
    same = 0
    while len({tuple(each[: same + 1]) for each in words}) == 1 and all(len(each) > same + 1 for each in words):
        same += 1
    return " ".join(words[0][:same]), [" ".join(each[same:]) for each in words]


def _without_markup(text: str) -> str:
    return MARKUP.sub("", text.strip().replace(" [title]", ". ")).replace("  ", " ").strip()
