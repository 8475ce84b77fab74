from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.artifacts.seeds import derive_seed
from core.documents.mixture import keys
from core.errors import DataError
from core.instructions.answer_scores import SCORED, score_continuations
from core.instructions.few_shot import FewShot, few_shot_prompts
from core.instructions.natural_instructions import read_task
from core.instructions.score_sampling import REASONS, SCORINGS, sample_by_score
from core.instructions.score_sampling_counts import bucket_counts, reason_counts, shortfalls, task_counts
from core.instructions.score_sampling_options import ExactMatchSample, GenerationSample, SampleByScore
from core.instructions.task_documents import task_documents
from core.instructions.task_selection import NaturalInstructions

Row = dict[str, Any]


def row(task: str, number: int, score: float | None, **given: Any) -> Row:
    made = {"task": task, "id": f"{task}-{number}", "scoring": SCORINGS[0], "score": score, "prediction": None}
    return {**made, "golds": 1, "instruction_words": 10, "input_words": 20, **given}


def table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, SCORED)


def task(name: str, right: int, of: int) -> list[Row]:
    """A task with so many right answers."""
    return [row(name, number, float(number < right)) for number in range(of)]


def generated(name: str, scores: list[float]) -> list[Row]:
    return [row(name, number, score, scoring=SCORINGS[1]) for number, score in enumerate(scores)]


def options(exact_match: dict[str, Any] | None = None, generation: dict[str, Any] | None = None) -> SampleByScore:
    return SampleByScore(
        exact_match=ExactMatchSample(**(exact_match or {})), generation=GenerationSample(**(generation or {}))
    )


def chosen(rows: list[Row], wanted: SampleByScore, seed: int = 42) -> set[str]:
    """Ids of what is chosen; of the others each has a reason."""
    found = sample_by_score(table(rows), wanted, seed)
    reasons = found.reason.to_pylist()
    assert [reason is None for reason in reasons] == found.chosen.to_pylist()
    assert set(reasons) <= {None, *REASONS}
    return {each["id"] for each, is_chosen in zip(rows, found.chosen.to_pylist(), strict=True) if is_chosen}


def reference(rows: list[Row], wanted: SampleByScore, seed: int) -> set[str]:
    """The same, task by task, as Birbal's code goes through its files."""
    exact, free = wanted.exact_match, wanted.generation
    assert exact is not None
    assert free is not None
    within, pool_key = (
        dict(zip((each["id"] for each in rows), keys([each["id"] for each in rows], stream).tolist(), strict=True))
        for stream in (derive_seed(seed, "score_sampling", name) for name in ("task", "pool"))
    )
    tasks: dict[str, list[Row]] = defaultdict(list)
    for each in rows:
        if each["score"] is not None:
            tasks[each["task"]].append(each)
    pools: dict[str, list[Row]] = {scoring: [] for scoring in SCORINGS}
    for answers in tasks.values():
        answers.sort(key=lambda each: within[each["id"]])
        if answers[0]["scoring"] == SCORINGS[0]:
            accuracy = Fraction(sum(each["score"] == 1 for each in answers), len(answers))
            if float(accuracy) < exact.min_accuracy:
                continue
            left = [each for each in answers if not (exact.only_wrong and each["score"] == 1)]
            if exact.max_words is not None:
                left = [each for each in left if each["instruction_words"] + each["input_words"] < exact.max_words]
            quota = exact.quotas[min(int(accuracy * 10), 9)]
            pools[SCORINGS[0]] += left[: int(quota * Fraction(repr(exact.multiplier)))]
            continue
        for low, high, share in zip(free.edges, free.edges[1:], free.shares, strict=False):
            bucket = [each for each in answers if low <= each["score"] < high]
            left = bucket[: int(Fraction(repr(float(share))) * len(bucket))]
            if free.single_gold:
                left = [each for each in left if each["golds"] == 1]
            if free.max_words is not None:
                left = [each for each in left if each["input_words"] <= free.max_words]
            pools[SCORINGS[1]] += left
    found = set()
    for scoring, total in zip(SCORINGS, (exact.total, free.total), strict=True):
        pool = sorted(pools[scoring], key=lambda each: pool_key[each["id"]])
        found |= {each["id"] for each in pool[:total]}
    return found


