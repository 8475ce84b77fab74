"""How a task's answers are scored, exact match or generation, judged from the answers: Birbal's labels, set by hand
"based upon the output characteristics of the task" (section 3.3 of the paper), were never published."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Scoring = Literal["exact_match", "generation"]

SHORT_ANSWER = 1.3  # words: answers that have at most so many on average are names, numbers, letters
MOST_LABELS = 12  # so few different answers, or ...
LABEL_SHARE = 0.01  # ... so small a part of all are labels, ...
LABEL_WORDS = 4.0  # ... if they have at most so many words on average (the longest known: "adverse drug event")


def scoring_label(answers: Sequence[str]) -> Scoring:
    """exact_match where the answers are labels or single words, else generation.

    answers: one for each instance, the first that counts as right.
    """
    words = sum(len(answer.split()) for answer in answers) / max(1, len(answers))
    return label_by_counts(len(answers), len(set(answers)), words)


def label_by_counts(instances: int, different_answers: int, mean_words: float) -> Scoring:
    """The same from counts; mean_words: of an answer, in words between white space."""
    if mean_words <= SHORT_ANSWER:
        return "exact_match"
    few = different_answers <= max(MOST_LABELS, LABEL_SHARE * instances)
    repeated = 2 * different_answers <= instances  # a handful of answers is few without being labels
    return "exact_match" if few and repeated and mean_words <= LABEL_WORDS else "generation"
