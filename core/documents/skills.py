"""A generated instruction set: eight small skills that a model of a few million parameters learns in a minute,
with planted rows of which the right treatment is known.

Ordinary rows ask one question, or, where `dialogues` says so, six in a row. The planted rows are labelled in
`meta` so that what curation did can be held against the truth:

- exact_duplicate: a byte-identical copy of an ordinary row, somewhere after it;
- near_duplicate: a copy, somewhere after it, of a dialogue with one edit: a greeting before it, thanks after it,
  or a word put into one question. A dialogue has at least 50 word 5-grams, of which such an edit changes at most
  four and adds five, so copy and original have a Jaccard similarity of at least 46/55 = .836;
- refusal: an assistant that declines to write something harmless;
- too_short: at most four words in both turns together (an ordinary row has at least nine);
- leak: a held-out question with its answer, alone or inside a dialogue.

Ordinary rows are all different, share less than .7 of their word 5-grams with each other, and contain no held-out
question, so that a filter that drops one of them is wrong.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from core.artifacts.seeds import derive_seed
from core.documents import skill_questions
from core.documents.skill_questions import Question
from core.documents.table import DOCUMENTS
from core.options import Options

HELD_OUT_PER_SKILL = 50
HELD_OUT = 8 * HELD_OUT_PER_SKILL  # questions kept out of every training split, whatever its options
TURNS = 6  # questions in a dialogue

Messages = tuple[tuple[str, str], ...]  # (role, content) of each message

REQUESTS = (
    "Can you write a short story about the {} and the {}?",
    "Please compose a little poem in which a {} meets a {}.",
    "I would like a friendly letter that mentions the {} and the {}.",
    "Could you explain to me why the {} is not like the {}?",
)
REFUSALS = (
    "I'm sorry, but as an AI language model I cannot help with that.",
    "As an AI language model, I am not able to fulfill this request.",
    "I'm sorry, but I can't assist with that request.",
    "I apologize, but I cannot provide an answer to this.",
    "I am sorry, but I am unable to help you with that.",
)
REPLIES = ("Yes.", "No.", "Okay.", "Maybe.", "Sure.", "Hm.")


class Planted(Options):
    """How many of the rows are planted for curation to find, each kind as a share of all rows."""

    exact_duplicate: float = Field(0.03, ge=0, le=0.2, description="Byte-identical copies of other rows.")
    near_duplicate: float = Field(
        0.03, ge=0, le=0.2, description="Edited copies of dialogues, word 5-gram Jaccard .83 or more."
    )
    refusal: float = Field(0.02, ge=0, le=0.2, description="Rows in which the assistant declines.")
    too_short: float = Field(0.01, ge=0, le=0.05, description="Rows of at most four words.")
    leak: float = Field(0.01, ge=0, le=0.05, description="Held-out questions with their answers.")

    def counts(self, rows: int) -> dict[str, int]:
        """Planted rows of each kind among `rows` rows."""
        return {kind: round(rows * getattr(self, kind)) for kind in type(self).model_fields}


class Skills(Options):
    """Generated instructions for a few learnable skills, with planted rows of known kind."""

    rows: int = Field(
        8000, ge=100, le=100_000, description="Rows of the training split, planted ones included."
    )
    dialogues: float = Field(
        0.25, ge=0, le=1, description="Share of the ordinary rows that are dialogues of six questions."
    )
    planted: Planted = Planted()

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each kind: `single`, `dialogue`, and each kind of planted row."""
        planted = self.planted.counts(self.rows)
        ordinary = self.rows - sum(planted.values())
        dialogues = round(ordinary * self.dialogues)
        return {"single": ordinary - dialogues, "dialogue": dialogues, **planted}

    @model_validator(mode="after")
    def _enough_originals(self) -> Self:
        counts = self.counts
        if counts["near_duplicate"] > counts["dialogue"]:
            raise ValueError(
                f"{counts['near_duplicate']} near duplicates need as many dialogues to copy, there are "
                f"{counts['dialogue']}: raise dialogues or lower planted.near_duplicate"
            )
        if counts["leak"] > HELD_OUT:
            raise ValueError(
                f"{counts['leak']} leaks, but only {HELD_OUT} held-out questions: lower planted.leak"
            )
        return self


