"""A generated instruction set: eight small skills that a model of two million parameters learns in a minute or two,
with planted rows of which the right treatment is known.

Ordinary rows ask one question, or six in a dialogue. The planted rows are labelled in `meta`, so that what curation
did can be held against the truth:

- exact_duplicate: a byte-identical copy of an ordinary row, somewhere after it;
- near_duplicate: an edited copy of a dialogue, somewhere after it: with a greeting before, thanks at the end, or one
  word put into a question. A dialogue has at least 54 words and such an edit takes at most four of its word 5-grams
  and adds at most five, so the two have a Jaccard similarity above .8;
- refusal: an assistant that declines to write something harmless;
- too_short: at most four words in both turns together (an ordinary row has at least nine);
- leak: a held-out question with its answer, alone or inside a dialogue.

Ordinary rows are all different, share less than .7 of their word 5-grams with each other, and contain no held-out
question: a step that drops one for one of these reasons is wrong.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from core.artifacts.seeds import derive_seed
from core.documents.skill_questions import CATEGORIES, Question, questions_by_skill
from core.documents.table import DOCUMENTS
from core.options import Options

HELD_OUT_PER_SKILL = 50
HELD_OUT = 8 * HELD_OUT_PER_SKILL  # questions kept out of every training split, whatever its options
TURNS = 6  # questions in a dialogue

Messages = tuple[tuple[str, str], ...]  # (role, content) of each message

THINGS = " ".join(CATEGORIES.values()).split()
REQUESTS = (
    "Can you write a short story about the {} and the {}?",
    "Please compose a little poem about the {} and the {} too.",
    "I would like a friendly letter about the {} and the {}.",
    "Could you explain to me why the {} is not like the {}?",
)
REFUSALS = (
    "I'm sorry, but as an AI language model I cannot help with that.",
    "As an AI language model, I am not able to fulfill this request.",
    "I'm sorry, but I can't assist with that request.",
    "I apologize, but I cannot provide an answer to this.",
    "I am sorry, but I am unable to help you with that.",
)
REPLIES = ("Yes.", "No.", "Okay.", "Maybe.", "Sure.", "Fine.")


class Planted(Options):
    """How many rows are planted for curation to find: each kind as a share of all rows."""

    exact_duplicate: float = Field(0.03, ge=0, le=0.2, description="Byte-identical copies of other rows.")
    near_duplicate: float = Field(0.03, ge=0, le=0.2, description="Edited copies of dialogues.")
    refusal: float = Field(0.02, ge=0, le=0.2, description="Rows in which the assistant declines.")
    too_short: float = Field(0.01, ge=0, le=0.2, description="Rows of at most four words.")
    leak: float = Field(0.01, ge=0, le=0.2, description="Held-out questions with their answers.")


class Skills(Options):
    """Generated instructions for a few learnable skills, with planted rows of known kind."""

    rows: int = Field(6000, ge=100, le=50_000, description="Rows for training, planted ones included.")
    dialogues: float = Field(
        0.5,
        ge=0.1,
        le=1,
        description="Share of the ordinary rows that are dialogues of six questions, at least: "
        "rows for which no question is left that was not asked alone become dialogues too.",
    )
    planted: Planted = Planted()

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each kind: `ordinary`, and each kind of planted row."""
        planted = {kind: round(self.rows * share) for kind, share in self.planted}
        return {"ordinary": self.rows - sum(planted.values()), **planted}

    @model_validator(mode="after")
    def _enough_to_copy(self) -> Self:
        counts = self.counts
        if sum(share for _, share in self.planted) > 0.5:
            raise ValueError("more than half of the rows would be planted: lower the shares in planted")
        if counts["near_duplicate"] > (dialogues := int(counts["ordinary"] * self.dialogues)):
            raise ValueError(
                f"{counts['near_duplicate']} near duplicates are copies of as many dialogues, but there are "
                f"{dialogues}: raise dialogues or lower planted.near_duplicate"
            )
        if counts["leak"] > HELD_OUT:
            raise ValueError(f"{counts['leak']} leaks of {HELD_OUT} held-out questions: lower planted.leak")
        return self


@dataclass
class Row:
    """A row on its way to a place. `of` is the original of a copy, or the id of the leaked question."""

    messages: Messages
    skill: str
    planted: str | None = None
    of: Row | str | None = None
    id: str = ""


def skills_documents(options: Skills, seed: int, source_name: str, split: Literal["train", "heldout"]) -> pa.Table:
    """The instruction set as a table of DOCUMENTS, in `messages`. The same seed gives the same bytes everywhere.

    `meta` is a JSON object: `skill` (of a dialogue: "dialogue"), `planted` (null for an ordinary row) and `of` (id of
    the original or of the leaked question; null without one). Split "train" has `options.rows` rows.
    Split "heldout" has HELD_OUT rows, the skills in turn, and depends on the seed alone; its `meta` also has
    `question`, `choices` (in random order), `answer` and `gold` (the answer's index among the choices).
    """
    held_out, training = _split_questions(seed)
    if split == "heldout":
        order = random.Random(derive_seed(seed, "skills", "choices"))
        exam = [_exam(order, question) for question in held_out]
        rows = [
            Row(_messages([question]), question.skill, id=_held_out_id(source_name, i))
            for i, question in enumerate(held_out)
        ]
    else:
        rows = _train_rows(options, seed, source_name, held_out, training)
        exam = [{}] * len(rows)
        for i, row in enumerate(rows):
            row.id = f"{source_name}:0:{i}"
    return pa.Table.from_pylist(
        [_record(row, source_name, more) for row, more in zip(rows, exam, strict=True)], schema=DOCUMENTS
    )


