"""Draws the instances that are trained on by how well a base model answered them (Birbal, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from core.artifacts.seeds import derive_seed
from core.documents.mixture import keys, select
from core.errors import DataError
from core.instructions.score_sampling_options import ExactMatchSample, GenerationSample, SampleByScore

SCORINGS = ("exact_match", "generation")
# Why an instance is not chosen: the first that holds, in each way of scoring in this order.
REASONS = (
    "not_wanted",  # the options leave its way of scoring out
    "not_scored",
    "task_too_hard",
    "answered_right",
    "score_too_high",
    "over_share",
    "several_golds",
    "too_long",
    "over_quota",
    "not_drawn",  # its task gave it, but all tasks gave more than the total
)
NONE = -1  # no reason, no bucket


@dataclass(frozen=True)
class Answers:
    """Columns of SCORED, an entry for each instance."""

    task: NDArray[np.int64]  # number of its task
    names: list[str]  # of the tasks
    scoring: NDArray[np.int64]  # place in SCORINGS
    score: NDArray[np.float64]  # NaN: not scored
    golds: NDArray[np.int64]
    instruction_words: NDArray[np.int64]
    input_words: NDArray[np.int64]
    key: NDArray[np.uint64]  # decides within a task


@dataclass(frozen=True)
class Sample:
    """What is decided of each instance."""

    answers: Answers
    left_out: NDArray[np.int8]  # place in REASONS, or NONE: it is chosen
    bucket: NDArray[np.int64]  # of the accuracy of its task, or of its own score; or NONE
    quota: NDArray[np.int64]  # by task: how many the buckets ask of it

    @property
    def chosen(self) -> pa.Array:
        """Whether it is chosen: bool, an entry for each instance."""
        return pa.array(self.left_out == NONE)

    @property
    def reason(self) -> pa.Array:
        """Why it is not: one of REASONS, null where it is chosen."""
        places = pa.array(self.left_out, mask=self.left_out == NONE)
        return pa.DictionaryArray.from_arrays(places, pa.array(REASONS)).dictionary_decode()


def sample_by_score(scored: pa.Table, options: SampleByScore, seed: int) -> Sample:
    """Chooses among the instances that a model was asked.

    scored: SCORED (`prediction` is not looked at): all instances of each task that it has, in any order.

    Exact match: a task's accuracy is that of all its scored instances; of those that are short enough (and wrong, if
    asked for) its quota is taken. Generation: of each bucket of a task its share is taken, of which what has a single
    gold and is short enough, in this order, as in Birbal's code. Then the totals are drawn of what all tasks gave.
    Seed and ids alone decide, not the order of rows; with a smaller total a subset is chosen.
    Raises DataError for ids that come twice, a task scored in two ways, and scores that cannot be.
    """
    answers = _answers(scored, seed)
    tasks = len(answers.names)
    sample = Sample(
        answers,
        left_out=np.full(scored.num_rows, NONE, np.int8),
        bucket=np.full(scored.num_rows, NONE, np.int64),
        quota=np.zeros(tasks, np.int64),
    )
    # Not the key that decides within tasks: what is left of a large task has small ones, and would win here too.
    pool_key = keys(scored["id"], derive_seed(seed, "score_sampling", "pool"))
    for number, wanted in enumerate((options.exact_match, options.generation)):
        here = answers.scoring == number
        if wanted is None:
            _leave_out(sample, here, "not_wanted")
            continue
        _leave_out(sample, here & np.isnan(answers.score), "not_scored")
        if isinstance(wanted, ExactMatchSample):
            _exact_match(sample, here, wanted)
        else:
            _generation(sample, here, wanted)
        if wanted.total is not None:
            pool = _left(sample, here)
            _leave_out(sample, pool[~select(pool_key[pool], wanted.total)], "not_drawn")
    return sample


def _exact_match(sample: Sample, here: NDArray[np.bool_], wanted: ExactMatchSample) -> None:
    answers, tasks = sample.answers, len(sample.answers.names)
    scored = _left(sample, here)
    asked = np.bincount(answers.task[scored], minlength=tasks)
    right = np.bincount(answers.task[scored], answers.score[scored], tasks).astype(np.int64)
    accuracy = right / np.maximum(asked, 1)
    tenth = np.minimum(right * 10 // np.maximum(asked, 1), 9)  # in whole numbers: 3 of 10 are in [.3, .4)
    multiplier = Fraction(repr(wanted.multiplier))
    quotas = np.array([int(quota * multiplier) for quota in wanted.quotas])
    sample.bucket[scored] = tenth[answers.task[scored]]
    sample.quota[:] += np.where((asked > 0) & (accuracy >= wanted.min_accuracy), quotas[tenth], 0)
    _leave_out(sample, here & (accuracy < wanted.min_accuracy)[answers.task], "task_too_hard")
    if wanted.only_wrong:
        _leave_out(sample, here & (answers.score == 1), "answered_right")
    if wanted.max_words is not None:
        length = answers.instruction_words + answers.input_words
        _leave_out(sample, here & (length >= wanted.max_words), "too_long")
    left = _left(sample, here)
    task = answers.task[left]
    _leave_out(sample, left[_rank(task, answers.key[left]) >= sample.quota[task]], "over_quota")


def _generation(sample: Sample, here: NDArray[np.bool_], wanted: GenerationSample) -> None:
    answers, buckets = sample.answers, len(wanted.shares)
    scored = _left(sample, here)
    sample.bucket[scored] = np.searchsorted(wanted.edges, answers.score[scored], side="right") - 1
    _leave_out(sample, here & (sample.bucket == buckets), "score_too_high")
    left = _left(sample, here)
    group = answers.task[left] * buckets + sample.bucket[left]
    sizes = np.bincount(group, minlength=len(answers.names) * buckets).reshape(-1, buckets)
    shares = [Fraction(repr(float(share))) for share in wanted.shares]  # .29 of 100 are 29
    taken = np.stack([sizes[:, i] * s.numerator // s.denominator for i, s in enumerate(shares)], axis=1)
    sample.quota[:] += taken.sum(axis=1)
    _leave_out(sample, left[_rank(group, answers.key[left]) >= taken.ravel()[group]], "over_share")
    if wanted.single_gold:
        _leave_out(sample, here & (answers.golds != 1), "several_golds")
    if wanted.max_words is not None:
        _leave_out(sample, here & (answers.input_words > wanted.max_words), "too_long")


def _left(sample: Sample, here: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The rows that no reason has left out yet."""
    return np.flatnonzero(here & (sample.left_out == NONE))


