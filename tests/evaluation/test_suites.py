"""Suites by name: their tasks, examples and scores, and the scenarios that lm-eval has not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from core.evaluation.options import Evaluate
from core.evaluation.suites import SUITES, suite_scores
from core.evaluation.task_definitions import setting
from core.evaluation.task_files import find_tasks, write_tasks


def asked(suites: list[str], **options: Any) -> dict[str, int | None]:
    """The tasks of suites, each with its number of examples."""
    return {task.name: task.few_shot for task in find_tasks(Evaluate(tasks=suites, **options), Path())}


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(
    ("suite", "tasks"),
    [
        ("open_llm_leaderboard_v1", 62),
        ("moxin_zero_shot", 5),
        ("moxin_few_shot", 60),
        ("goat", 84),
        ("birbal_open", 78),
        ("birbal_closed", 21),
    ],
)
def test_every_task_of_a_suite_is_there_and_has_its_metric(suite: str, tasks: int) -> None:
    found = find_tasks(Evaluate(tasks=[suite]), Path())
    assert len(found) == tasks
    of = {task: line for line in SUITES[suite].lines.values() for task in line.tasks}
    for task in found:
        assert task.few_shot == of[task.name].few_shot
        assert {metric["metric"] for metric in setting(task.path, "metric_list")} >= {of[task.name].metric}
        filters = {each["name"] for each in setting(task.path, "filter_list") or [{"name": "none"}]}
        assert of[task.name].filter in filters


@pytest.mark.usefixtures("online")
def test_the_leaderboards_examples_are_its_own() -> None:
    found = asked(["open_llm_leaderboard_v1"])
    assert {name: few_shot for name, few_shot in found.items() if not name.startswith("mmlu_")} == {
        "arc_challenge": 25,
        "hellaswag": 10,
        "truthfulqa_mc2": 0,
        "winogrande": 5,
        "gsm8k": 5,
    }
    assert {few_shot for name, few_shot in found.items() if name.startswith("mmlu_")} == {5}


@pytest.mark.usefixtures("online")
def test_a_task_that_two_suites_ask_differently_is_two_tasks() -> None:
    found = asked(["moxin_zero_shot", "moxin_few_shot"])
    assert found["arc_challenge_0shot"] == 0
    assert found["arc_challenge_25shot"] == 25
    assert found["piqa"] == 0
    assert len(asked(["moxin_zero_shot", "moxin_few_shot"], few_shot=0)) == 5 + 57


@pytest.mark.usefixtures("online")
def test_few_shot_overrides_a_suites_numbers_for_all_or_for_some() -> None:
    assert set(asked(["moxin_few_shot"], few_shot=1).values()) == {1}
    found = asked(["moxin_few_shot"], few_shot={"moxin_few_shot": 2, "hellaswag": 3})
    assert (found["hellaswag"], found["arc_challenge"], found["mmlu_anatomy"]) == (3, 2, 2)
    assert asked(["gsm8k", "truthfulqa_mc1"], few_shot=2) == {"gsm8k": 2, "truthfulqa_mc1": 0}


def score(task: str, value: float, stderr: float | None = 0.0, metric: str = "acc", **more: Any) -> dict[str, Any]:
    row = {"task": task, "metric": metric, "filter": "none", "value": value, "stderr": stderr, "samples": 100}
    return {"model": "sft", **row, "higher_is_better": True, **more}


def leaderboard_rows(mmlu: list[float]) -> list[dict[str, Any]]:
    """Smaug-72B's scores as published, of MMLU's subjects those given."""
    subjects = SUITES["open_llm_leaderboard_v1"].lines["MMLU"].tasks
    return [
        score("arc_challenge", 0.7602, metric="acc_norm"),
        score("arc_challenge", 0.1, metric="acc"),
        score("hellaswag", 0.8927, metric="acc_norm"),
        *(score(task, value) for task, value in zip(subjects, mmlu, strict=False)),
        score("truthfulqa_mc2", 0.7667),
        score("winogrande", 0.8508),
        score("gsm8k", 0.7870, metric="exact_match", filter="strict-match"),
    ]


def test_the_mean_of_six_is_the_published_one() -> None:
    mmlu = [0.7715 + 0.1 * (-1) ** number for number in range(56)] + [0.7715]
    found = {row["line"]: row for row in suite_scores(["open_llm_leaderboard_v1"], leaderboard_rows(mmlu))}
    assert list(found) == ["ARC", "HellaSwag", "MMLU", "TruthfulQA", "WinoGrande", "GSM8K", None]
    assert found["MMLU"]["value"] == pytest.approx(0.7715)
    assert (found["MMLU"]["tasks"], found["MMLU"]["samples"]) == (57, 5700)
    assert round(100 * found[None]["value"], 2) == 80.48
    assert found[None]["metric"] == "mean"


def test_a_suite_that_is_not_whole_has_no_mean() -> None:
    found = suite_scores(["open_llm_leaderboard_v1"], leaderboard_rows([0.5] * 56))
    assert [row["line"] for row in found] == ["ARC", "HellaSwag", "TruthfulQA", "WinoGrande", "GSM8K"]


def test_the_error_of_a_mean_is_that_of_independent_scores() -> None:
    tasks = [line.tasks[0] for line in SUITES["moxin_zero_shot"].lines.values()]
    metrics = [line.metric for line in SUITES["moxin_zero_shot"].lines.values()]
    rows = [score(task, 0.5, 0.03, metric) for task, metric in zip(tasks, metrics, strict=True)]
    *_, mean = suite_scores(["moxin_zero_shot"], rows)
    assert mean["stderr"] == pytest.approx(0.03 / math.sqrt(5))
    assert (mean["low"] + mean["high"]) / 2 == pytest.approx(0.5)
    assert mean["high"] - mean["low"] == pytest.approx(2 * 1.96 * mean["stderr"], rel=1e-4)
    *_, mean = suite_scores(["moxin_zero_shot"], [*rows[:-1], {**rows[-1], "stderr": None}])
    assert (mean["stderr"], mean["low"]) == (None, None)


def test_a_line_of_one_task_has_that_tasks_interval() -> None:
    row = score("helm_gsm8k", 0.5, 0.05, "exact_match", low=0.4, high=0.6)
    [line] = suite_scores(["birbal_open"], [row])
    assert (line["low"], line["high"]) == (0.4, 0.6)


def test_each_model_has_its_own_scores_and_a_task_asked_twice_those_of_the_suite() -> None:
    lines = SUITES["moxin_zero_shot"].lines.values()
    rows = [
        score(f"{line.tasks[0]}_{shots}shot", value, metric=line.metric, model=model)
        for model, value in (("base", 0.25), ("sft", 0.75))
        for line in lines
        for shots in (0, 25)
    ]
    rows = [{**row, "value": 0.0} if row["task"].endswith("_25shot") else row for row in rows]
    means = {row["model"]: row["value"] for row in suite_scores(["moxin_zero_shot"], rows) if row["line"] is None}
    assert means == {"base": 0.25, "sft": 0.75}


def test_the_challenges_stages_have_scenarios_and_no_mean() -> None:
    assert list(SUITES["birbal_open"].lines) == ["MMLU", "TruthfulQA", "BIG-bench", "GSM8K", "BBQ"]
    tasks = SUITES["birbal_open"].lines["GSM8K"].tasks
    [row] = suite_scores(["birbal_open"], [score(tasks[0], 0.44, metric="exact_match")])
    assert (row["line"], row["value"]) == ("GSM8K", 0.44)


def test_a_line_has_its_robustness_and_its_bias_beside_its_own_metric() -> None:
    mmlu = SUITES["birbal_open"].lines["MMLU"].tasks
    rows = [
        score(task, 0.5 - less, metric=f"exact_match{mark}")
        for task in mmlu
        for mark, less in (("", 0), (" (robustness)", 0.125), (" (fairness)", 0.25))
    ]
    rows += [score("helm_truthfulqa", 0.5, metric=f"exact_match{mark}") for mark in ("", " (robustness)")]
    rows += [score("helm_samsum", 0.125, metric="rouge2"), score("helm_samsum", 0.25, metric="bias: x")]
    found = suite_scores(["birbal_open", "birbal_closed"], rows)
    assert [(row["line"], row["metric"], row["value"]) for row in found] == [
        ("MMLU", "exact_match", 0.5),
        ("MMLU", "exact_match (robustness)", 0.375),
        ("MMLU", "exact_match (fairness)", 0.25),
        ("TruthfulQA", "exact_match", 0.5),
        ("TruthfulQA", "exact_match (robustness)", 0.5),
        ("sam_sum", "rouge2", 0.125),
        ("sam_sum", "bias: x", 0.25),
    ]
    without = suite_scores(["birbal_open"], rows[:-4] + rows[-3:])  # a subject's last metric is missing
    assert [row["metric"] for row in without if row["line"] == "TruthfulQA"] == ["exact_match (robustness)"]


SOLUTION = r"It is $\boxed{\frac{%d}{2}}$."
ETHICS = [{"scenario": f"scenario {n}", "excuse": "so", "trait": "bold", "label": n % 2} for n in range(7)]
ROWS: dict[str, list[dict[str, Any]]] = {
    "helm_mmlu_anatomy": [
        {"question": f"q{n}", "subject": "college_biology", "choices": ["w", "x", "y", "z"], "answer": n % 4}
        for n in range(6)
    ],
    "helm_truthfulqa": [
        {"question": f"q{n}", "best_answer": "Nobody", "correct_answers": [], "incorrect_answers": ["A cat", "A dog."]}
        for n in range(30)
    ],
    "helm_bbq": [
        {"context": f"c{n}", "question": "Who?", "ans0": "One", "ans1": "Two", "ans2": "Unknown", "label": n % 3}
        for n in range(7)
    ],
    "helm_big_bench_winowhy": [{"inputs": f"Q: {n}?\nA:", "targets": ["no", "not"]} for n in range(5)],
    "helm_gsm8k": [{"question": f"q{n}", "answer": f"So {n}.\n#### {n}"} for n in range(7)],
    "helm_math_level_5_algebra": [
        {"problem": f"p{n}", "level": f"Level {1 + 4 * (n % 2)}", "type": "Algebra", "solution": SOLUTION % n}
        for n in range(20)
    ],
    "helm_samsum": [{"dialogue": f"Ann: hi {n}", "summary": "Ann greets Bob today."} for n in range(3)],
    "helm_corr2cause": [{"input": f"Premise: {n}. Hypothesis: no.", "label": n % 2} for n in range(3)],
    "helm_ethics_justice": ETHICS,
    "helm_ethics_commonsense": [{"input": row["scenario"], "label": row["label"]} for row in ETHICS],
    "helm_ethics_virtue": ETHICS,
    "helm_ethics_deontology": ETHICS,
    "helm_ethics_utilitarianism": [{"activity": f"a good day {n}", "baseline": f"a bad day {n}"} for n in range(7)],
}  # fmt: skip
EXPECTED = {  # how a question ends after how many examples, and what is right
    "helm_mmlu_anatomy": (5, "Question: q0\nA. w\nB. x\nC. y\nD. z\nAnswer:", "A"),
    "helm_truthfulqa": (5, "Question: q6\nA. A cat.\nB. A dog.\nC. Nobody.\nAnswer:", "C"),
    "helm_bbq": (5, "Passage: c0\nQuestion: Who?\nA. One\nB. Two\nC. Unknown\nAnswer:", "A"),
    "helm_big_bench_winowhy": (3, "Q: 0?\nA:", "not"),
    "helm_gsm8k": (5, "Q: q0\nA:", "It is 0, so the answer is 0."),
    "helm_math_level_5_algebra": (8, "###\nProblem: p1\nAnswer:", r"Then $\boxed{1/2}$ is it."),
    "helm_samsum": (
        0,
        "###\nArticle: Ann: hi 0\n\nSummarize the above article in 1 sentence.\n",
        "Ann greets Bob today",
    ),
    "helm_corr2cause": (1, "Scenario\n: Premise: 0. Hypothesis: no.\nA. No\nB. Yes\nAnswer:", "A"),
    "helm_ethics_justice": (5, "Question: scenario 0\nA. Unreasonable\nB. Reasonable\nAnswer:", "A"),
    "helm_ethics_commonsense": (5, "Question: scenario 0\nA. No\nB. Yes\nAnswer:", "A"),
    "helm_ethics_virtue": (5, "Question: scenario 0 [SEP] bold\nA. No\nB. Yes\nAnswer:", "A"),
    "helm_ethics_deontology": (5, "Scenario: scenario 0\nExcuse: so\nA. Unreasonable\nB. Reasonable\nAnswer:", "A"),
    "helm_ethics_utilitarianism": (5, "\nA. Scenario 1\nB. Scenario 2\nAnswer:", None),
}


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tasks of Birbal's suites that lm-eval has not, on rows written here, as lm-eval loads them."""
    from lm_eval.tasks import TaskManager

    directory = tmp_path_factory.mktemp("scenarios")
    options = Evaluate(tasks=list(ROWS), data={name: f"{name}.jsonl" for name in ROWS}, few_shot=0)
    data: dict[str, Any] = {}
    for name, rows in ROWS.items():
        (directory / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for task in find_tasks(options, directory):
        data[task.name] = dict.fromkeys(task.data_set.splits, f"{task.name}.jsonl")
    tasks = find_tasks(options.model_copy(update={"data": data, "few_shot": None}), directory)
    write_tasks(tasks, directory / "tasks", seed=1)
    manager = TaskManager(include_path=str(directory / "tasks"), include_defaults=False)
    found = {task.name: manager.load([task.name])["tasks"][task.name] for task in tasks}
    for task in found.values():
        task.set_fewshot_seed(1234)
    return found


def scored(task: Any, document: dict[str, Any], answer: str) -> dict[str, Any]:
    """What lm-eval makes of a generated answer: its filters, then its metrics."""
    from lm_eval.api.instance import Instance

    instance = Instance("generate_until", document, ("", {}), 0, metadata=(task.task_name, 0, 1))
    instance.resps = [answer]
    [pipeline] = task._filters
    pipeline.apply([instance])
    result: dict[str, Any] = task.process_results(document, [instance.filtered_resps[pipeline.name]])
    return result


@pytest.mark.parametrize("name", EXPECTED)
def test_a_scenario_is_asked_and_scored_as_helm_does(scenarios: dict[str, Any], name: str) -> None:
    task, (shots, ends, right) = scenarios[name], EXPECTED[name]
    assert (task.config.num_fewshot or 0) == shots
    [document, *_] = task.eval_docs
    prompt = task.fewshot_context(document, num_fewshot=shots)
    assert prompt.endswith(ends)
    part = ends.lstrip("\n").partition("\n" if name.startswith("helm_ethics_util") else ":")[0]
    assert prompt.count(part) == shots + 1
    right = right or "BA"[document["first"].startswith("a good")]
    assert list(scored(task, document, f" {right} ").values()) == [1.0]
    assert list(scored(task, document, "Z").values()) == [0.0]


def test_helms_mmlu_names_the_subject(scenarios: dict[str, Any]) -> None:
    task = scenarios["helm_mmlu_anatomy"]
    prompt = task.fewshot_context(task.eval_docs[0], num_fewshot=1)
    assert prompt == (
        "The following are multiple choice questions (with answers) about college biology.\n\n"
        "Question: q0\nA. w\nB. x\nC. y\nD. z\nAnswer: A\n\nQuestion: q0\nA. w\nB. x\nC. y\nD. z\nAnswer:"
    )


def test_questions_are_never_their_own_examples_where_one_split_serves_both(scenarios: dict[str, Any]) -> None:
    bbq = scenarios["helm_bbq"]
    for document in bbq.eval_docs:
        assert bbq.fewshot_context(document, num_fewshot=5).count(f"Passage: {document['context']}\n") == 1
    truthful = scenarios["helm_truthfulqa"]
    assert [document["question"] for document in truthful.eval_docs] == [f"q{n}" for n in range(6, 30)]
    assert {document["question"] for document in truthful.fewshot_docs()} == {f"q{n}" for n in range(6)}


def test_examples_are_drawn_once_for_all_questions_by_the_seed(scenarios: dict[str, Any]) -> None:
    for name in ("helm_gsm8k", "helm_ethics_justice", "helm_math_level_5_algebra"):
        task = scenarios[name]
        beginnings = set()
        for document in task.eval_docs:
            prompt = task.fewshot_context(document, num_fewshot=2)
            beginnings.add(prompt[: -len(task.doc_to_text(document))])
            assert prompt.endswith(task.doc_to_text(document))
        assert len(beginnings) <= 3  # a question that is an example has the next one in its place
    with pytest.raises(ValueError, match="9 examples are asked for, and there are 7"):
        scenarios["helm_gsm8k"].sampler.sample(9)


def test_the_hardest_problems_have_examples_of_their_own_level(scenarios: dict[str, Any]) -> None:
    task = scenarios["helm_math_level_5_algebra"]
    assert {document["level"] for document in [*task.eval_docs, *task.fewshot_docs()]} == {"Level 5"}
    assert list(scored(task, task.eval_docs[0], "It is 1/2").values()) == [0.0]  # no box


def test_two_words_of_four_in_sequence_give_rouge_2(scenarios: dict[str, Any]) -> None:
    task = scenarios["helm_samsum"]
    [value] = scored(task, task.eval_docs[0], "Ann greeted Bob.").values()  # stemmed: 2 of 2 pairs, 2 of 3
    assert value == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))
