"""Requests of lm-eval as chunks: what is scored in one batch, by whichever worker, and always in the same company.

A chunk's composition follows from the requests alone, never from the number of workers, so that any number of them
gives the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import orjson

Tokens = tuple[int, ...]
LEAST_ROWS = 8  # of a batch of prompts, before it is one of four
LEAST_PREFIX = 16  # tokens that a task's questions must begin with in common, to be worth keeping


@dataclass(frozen=True)
class Question:
    """Inputs that begin alike, as a tree: the trunk that they share, and a branch for each ending.

    asked: for every request the number of its branch and the tokens whose log-likelihood is wanted, which are the last
    of trunk and branch, one place further on.
    """

    trunk: Tokens
    branches: tuple[Tokens, ...]
    asked: tuple[tuple[int, Tokens], ...]

    def width(self) -> int:
        """Tokens of the tree."""
        return len(self.trunk) + sum(map(len, self.branches))


@dataclass(frozen=True)
class Likelihoods:
    """Questions that follow a common prefix: log-likelihood of every token asked for, in one batch of trees."""

    prefix: Tokens
    questions: tuple[Question, ...]
    kind: Literal["likelihoods"] = "likelihoods"

    def cost(self) -> int:
        """Tokens with the padding of a batch."""
        return len(self.questions) * max(question.width() for question in self.questions)

    def halves(self) -> tuple[Likelihoods, Likelihoods] | None:
        """Two chunks in its place, where it does not fit into memory; None where it is one question."""
        return _halves(self, "questions")


@dataclass(frozen=True)
class Texts:
    """Prompts that follow a common prefix, and are gone on with greedily."""

    prefix: Tokens
    prompts: tuple[Tokens, ...]
    until: tuple[str, ...]
    max_new_tokens: int
    kind: Literal["texts"] = "texts"

    def cost(self) -> int:
        """Tokens with the padding of a batch, were every answer as long as it may be."""
        return len(self.prompts) * (max(map(len, self.prompts)) + self.max_new_tokens)

    def halves(self) -> tuple[Texts, Texts] | None:
        """Two chunks in its place, where it does not fit into memory; None where it is one prompt."""
        return _halves(self, "prompts")


@dataclass(frozen=True)
class StockLikelihoods:
    """A batch exactly as stock lm-eval composes it: context and continuation tokens of every request."""

    requests: tuple[tuple[Tokens, Tokens], ...]
    kind: Literal["stock likelihoods"] = "stock likelihoods"

    def cost(self) -> int:
        """Tokens with the padding of a batch."""
        return len(self.requests) * max(len(context) + len(asked) for context, asked in self.requests)

    def halves(self) -> tuple[StockLikelihoods, StockLikelihoods] | None:
        """Two chunks in its place, where it need not be stock lm-eval's; None where it is one request."""
        return _halves(self, "requests")


