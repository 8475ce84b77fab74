"""MT-Bench's scores of a model from its judgments, with their errors, and what the judge cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from core.evaluation.mt_bench.benchmark import UNRATED, Benchmark, Question
from core.evaluation.mt_bench.lines import Row
from core.evaluation.statistics import Z, clustered_stderr

MILLION = 1_000_000


def scores(benchmark: Benchmark, judgments: Sequence[Row]) -> dict[str, Any]:
    """The mean rating overall, of each turn and of each category, over the rated judgments.

    As FastChat's show_result: what the judge did not rate is left out of every mean, and counted here. The errors are
    clustered by question, whose two turns are one dialogue.
    """
    category = {question.id: question.category for question in benchmark.questions}
    turns = sorted({row["turn"] for row in judgments})
    return {
        **_score(judgments),
        "turns": [{"turn": turn, **_score(_of(judgments, turn=turn))} for turn in turns],
        "categories": [
            {
                "category": name,
                **_score(found := [row for row in judgments if category[row["question_id"]] == name]),
                "turns": [{"turn": turn, **_score(_of(found, turn=turn))} for turn in turns],
            }
            for name in dict.fromkeys(category.values())
        ],
    }


def _of(judgments: Sequence[Row], turn: int) -> list[Row]:
    return [row for row in judgments if row["turn"] == turn]


def _score(judgments: Sequence[Row]) -> dict[str, Any]:
    rated = [row for row in judgments if row["score"] != UNRATED]
    counts = {"rated": len(rated), "unrated": len(judgments) - len(rated)}
    if not rated:
        return {"score": None, "stderr": None, "low": None, "high": None, **counts}
    value = fmean(row["score"] for row in rated)
    error = clustered_stderr([row["score"] for row in rated], [row["question_id"] for row in rated])
    if math.isnan(error):  # of one question alone
        return {"score": value, "stderr": None, "low": None, "high": None, **counts}
    return {"score": value, "stderr": error, "low": value - Z * error, "high": value + Z * error, **counts}


def cost(judgments: Sequence[Row], prompt_price: float | None, completion_price: float | None) -> dict[str, Any]:
    """Tokens that the judge read and wrote for judgments, kept ones too, and their price.

    Prices: of a million tokens; money is None without both. not_counted: judgments whose endpoint told no tokens.
    """
    told = [row for row in judgments if row["prompt_tokens"] is not None and row["completion_tokens"] is not None]
    read, written = (sum(row[name] for row in told) for name in ("prompt_tokens", "completion_tokens"))
    money = None
    if prompt_price is not None and completion_price is not None:
        money = (read * prompt_price + written * completion_price) / MILLION
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "not_counted": len(judgments) - len(told),
        "money": money,
    }


def score_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The scores as rows of lm-eval's: overall, and of each turn."""
    found = {"rating": result} | {f"rating_turn_{each['turn']}": each for each in result["turns"]}
    return [
        {
            "task": "mt_bench",
            "metric": metric,
            "filter": "none",
            "value": of["score"],
            "stderr": of["stderr"],
            "samples": of["rated"],
            "higher_is_better": True,
            "low": of["low"],
            "high": of["high"],
        }
        for metric, of in found.items()
        if of["score"] is not None
    ]


def samples(
    questions: Sequence[Question], turns: Mapping[int | str, Sequence[str]], judgments: Sequence[Row]
) -> list[dict[str, Any]]:
    """Questions as lm-eval's samples, each with the mean of its rated turns, for models to be compared on.

    turns: a model's answers to each question, by its id.
    """
    found = []
    for number, question in enumerate(questions):
        of = [row["score"] for row in judgments if row["question_id"] == question.id and row["score"] != UNRATED]
        rated = {"metrics": ["rating"], "rating": fmean(of)} if of else {"metrics": []}
        doc = {"category": question.category, "turns": list(question.turns)}
        arguments = [["\n".join(question.turns), ""]]
        answer = "\n\n".join(turns[question.id])
        sample = {"doc_id": number, "doc": doc, "target": "", "arguments": arguments, "filter": "none"}
        found.append({**sample, "resps": [[answer]], "filtered_resps": [answer], **rated})
    return found