def _leave_out(sample: Sample, rows: NDArray[Any], reason: str) -> None:
    """rows: a mask, or numbers; those that an earlier reason has left out keep it."""
    chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    sample.left_out[chosen[sample.left_out[chosen] == NONE]] = REASONS.index(reason)


def _rank(group: NDArray[np.int64], key: NDArray[np.uint64]) -> NDArray[np.int64]:
    """How many of its group have a smaller key."""
    order = np.lexsort((key, group))
    sizes = np.bincount(group)
    start = np.cumsum(sizes) - sizes
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - start[group[order]]
    return rank


def _answers(scored: pa.Table, seed: int) -> Answers:
    columns: dict[str, Any] = {name: pa.chunked_array(scored[name]).combine_chunks() for name in scored.column_names}
    for name in ("task", "id", "scoring", "golds", "instruction_words", "input_words"):
        if columns[name].null_count:
            raise DataError(f"scored instances: {columns[name].null_count} have no {name}; only a score may be null")
    counts = pc.value_counts(columns["id"])
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        found = twice[0].as_py()
        raise DataError(f"scored instances: the id {found['values']} comes {found['counts']} times; expected once")
    tasks = columns["task"].dictionary_encode()
    scoring = pc.index_in(columns["scoring"], pa.array(SCORINGS))
    if scoring.null_count:
        unknown = columns["scoring"].filter(pc.is_null(scoring))[0].as_py()
        raise DataError(f"scored instances: found the scoring '{unknown}', expected {' or '.join(SCORINGS)}")
    answers = Answers(
        task=tasks.indices.to_numpy().astype(np.int64),
        names=tasks.dictionary.to_pylist(),
        scoring=scoring.to_numpy().astype(np.int64),
        score=columns["score"].to_numpy(zero_copy_only=False).astype(np.float64),
        golds=columns["golds"].to_numpy(),
        instruction_words=columns["instruction_words"].to_numpy(),
        input_words=columns["input_words"].to_numpy(),
        key=keys(columns["id"], derive_seed(seed, "score_sampling", "task")),
    )
    _check(answers)
    return answers


def _check(answers: Answers) -> None:
    rows = np.bincount(answers.task, minlength=len(answers.names))
    generated = np.bincount(answers.task, answers.scoring, len(answers.names)).astype(np.int64)
    both = np.flatnonzero((generated > 0) & (generated < rows))
    if len(both):
        raise DataError(f"scored instances: the task {answers.names[both[0]]} is scored in both ways; expected one")
    known = ~np.isnan(answers.score)
    exact = answers.scoring == 0
    wrong = known & ((answers.score < 0) | (answers.score > 1) | (exact & ~np.isin(answers.score, (0, 1))))
    if wrong.any():
        place = int(np.argmax(wrong))
        expected = "0 or 1" if exact[place] else "0 to 1"
        raise DataError(
            f"scored instances: row {place + 1}, of task {answers.names[answers.task[place]]}: "
            f"found the score {answers.score[place]}, expected {expected}"
        )
