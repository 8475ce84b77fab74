"""How good a model's answers are: exact match and ROUGE-L against every answer that counts as right."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from core.errors import DataError
from core.instructions.few_shot import prediction
from core.instructions.scoring_labels import Scoring

SCORED = pa.schema(
    [
        ("task", pa.string()),
        ("id", pa.string()),  # of the instance
        ("scoring", pa.string()),  # exact_match or generation
        ("prediction", pa.large_string()),
        ("score", pa.float64()),  # 0 or 1 for exact_match, ROUGE-L for generation; null where nothing was generated
        ("golds", pa.int64()),  # how many answers count as right
        ("instruction_words", pa.int64()),
        ("input_words", pa.int64()),
    ]
)


def score_continuations(prompts: pa.Table, continuations: Sequence[str | None]) -> pa.Table:
    """SCORED: what a model wrote after each of the PROMPTS; None where it wrote nothing because the prompt is too long.

    Raises DataError where there are not as many continuations as prompts.
    """
    if len(continuations) != prompts.num_rows:
        raise DataError(
            f"found {len(continuations)} continuations, expected one for each of {prompts.num_rows} prompts"
        )
    answers = [None if text is None else prediction(text) for text in continuations]
    scores = [
        None if answer is None else answer_score(scoring, answer, golds)
        for answer, scoring, golds in zip(
            answers, prompts["scoring"].to_pylist(), prompts["golds"].to_pylist(), strict=True
        )
    ]
    columns = {name: prompts[name] for name in ("task", "id", "scoring", "instruction_words", "input_words")}
    columns |= {
        "prediction": pa.array(answers, pa.large_string()),
        "score": pa.array(scores, pa.float64()),
        "golds": pa.array([len(golds) for golds in prompts["golds"].to_pylist()], pa.int64()),
    }
    return pa.table([columns[name] for name in SCORED.names], schema=SCORED)


def answer_score(scoring: Scoring, answer: str, golds: Sequence[str]) -> float:
    """The score of a prediction: exact match (0 or 1), or the highest ROUGE-L over golds, [0, 1]."""
    if scoring == "exact_match":
        return float(exact_match(answer, golds))
    return max((rouge_l(answer, gold) for gold in golds), default=0.0)


def exact_match(answer: str, golds: Sequence[str]) -> bool:
    """Whether an answer equals any gold; case counts, white space around does not (in Birbal's code it does)."""
    return answer.strip() in {gold.strip() for gold in golds}


def rouge_l(answer: str, gold: str) -> float:
    """ROUGE-L F1 (Lin 2004, https://aclanthology.org/W04-1013, section 3.1) of words, lower-cased, without full stops.

    Words are parted by white space; a repeated word counts as often as it is there. That is what the package
    `rouge-score` computes from the same words, without stemming. Birbal's code takes the package `rouge`, for which
    it counts once, and gives an answer or a gold without words a 1 where this gives 0.
    """
    answered, expected = _words(answer), _words(gold)
    if not answered or not expected:
        return 0.0
    common = longest_common_subsequence(answered, expected)
    if common == 0:
        return 0.0
    precision, recall = common / len(answered), common / len(expected)
    return 2 * precision * recall / (precision + recall)


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Its length, by bit-parallel dynamic programming: one addition on len(first) bits for each word of `second`.

    Hyyrö, "Bit-parallel LCS-length computation revisited" (2004), figure 2: a zero bit is a step of the table's row.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    every = (1 << len(first)) - 1
    row = every
    for word in second:
        matches = row & places.get(word, 0)
        row = (row + matches | row - matches) & every
    return len(first) - row.bit_count()


def _words(text: str) -> list[str]:
    return text.lower().replace(".", "").split()