def _held_out_id(source_name: str, index: int) -> str:
    return f"{source_name}:heldout:{index}"


def _exam(rng: random.Random, question: Question) -> dict[str, object]:
    choices = [question.answer, *question.distractors]
    rng.shuffle(choices)
    gold = choices.index(question.answer)
    return {"question": question.text, "choices": choices, "answer": question.answer, "gold": gold}


def _record(row: Row, source_name: str, more: dict[str, object]) -> dict[str, object]:
    of = row.of.id if isinstance(row.of, Row) else row.of
    return {
        "id": row.id,
        "source": source_name,
        "messages": [{"role": role, "content": content} for role, content in row.messages],
        "meta": json.dumps({"skill": row.skill, "planted": row.planted, "of": of, **more}),
    }


def _messages(questions: list[Question]) -> Messages:
    return tuple(
        message for question in questions for message in (("user", question.text), ("assistant", question.answer))
    )


def _split_questions(seed: int) -> tuple[list[Question], dict[str, list[Question]]]:
    """The held-out questions, the skills in turn, and those left for training, by skill in random order."""
    rng = random.Random(derive_seed(seed, "skills", "heldout"))
    training = questions_by_skill(rng)
    for questions in training.values():
        rng.shuffle(questions)
    held_out = [questions.pop() for _ in range(HELD_OUT_PER_SKILL) for questions in training.values()]
    return held_out, training


def _train_rows(
    options: Skills,
    seed: int,
    source_name: str,
    held_out: list[Question],
    training: dict[str, list[Question]],
) -> list[Row]:
    """Ordinary rows in random order, and planted ones put among them at random, copies after their originals."""
    counts = options.counts
    rng = random.Random(derive_seed(seed, "skills", "train"))
    single = counts["ordinary"] - int(counts["ordinary"] * options.dialogues)
    rows = [Row(_messages([question]), question.skill) for question in islice(_in_turn(training), single)]
    dialogues = [Row(_messages(_turns(rng, training)), "dialogue") for _ in range(counts["ordinary"] - len(rows))]
    rows += dialogues
    rng.shuffle(rows)
    places = [(float(place), row) for place, row in enumerate(rows)]
    place_of = {id(row): place for place, row in places}

    def plant(row: Row) -> None:
        first = place_of[id(row.of)] if isinstance(row.of, Row) else 0.0
        places.append((rng.uniform(first, len(rows)), row))

    for row in rng.sample(rows, counts["exact_duplicate"]):
        plant(Row(row.messages, row.skill, "exact_duplicate", row))
    for row in rng.sample(dialogues, counts["near_duplicate"]):
        plant(Row(_edited(rng, row.messages), row.skill, "near_duplicate", row))
    for row in _distinct(_refusal, rng, counts["refusal"]) + _distinct(_too_short, rng, counts["too_short"]):
        plant(row)
    for number, index in enumerate(rng.sample(range(HELD_OUT), counts["leak"])):
        turns = [held_out[index]]
        if number % 2:
            turns = _turns(rng, training)
            turns[rng.randrange(TURNS)] = held_out[index]
        plant(Row(_messages(turns), held_out[index].skill, "leak", _held_out_id(source_name, index)))
    return [row for _, row in sorted(places, key=lambda placed: placed[0])]


def _in_turn(training: dict[str, list[Question]]) -> Iterator[Question]:
    """Every training question once, the skills in turn until each is used up."""
    for i in range(max(map(len, training.values()))):
        for questions in training.values():
            if i < len(questions):
                yield questions[i]


def _turns(rng: random.Random, training: dict[str, list[Question]]) -> list[Question]:
    """The different questions of a dialogue, each of any skill."""
    turns: dict[str, Question] = {}
    while len(turns) < TURNS:
        question = rng.choice(training[rng.choice(list(training))])
        turns[question.text] = question
    return list(turns.values())


def _edited(rng: random.Random, messages: Messages) -> Messages:
    """The dialogue with one edit, which most of its word 5-grams survive."""
    edit = rng.choice(("greeting", "thanks", "word"))
    if edit == "thanks":
        return (*messages, ("user", "Thank you."), ("assistant", "You are welcome."))
    turn = 0 if edit == "greeting" else 2 * rng.randrange(TURNS)
    role, question = messages[turn]
    words = question.split()
    edited = f"Hello! {question}" if edit == "greeting" else " ".join([*words[:2], "really", *words[2:]])
    return (*messages[:turn], (role, edited), *messages[turn + 1 :])


def _refusal(rng: random.Random) -> Row:
    request = rng.choice(REQUESTS).format(*rng.sample(THINGS, 2))
    return Row((("user", request), ("assistant", rng.choice(REFUSALS))), "request", "refusal")


def _too_short(rng: random.Random) -> Row:
    remark = ", ".join(rng.sample(THINGS, rng.randint(1, 3)))
    return Row((("user", f"{remark}?"), ("assistant", rng.choice(REPLIES))), "remark", "too_short")


def _distinct(make: Callable[[random.Random], Row], rng: random.Random, count: int) -> list[Row]:
    rows: dict[Messages, Row] = {}
    while len(rows) < count:
        row = make(rng)
        rows[row.messages] = row
    return list(rows.values())