@dataclass
class Row:
    """A row before it has a place. `of` is the planted row's original, or the id of a held-out question."""

    messages: Messages
    skill: str
    planted: str | None = None
    of: Row | str | None = None
    id: str = ""


def skills_documents(
    options: Skills, seed: int, source_name: str, split: Literal["train", "heldout"]
) -> pa.Table:
    """The instruction set as a table of DOCUMENTS, dialogues in `messages`; the same bytes for the same seed.

    `meta` is a JSON object: `skill` (or "dialogue"), `planted` (null for an ordinary row) and `of` (the id of the
    original or of the leaked question). Split "train" has `options.rows` rows, planted ones spread through it.
    Split "heldout" has HELD_OUT rows, the skills in turn, and depends on the seed alone; `meta` then also has
    `question`, `choices` (in random order), `answer` and `gold` (index of the answer among the choices).
    """
    held_out, pools = _split_questions(seed)
    if split == "heldout":
        rows = [
            Row(_messages(question), question.skill, id=_held_out_id(source_name, i))
            for i, question in enumerate(held_out)
        ]
        order = random.Random(derive_seed(seed, "skills", "choices"))
        return _table(rows, [_exam(order, question) for question in held_out], source_name)
    rows = _train_rows(options, seed, source_name, held_out, pools)
    for i, row in enumerate(rows):
        row.id = f"{source_name}:0:{i}"
    return _table(rows, [{}] * len(rows), source_name)


def _held_out_id(source_name: str, index: int) -> str:
    return f"{source_name}:heldout:{index}"


def _exam(rng: random.Random, question: Question) -> dict[str, object]:
    choices = [question.answer, *question.distractors]
    rng.shuffle(choices)
    return {
        "question": question.text,
        "choices": choices,
        "answer": question.answer,
        "gold": choices.index(question.answer),
    }


def _table(rows: list[Row], more_meta: list[dict[str, object]], source_name: str) -> pa.Table:
    records = []
    for row, more in zip(rows, more_meta, strict=True):
        of = row.of.id if isinstance(row.of, Row) else row.of
        records.append(
            {
                "id": row.id,
                "source": source_name,
                "messages": [{"role": role, "content": content} for role, content in row.messages],
                "meta": json.dumps({"skill": row.skill, "planted": row.planted, "of": of, **more}),
            }
        )
    return pa.Table.from_pylist(records, schema=DOCUMENTS)


def _messages(*questions: Question) -> Messages:
    return tuple(
        message
        for question in questions
        for message in (("user", question.text), ("assistant", question.answer))
    )


class Pools:
    """The questions that training may ask: those of the fact skills listed, those of the open skills drawn."""

    def __init__(self, facts: dict[str, list[Question]], held_out: list[Question]) -> None:
        self.facts = facts
        self.skills = [*facts, "position"]
        self._forbidden = {question.text for question in held_out}

    def draw(self, rng: random.Random, skill: str) -> Question:
        """Any question of the skill, perhaps one that was drawn before."""
        if skill in self.facts:
            return rng.choice(self.facts[skill])
        while (question := skill_questions.position(rng)).text in self._forbidden:
            pass
        return question

    def distinct(self, rng: random.Random) -> Iterator[Question]:
        """Questions without end, none twice, the skills in turn; a fact skill drops out when it is used up."""
        left = {skill: list(questions) for skill, questions in self.facts.items()}
        seen = set(self._forbidden)
        while True:
            for skill in self.skills:
                if skill not in left:
                    while (question := self.draw(rng, skill)).text in seen:
                        pass
                elif left[skill]:
                    question = left[skill].pop()
                else:
                    continue
                seen.add(question.text)
                yield question


