"""Judging a model's answers, many at once, each judgment kept as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from multiprocessing.pool import ThreadPool
from typing import Any, TypeVar

from core.artifacts.fingerprint import fingerprint
from core.evaluation.mt_bench.benchmark import Benchmark, Question, prompt_name, rating
from core.evaluation.mt_bench.endpoint import Endpoint
from core.evaluation.mt_bench.lines import KeptLines, Row

Task = TypeVar("Task")


def judge(
    benchmark: Benchmark,
    answers: Mapping[int | str, Sequence[str]],
    judge: Endpoint,
    kept: KeptLines,
    model: str,
    max_tokens: int,
    concurrency: int,
) -> Iterator[Row]:
    """Yields a judgment of every turn of every question as it is there, those that are kept first.

    answers: by question, one for each turn. model: its name in the rows, which are FastChat's (question_id, model,
    judge, user_prompt, judgment, score, turn) with finish_reason, prompt_tokens, completion_tokens, and new: whether
    it was asked for now. A judgment is asked for again where the answer, the judge or a prompt is another. Raises
    ResourceError as `Endpoint.complete`.
    """
    missing = []
    for question in benchmark.questions:
        for turn in range(1, len(question.turns) + 1):
            messages = benchmark.judge_messages(question, answers[question.id][:turn], turn)
            asked = {"messages": messages, "model": judge.model, "url": judge.url, "max_tokens": max_tokens}
            key = fingerprint({**asked, "question": question.id, "turn": turn})
            if key in kept:
                yield {**kept[key], "new": False}
            else:
                missing.append((key, question, turn, messages))

    def ask(task: tuple[str, Question, int, list[dict[str, str]]]) -> Row:
        key, question, turn, messages = task
        found = judge.complete(messages, temperature=0, max_tokens=max_tokens)
        row = {
            "key": key,
            "question_id": question.id,
            "model": model,
            "judge": [judge.model, prompt_name(question, turn)],
            "user_prompt": messages[-1]["content"],
            "judgment": found.text,
            "score": rating(found.text),
            "turn": turn,
            "finish_reason": found.finish_reason,
            "prompt_tokens": found.prompt_tokens,
            "completion_tokens": found.completion_tokens,
        }
        kept.keep(row)
        return {**row, "new": True}

    yield from many(ask, missing, concurrency)


def many(work: Callable[[Task], Any], tasks: Iterable[Task], concurrency: int) -> Iterator[Any]:
    """What `work` returns for each task, in no fixed order, so many at once.

    After an error nothing more is begun. Neither it nor Ctrl-C waits for what is under way: threads end with this
    process.
    """
    failed: list[Exception] = []

    def begin(task: Task) -> Any:
        if failed:
            raise failed[0]
        try:
            return work(task)
        except Exception as error:
            failed.append(error)
            raise

    with ThreadPool(concurrency) as pool:
        yield from pool.imap_unordered(begin, tasks)