@st.composite
def scored_rows(draw: st.DrawFn) -> list[Row]:
    rows = []
    for number in range(draw(st.integers(0, 4))):
        scoring = draw(st.sampled_from(SCORINGS))
        scores: st.SearchStrategy[float] = st.sampled_from([0.0, 1.0])
        if scoring == SCORINGS[1]:
            scores = st.floats(0, 1) | st.sampled_from([0.2, 0.3, 0.7, 0.8])
        for place in range(draw(st.integers(0, 12))):
            score = draw(st.none() | scores)
            lengths = {"golds": draw(st.integers(1, 2)), "input_words": draw(st.integers(1, 40))}
            rows.append(row(f"task{number}", place, score, scoring=scoring, **lengths))
    return draw(st.permutations(rows))


WANTED = st.builds(
    options,
    st.fixed_dictionaries(
        {
            "quotas": st.lists(st.integers(0, 6), min_size=10, max_size=10),
            "multiplier": st.sampled_from([0.3, 1.0, 1.5]),
            "min_accuracy": st.sampled_from([0.0, 0.25, 0.5]),
            "only_wrong": st.booleans(),
            "max_words": st.none() | st.integers(1, 60),
            "total": st.none() | st.integers(0, 12),
        }
    ),
    st.fixed_dictionaries(
        {
            "shares": st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.4, 0.8, 1.0]), min_size=7, max_size=7),
            "single_gold": st.booleans(),
            "max_words": st.none() | st.integers(1, 40),
            "total": st.none() | st.integers(0, 12),
        }
    ),
)


@settings(deadline=None)
@given(scored_rows(), WANTED, st.integers(0, 5))
def test_the_sample_is_that_of_the_tasks_one_by_one(rows: list[Row], wanted: SampleByScore, seed: int) -> None:
    assert chosen(rows, wanted, seed) == reference(rows, wanted, seed)


@settings(deadline=None)
@given(scored_rows(), WANTED, st.randoms())
def test_the_order_of_rows_does_not_matter_and_counts_add_up(
    rows: list[Row], wanted: SampleByScore, order: Any
) -> None:
    found = sample_by_score(table(rows), wanted, 1)
    turned = list(rows)
    order.shuffle(turned)
    assert chosen(turned, wanted, 1) == chosen(rows, wanted, 1)
    number = sum(found.chosen.to_pylist())
    assert number + sum(reason_counts(found).values()) == len(rows)
    assert reason_counts(found) == dict(sorted(Counter(found.reason.drop_null().to_pylist()).items(), key=by_place))
    by_bucket, by_task = bucket_counts(found, wanted), task_counts(found)
    assert sum(by_bucket["chosen"].to_pylist()) == sum(by_task["chosen"].to_pylist()) == number
    assert sum(by_bucket["pool"].to_pylist()) == sum(by_task["pool"].to_pylist())
    assert sum(by_bucket["instances"].to_pylist()) == sum(each["score"] is not None for each in rows)
    assert all(each["pool"] <= each["quota"] for each in by_task.to_pylist())


def by_place(counted: tuple[str, int]) -> int:
    return REASONS.index(counted[0])


def test_a_tasks_quota_goes_by_its_accuracy() -> None:
    rows = [each for tenth in range(11) for each in task(f"task{tenth}", right=tenth * 100, of=1000)]
    rows += task("task29", right=299, of=1000)
    by_task = {each["task"]: each for each in task_counts(sample_by_score(table(rows), options(), 42)).to_pylist()}
    assert [by_task[f"task{tenth}"]["quota"] for tenth in range(11)] == [
        350, 350, 300, 300, 250, 250, 200, 150, 100, 50, 50
    ]  # fmt: skip
    assert by_task["task29"]["quota"] == 300
    assert all(each["chosen"] == each["pool"] == each["quota"] for each in by_task.values())
    assert by_task["task3"]["score"] == 0.3


