"""What HELM's scenarios do that a task file cannot say: splits, labels, and how an answer is scored.

Liang et al. 2022, https://arxiv.org/abs/2211.09110; code https://github.com/stanford-crfm/helm, and for the scenarios
of the LLM Efficiency Challenge https://github.com/llm-efficiency-challenge/private-helm.
"""

from __future__ import annotations

import functools
import itertools
import random
from typing import Any

from datasets import Dataset
from lm_eval.api.samplers import ContextSampler
from lm_eval.tasks.hendrycks_math.utils import is_equiv, last_boxed_only_string, remove_boxed
from rouge_score import rouge_scorer  # type: ignore[import-untyped]

Row = dict[str, Any]
EXAMPLES = 0.2  # of TruthfulQA's questions: the first, from which few-shot examples are taken


class SameExamples(ContextSampler):  # type: ignore[misc]
    """Few-shot examples drawn once, the same before every question of a task: but for the question itself."""

    _order: list[int] | None = None

    def sample(self, n: int, eval_doc: Row | None = None, df: Any = None, **named: Any) -> list[Row]:
        """The first n of the examples in an order that the seed gives. Raises ValueError where there are fewer."""
        examples = self.fewshot_docs()
        if self._order is None:
            self._order = self.rnd.sample(range(len(examples)), len(examples))
        others = (examples[number] for number in self._order if examples[number] != eval_doc)
        found = list(itertools.islice(others, n))
        if len(found) < n:
            raise ValueError(f"{n} examples are asked for, and there are {len(found)}")
        return found


def truthful_questions(documents: Dataset) -> Dataset:
    """TruthfulQA's questions but for the first fifth, with choices as HELM writes them."""
    return documents.select(range(int(len(documents) * EXAMPLES), len(documents))).map(_with_choices)


def truthful_examples(documents: Dataset) -> list[Row]:
    """The first fifth of TruthfulQA's questions."""
    return list(documents.select(range(int(len(documents) * EXAMPLES))).map(_with_choices))


def _with_choices(document: Row) -> Row:
    """The best answer among the wrong ones, where its first letter's number puts it."""
    best, *wrong = (
        text if text.endswith(".") else f"{text}."
        for text in (document["best_answer"].strip(), *(text.strip() for text in document["incorrect_answers"]))
    )
    choices = [*wrong, best]
    begin = ord(_as_written(document)["best_answer"].strip()[0]) % len(choices)
    choices = choices[begin:] + choices[:begin]
    return {"question": document["question"].strip(), "choices": choices, "answer": choices.index(best)}


def _as_written(document: Row) -> Row:
    """A document with its fields as they were before a perturbation."""
    return document | (document.get("unperturbed") or {})


def scenarios(documents: Dataset) -> Dataset:
    """ETHICS' pairs, of which `activity` is always the more pleasant, in an order drawn by their text."""

    def in_order(document: Row) -> Row:
        pair = [document["activity"], document["baseline"]]
        turned = random.Random(_as_written(document)["activity"]).random() < 0.5
        return {"first": pair[turned], "second": pair[not turned], "label": int(turned)}

    return documents.map(in_order)


def math_level_1(documents: Dataset) -> Dataset:
    return documents.filter(lambda document: document["level"] == "Level 1")


def math_level_5(documents: Dataset) -> Dataset:
    return documents.filter(lambda document: document["level"] == "Level 5")


def same_result(document: Row, answers: list[str]) -> dict[str, float]:
    r"""Whether the last \boxed{} of an answer is, but for formatting, that of the solution."""
    found, expected = _boxed(answers[0]), _boxed(document["solution"])
    return {"exact_match": float(found is not None and is_equiv(found, expected))}


def _boxed(text: str) -> str | None:
    box = last_boxed_only_string(text)
    try:
        return remove_boxed(box) if box else None
    except AssertionError:  # \fbox, or a box that is not closed
        return None


def worked_answer(document: Row) -> str:
    """GSM8K's solution in one line, which ends with "The answer is ..."."""
    return str(document["answer"]).replace("####", "The answer is").replace("\n", " ") + "."


def same_last_word(document: Row, answers: list[str]) -> dict[str, float]:
    """Whether an answer ends with the solution's last word (HELM's exact_match_indicator)."""
    return {"exact_match": float(answers[0].strip().split(" ")[-1] == worked_answer(document).split(" ")[-1])}


def rouge_2(document: Row, answers: list[str]) -> dict[str, float]:
    """F1 of two-word sequences, of stemmed words."""
    return {"rouge2": float(_scorer().score(document["summary"], answers[0])["rouge2"].fmeasure)}


@functools.cache
def _scorer() -> Any:
    return rouge_scorer.RougeScorer(["rouge2"], use_stemmer=True)
