"""What each bucket and each task gave when instances were sampled by score."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from core.instructions.score_sampling import NONE, REASONS, SCORINGS, Sample
from core.instructions.score_sampling_options import SampleByScore

BUCKET_COUNTS = pa.schema(
    [
        ("scoring", pa.string()),
        ("low", pa.float64()),  # accuracy of the task, or ROUGE-L of the instance: from here ...
        ("high", pa.float64()),  # ... up to here; the last bucket has its end in it
        ("tasks", pa.int64()),
        ("instances", pa.int64()),
        ("pool", pa.int64()),  # what the tasks gave
        ("chosen", pa.int64()),  # what of it was drawn
    ]
)
TASK_COUNTS = pa.schema(
    [
        ("task", pa.string()),
        ("scoring", pa.string()),
        ("instances", pa.int64()),
        ("scored", pa.int64()),
        ("score", pa.float64()),  # accuracy, or mean ROUGE-L, of those that are scored; null where none is
        ("quota", pa.int64()),  # how many the buckets ask of it
        ("pool", pa.int64()),
        ("chosen", pa.int64()),
    ]
)


def bucket_counts(sample: Sample, options: SampleByScore) -> pa.Table:
    """BUCKET_COUNTS of every bucket, empty ones too. Instances without a score are in none."""
    answers = sample.answers
    tenths: Sequence[float] = [place / 10 for place in range(11)] if options.exact_match else []
    edges: Sequence[float] = [*options.generation.edges, 1.0] if options.generation else []
    rows = []
    for number, bounds in enumerate((tenths, edges)):
        for bucket, (low, high) in enumerate(pairwise(bounds)):
            here = (answers.scoring == number) & (sample.bucket == bucket)
            counts = (len(np.unique(answers.task[here])), *(int((here & way).sum()) for way in _ways(sample)))
            rows.append({"scoring": SCORINGS[number], "low": float(low), "high": float(high)} | _named(counts))
    return pa.Table.from_pylist(rows, BUCKET_COUNTS)


def task_counts(sample: Sample) -> pa.Table:
    """TASK_COUNTS of every task, by name. A pool below the quota: it had fewer instances that fit the rules."""
    answers, tasks = sample.answers, len(sample.answers.names)
    scored = ~np.isnan(answers.score)
    number = np.bincount(answers.task[scored], minlength=tasks)
    total = np.bincount(answers.task[scored], answers.score[scored], tasks)
    scoring = np.zeros(tasks, np.int64)
    scoring[answers.task] = answers.scoring
    instances, pool, chosen = (pa.array(np.bincount(answers.task[way], minlength=tasks)) for way in _ways(sample))
    columns = [
        pa.array(answers.names, pa.string()),
        pa.array(SCORINGS).take(pa.array(scoring)),
        instances,
        pa.array(number),
        pa.array(total / np.maximum(number, 1), mask=number == 0),
        pa.array(sample.quota),
        pool,
        chosen,
    ]
    return pa.table(columns, TASK_COUNTS).sort_by("task")


def reason_counts(sample: Sample) -> dict[str, int]:
    """How many instances each reason left out."""
    counts = np.bincount(sample.left_out[sample.left_out != NONE], minlength=len(REASONS))
    return {reason: int(count) for reason, count in zip(REASONS, counts, strict=True) if count}


def shortfalls(sample: Sample, options: SampleByScore) -> list[str]:
    """Where less was there than is asked for, in sentences: the totals, and exact-match tasks below their quota."""
    found = []
    _, pool, _ = _ways(sample)
    for number, wanted in enumerate((options.exact_match, options.generation)):
        gave = int((pool & (sample.answers.scoring == number)).sum())
        if wanted is not None and wanted.total is not None and gave < wanted.total:
            found.append(f"{SCORINGS[number]}: the tasks gave {gave:,} instances of the {wanted.total:,} asked for")
    tasks = [row for row in task_counts(sample).to_pylist() if row["scoring"] == SCORINGS[0]]
    below = [row["quota"] - row["pool"] for row in tasks if row["pool"] < row["quota"]]
    if below:
        found.append(
            f"{SCORINGS[0]}: {len(below):,} of {len(tasks):,} tasks gave less than their quotas, {sum(below):,} in all"
        )
    return found


def _ways(sample: Sample) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Masks of all instances, of the pool and of what is chosen."""
    chosen = sample.left_out == NONE
    return np.ones(len(chosen), np.bool_), chosen | (sample.left_out == REASONS.index("not_drawn")), chosen


def _named(counts: Sequence[int]) -> dict[str, int]:
    return dict(zip(("tasks", "instances", "pool", "chosen"), counts, strict=True))