@dataclass(frozen=True)
class StockTexts:
    """A batch of prompts exactly as stock lm-eval composes it.

    seed: of what is sampled; its own for each chunk and repeat. None where nothing is.
    """

    prompts: tuple[str, ...]
    settings: dict[str, Any] = field(hash=False)
    seed: int | None
    kind: Literal["stock texts"] = "stock texts"

    def cost(self) -> int:
        """About its tokens: what comes first is only a matter of order."""
        return len(self.prompts) * (max(map(len, self.prompts)) // 4 + int(self.settings.get("max_gen_toks", 256)))

    def halves(self) -> tuple[StockTexts, StockTexts] | None:
        """Two chunks in its place, where it need not be stock lm-eval's; None for one prompt, and what is sampled."""
        return _halves(self, "prompts") if self.seed is None else None


Chunk = Likelihoods | Texts | StockLikelihoods | StockTexts
Answer = tuple[float, bool] | str
C = TypeVar("C", bound=Chunk)


def _halves(chunk: C, parts: str) -> tuple[C, C] | None:
    every = getattr(chunk, parts)
    middle = len(every) // 2
    return (replace(chunk, **{parts: every[:middle]}), replace(chunk, **{parts: every[middle:]})) if middle else None


def chunk_key(chunk: Chunk, model: str) -> str:
    """The content address of a chunk's answers: what is asked, by which weights, tokenizer and number format."""
    said = orjson.dumps([model, chunk])
    return hashlib.sha256(said).hexdigest()


def question_tree(inputs: Sequence[tuple[Tokens, Tokens]]) -> Question:
    """Of requests that begin alike. inputs: of each the tokens put in, and the tokens asked for (its last, shifted)."""
    sequences = [tokens for tokens, _ in inputs]
    trunk = common_prefix(sequences)
    branches: dict[Tokens, int] = {}
    asked = [(branches.setdefault(tokens[len(trunk) :], len(branches)), wanted) for tokens, wanted in inputs]
    if len(branches) == 1:  # one sequence, whatever is asked of it
        return Question(sequences[0], ((),), tuple(asked))
    return Question(trunk, tuple(branches), tuple(asked))


def common_prefix(sequences: Sequence[Tokens]) -> Tokens:
    """The longest beginning that all have."""
    if not sequences:
        return ()
    first, last = min(sequences), max(sequences)
    for place, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return first[:place]
    return first


def alike(inputs: Sequence[tuple[Tokens, Tokens]]) -> list[list[int]]:
    """Numbers of a document's requests, grouped by a common beginning of at least half of each."""
    groups: list[tuple[Tokens, list[int]]] = []
    for number, (tokens, _) in enumerate(inputs):
        for place, (trunk, members) in enumerate(groups):
            shared = common_prefix([trunk, tokens])
            if 2 * len(shared) >= max(len(tokens), len(inputs[members[0]][0])):
                members.append(number)
                groups[place] = (shared, members)
                break
        else:
            groups.append((tokens, [number]))
    return [members for _, members in groups]


def without_prefix(questions: Sequence[Question]) -> tuple[Tokens, list[Question]]:
    """The beginning that all of a task's questions have, and each without it; none where it is short.

    It ends before the first place whose output is asked for.
    """
    if len(questions) < 2:
        return (), list(questions)
    shared = common_prefix([question.trunk for question in questions])
    first = min(
        len(question.trunk) + len(question.branches[branch]) - len(wanted)
        for question in questions
        for branch, wanted in question.asked
    )
    prefix = shared[: max(first, 0)]
    if len(prefix) < LEAST_PREFIX:
        return (), list(questions)
    length = len(prefix)
    return prefix, [Question(each.trunk[length:], each.branches, each.asked) for each in questions]


def likelihood_chunks(
    questions: Sequence[Question], tokens: int, outputs: int
) -> tuple[list[Likelihoods], list[list[int]]]:
    """A task's questions in batches, longest first, and the numbers of the questions in each.

    tokens: of a batch, with its padding. outputs: places of a batch whose output is asked for.
    """
    prefix, rest = without_prefix(questions)
    order = sorted(range(len(rest)), key=lambda number: (-rest[number].width(), number))
    members: list[list[int]] = []
    asked, width = 0, 0
    for number in order:
        places = sum(len(wanted) for _, wanted in rest[number].asked)
        full = members and ((len(members[-1]) + 1) * width > tokens or asked + places > outputs)
        if not members or full:
            members.append([])
            asked, width = 0, rest[number].width()
        members[-1].append(number)
        asked += places
    chunks = [Likelihoods(prefix, tuple(rest[number] for number in group)) for group in members]
    return chunks, members


def text_chunks(
    prompts: Sequence[Tokens], until: tuple[str, ...], max_new_tokens: int, tokens: int, rows: int
) -> tuple[list[Texts], list[list[int]]]:
    """Prompts in batches, longest first, and the numbers of the prompts in each.

    tokens: that a batch may hold, answers included. rows: prompts of a batch; fewer where there would be few batches,
    so that scorers have work, and what is stopped has something finished.
    """
    rows = min(rows, max(LEAST_ROWS, -(-len(prompts) // 4)))
    prefix = common_prefix([prompt[:-1] for prompt in prompts]) if len(prompts) > 1 else ()
    prefix = prefix if len(prefix) >= LEAST_PREFIX else ()
    rest = [prompt[len(prefix) :] for prompt in prompts]
    order = sorted(range(len(rest)), key=lambda number: (-len(rest[number]), number))
    members: list[list[int]] = []
    width = 0
    for number in order:
        if not members or len(members[-1]) == rows or (len(members[-1]) + 1) * width > tokens:
            members.append([])
            width = len(rest[number]) + max_new_tokens
        members[-1].append(number)
    chunks = [Texts(prefix, tuple(rest[n] for n in group), until, max_new_tokens) for group in members]
    return chunks, members