def test_scores_on_an_edge_belong_to_the_bucket_that_begins_there() -> None:
    rows = generated("task1", [0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0])
    found = sample_by_score(table(rows), options(generation={"shares": [1.0] * 7}), 42)
    assert found.reason.to_pylist() == [None] * 7 + ["score_too_high"] * 2
    assert bucket_counts(found, options())["instances"].to_pylist()[10:] == [1, 1, 1, 1, 1, 1, 1, 2]


def test_paper_and_code_take_their_shares() -> None:
    rows = [each for name in ("task1", "task2") for each in generated(name, [0.1] * 105 + [0.45] * 105)]
    paper, code = options(), options(generation={"shares": [0.8, *[0.2] * 6]})
    assert Counter(each.split("-")[0] for each in chosen(rows, paper)) == {"task1": 42 + 10, "task2": 42 + 10}
    assert Counter(each.split("-")[0] for each in chosen(rows, code)) == {"task1": 84 + 21, "task2": 84 + 21}
    assert chosen(rows, paper) < chosen(rows, code)


def test_each_exact_match_option_has_its_effect() -> None:
    rows = [*task("task1", right=20, of=40), *task("task2", right=1, of=40)]
    assert len(chosen(rows, options())) == 80
    assert len(chosen(rows, options({"quotas": [3] * 10}))) == 6
    assert len(chosen(rows, options({"quotas": [3] * 10, "multiplier": 2.5}))) == 14
    assert {each.split("-")[0] for each in chosen(rows, options({"min_accuracy": 0.1}))} == {"task1"}
    assert len(chosen(rows, options({"only_wrong": True}))) == 59
    assert len(chosen(rows, options({"max_words": 30}))) == 0
    assert len(chosen(rows, options({"max_words": 31}))) == 80
    assert len(chosen(rows, options({"total": 25}))) == 25
    assert chosen(rows, SampleByScore(exact_match=None)) == set()


def test_each_generation_option_has_its_effect() -> None:
    rows = generated("task1", [0.1] * 20 + [0.5] * 20)
    rows[0] |= {"golds": 2}
    everything = {"shares": [1.0] * 7, "single_gold": False}
    assert len(chosen(rows, options(generation=everything))) == 40
    assert len(chosen(rows, options(generation={**everything, "single_gold": True}))) == 39
    assert len(chosen(rows, options(generation={**everything, "edges": [0, 0.4], "shares": [1.0]}))) == 20
    assert len(chosen(rows, options(generation={**everything, "max_words": 19}))) == 0
    assert len(chosen(rows, options(generation={**everything, "max_words": 20}))) == 40
    assert len(chosen(rows, options(generation={**everything, "total": 7}))) == 7
    assert chosen(rows, SampleByScore(generation=None)) == set()


def test_large_tasks_are_not_favoured_when_the_total_is_drawn() -> None:
    rows = [*task("task1", right=0, of=4000), *task("task2", right=0, of=350)]
    found = Counter(each.split("-")[0] for each in chosen(rows, options({"total": 350})))
    assert 125 < found["task2"] < 225  # both gave 350


def test_a_smaller_total_draws_a_part_of_the_larger_and_the_seed_decides() -> None:
    rows = [*task("task1", right=0, of=400), *generated("task2", [0.1] * 400)]
    small, large = ({"total": total} for total in (20, 60))
    assert chosen(rows, options(small, small)) < chosen(rows, options(large, large))
    assert chosen(rows, options(small, small), seed=1) != chosen(rows, options(small, small), seed=2)


def test_shortfalls_are_stated() -> None:
    rows = [*task("task1", right=0, of=40), *generated("task2", [0.1] * 10)]
    wanted = options({"total": 100}, {"total": 4})
    assert shortfalls(sample_by_score(table(rows), wanted, 42), wanted) == [
        "exact_match: the tasks gave 40 instances of the 100 asked for",
        "exact_match: 1 of 1 tasks gave less than their quotas, 310 in all",
    ]
    small = options({"total": 40, "quotas": [40] * 10}, {"total": 5})
    assert shortfalls(sample_by_score(table(rows), small, 42), small) == [
        "generation: the tasks gave 4 instances of the 5 asked for"
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"id": "task1-0"}, "the id task1-0 comes 2 times"),
        ({"scoring": "rouge"}, "found the scoring 'rouge', expected exact_match or generation"),
        ({"scoring": SCORINGS[1]}, "the task task1 is scored in both ways"),
        ({"score": 0.5}, "row 2, of task task1: found the score 0.5, expected 0 or 1"),
        ({"golds": None}, "1 have no golds"),
    ],
)
def test_scores_that_cannot_be_are_refused(changed: Row, said: str) -> None:
    rows = [row("task1", 0, 1.0), {**row("task1", 1, 1.0), **changed}]
    with pytest.raises(DataError, match=said):
        sample_by_score(table(rows), options(), 42)