def _split_questions(seed: int) -> tuple[list[Question], Pools]:
    """The held-out questions, the skills in turn, and what is left for training."""
    rng = random.Random(derive_seed(seed, "skills", "heldout"))
    facts = skill_questions.facts(rng)
    by_skill: list[list[Question]] = []
    for questions in facts.values():
        rng.shuffle(questions)
        by_skill.append([questions.pop() for _ in range(HELD_OUT_PER_SKILL)])
    positions: dict[str, Question] = {}
    while len(positions) < HELD_OUT_PER_SKILL:
        question = skill_questions.position(rng)
        positions[question.text] = question
    by_skill.append(list(positions.values()))
    held_out = [question for turn in zip(*by_skill, strict=True) for question in turn]
    return held_out, Pools(facts, held_out)


def _train_rows(
    options: Skills, seed: int, source_name: str, held_out: list[Question], pools: Pools
) -> list[Row]:
    """Ordinary rows in random order, and planted ones put among them at random, copies after their originals."""
    counts = options.counts
    rng = random.Random(derive_seed(seed, "skills", "train"))
    questions = pools.distinct(rng)
    singles = [
        Row(_messages(question), question.skill)
        for question, _ in zip(questions, range(counts["single"]), strict=False)
    ]
    dialogues = [Row(_messages(*_turns(rng, pools)), "dialogue") for _ in range(counts["dialogue"])]
    ordinary = singles + dialogues
    rng.shuffle(ordinary)
    placed = [(float(place), row) for place, row in enumerate(ordinary)]

    def plant(row: Row, after: float = 0.0) -> None:
        placed.append((rng.uniform(after, len(ordinary)), row))

    place_of = {id(row): place for place, row in placed}
    near = rng.sample(dialogues, counts["near_duplicate"])
    for row in near:
        plant(Row(_edited(rng, row.messages), row.skill, "near_duplicate", row), place_of[id(row)])
    for row in rng.sample(ordinary, counts["exact_duplicate"]):
        plant(Row(row.messages, row.skill, "exact_duplicate", row), place_of[id(row)])
    for row in _distinct(_refusal, rng, counts["refusal"]):
        plant(row)
    for row in _distinct(_too_short, rng, counts["too_short"]):
        plant(row)
    for number, index in enumerate(rng.sample(range(len(held_out)), counts["leak"])):
        turns = [held_out[index]]
        if number % 2:
            turns = _turns(rng, pools)
            turns[rng.randrange(TURNS)] = held_out[index]
        plant(Row(_messages(*turns), held_out[index].skill, "leak", _held_out_id(source_name, index)))
    placed.sort(key=lambda entry: entry[0])  # stable: an original stays before its copy
    return [row for _, row in placed]


def _turns(rng: random.Random, pools: Pools) -> list[Question]:
    turns: dict[str, Question] = {}
    while len(turns) < TURNS:
        question = pools.draw(rng, rng.choice(pools.skills))
        turns[question.text] = question
    return list(turns.values())


def _edited(rng: random.Random, messages: Messages) -> Messages:
    """The dialogue with one edit that leaves most word 5-grams as they are."""
    kind = rng.choice(("greeting", "thanks", "word"))
    if kind == "thanks":
        return (*messages, ("user", "Thank you."), ("assistant", "You are welcome."))
    turn = 0 if kind == "greeting" else 2 * rng.randrange(TURNS)
    role, question = messages[turn]
    words = question.split()
    edited = f"Hello! {question}" if kind == "greeting" else " ".join([*words[:2], "really", *words[2:]])
    return (*messages[:turn], (role, edited), *messages[turn + 1 :])


def _refusal(rng: random.Random) -> Row:
    request = rng.choice(REQUESTS).format(*rng.sample(skill_questions.WORDS, 2))
    return Row((("user", request), ("assistant", rng.choice(REFUSALS))), "request", "refusal")


def _too_short(rng: random.Random) -> Row:
    words = ", ".join(rng.sample(skill_questions.WORDS, rng.randint(1, 3)))
    return Row((("user", f"{words}?"), ("assistant", rng.choice(REPLIES))), "remark", "too_short")


def _distinct(make: Callable[[random.Random], Row], rng: random.Random, count: int) -> list[Row]:
    rows: dict[Messages, Row] = {}
    while len(rows) < count:
        row = make(rng)
        rows[row.messages] = row
    return list(rows.values())