def test_a_rouge_above_one_is_refused() -> None:
    with pytest.raises(DataError, match=r"found the score 1\.5, expected 0 to 1"):
        sample_by_score(table(generated("task1", [1.5])), options(), 42)


def test_nothing_scored_gives_nothing() -> None:
    found = sample_by_score(table([]), options(), 42)
    assert len(found.chosen) == 0
    assert task_counts(found).num_rows == 0
    assert bucket_counts(found, options()).num_rows == 18


@pytest.mark.parametrize(
    "given",
    [{"edges": [0, 0.5, 0.5], "shares": [1, 1]}, {"edges": [0.1, 0.5], "shares": [1]}, {"edges": [0, 0.5]}],
)
def test_buckets_that_do_not_fit_are_refused(given: Row) -> None:
    with pytest.raises(ValidationError, match=r"edges"):
        GenerationSample(**given)


def test_many_large_tasks_give_exactly_their_quotas() -> None:
    rows = 200_000
    generator = np.random.default_rng(0)
    columns = {
        "task": pa.array(np.char.add("task", (np.arange(rows) // 2000).astype(str))),
        "id": pa.array([f"i{number}" for number in range(rows)]),
        "scoring": pa.array(np.where(np.arange(rows) // 2000 % 2 == 0, *SCORINGS)),
        "prediction": pa.nulls(rows, pa.large_string()),
        "score": pa.array(np.where(np.arange(rows) // 2000 % 2 == 0, 0.0, generator.random(rows))),
        "golds": pa.array(np.ones(rows, np.int64)),
        "instruction_words": pa.array(np.ones(rows, np.int64)),
        "input_words": pa.array(np.ones(rows, np.int64)),
    }
    found = sample_by_score(pa.table([columns[name] for name in SCORED.names], SCORED), options(), 42)
    wanted = task_counts(found).to_pylist()
    assert sum(each["chosen"] for each in wanted if each["scoring"] == SCORINGS[0]) == 50 * 350


def test_real_tasks_go_from_their_files_to_a_sample_of_their_documents(shared_data: Path) -> None:
    files = [
        shared_data / "ni" / "tasks" / f"{name}.json.gz"
        for name in ("task1388_cb_entailment", "task059_ropes_story_generation")
    ]
    documents, scored = [], []
    for path in files:
        real = read_task(path)
        made = task_documents(real, NaturalInstructions(directory="tasks"), "ni", 42)
        prompts = few_shot_prompts(real, made.instances, made.scoring, FewShot())
        answers = [made.instances[0].outputs[0]] * len(made.instances)  # always the same, right or not
        documents.append(made.documents)
        scored.append(score_continuations(prompts, answers))
    wanted = options({"quotas": [60] * 10, "only_wrong": True})
    found = sample_by_score(pa.concat_tables(scored), wanted, 42)
    kept = pa.concat_tables(documents).filter(found.chosen)
    counts = {each["task"]: each for each in task_counts(found).to_pylist()}
    assert [each["instances"] for each in counts.values()] == [521, 301]
    assert counts["task1388_cb_entailment"]["chosen"] == 60
    assert 0 < counts["task059_ropes_story_generation"]["chosen"] < 0.4 * 521
    assert kept.num_rows == sum(each["chosen"] for each in counts.values())
    entailment = [orjson.loads(meta) for meta in kept["meta"].to_pylist() if b"task1388" in meta.encode()]
    assert all(meta["golds"] != ["Contradiction"] for meta in entailment)
