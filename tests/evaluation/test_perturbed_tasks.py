from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import DataError, RecipeError
from core.evaluation.options import Evaluate, HelmWords, Perturbed
from core.evaluation.perturbations import Words
from core.evaluation.perturbed_tasks import (
    bias_tasks,
    check_perturbed,
    perturbed_fields,
    worst_case_rows,
    write_perturbed,
)
from core.evaluation.task_files import find_tasks, write_tasks
from ray_jobs.check import check
from tests.evaluation.made_tasks import made_options

SETS = ["mild_mix", "dialect", "gender_pronouns", "person_names"]


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_robustness_changes_the_question_and_fairness_its_answers_too(tmp_path):
    options = made_options(tmp_path, ["choice_few_shot"])
    lines = rows(tmp_path / "test.jsonl")
    for line in lines:
        line["question"], line["choices"] = "He is NOT there. Is his brother?", ["he is", "his", "him"]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, lines)))
    [task] = find_tasks(options, tmp_path)
    write_tasks([task], tmp_path / "tasks", 42)
    fields = Perturbed(question=["question"], answers=["choices"])
    names = write_perturbed(task, fields, tmp_path / "tasks", Words(), 42)
    assert names == [f"choice_few_shot__{each}" for each in SETS]
    data = tmp_path / "tasks" / "data"
    mixed = rows(data / names[0] / "test.jsonl")
    assert len(mixed) == len(lines)
    assert all(row["question"].islower() for row in mixed)
    assert {tuple(row["choices"]) for row in mixed} == {("he is", "his", "him")}
    assert len({row["question"] for row in mixed}) > 3  # each by draws of its own
    swapped = rows(data / names[2] / "test.jsonl")
    assert {row["question"].split()[0] for row in swapped} == {"She"}
    assert {tuple(row["choices"]) for row in swapped} == {("she is", "her", "her")}
    for name in names:
        assert rows(data / name / "train.jsonl") == rows(tmp_path / "train.jsonl")
        assert json.loads((tmp_path / "tasks" / f"{name}.yaml").read_text())["task"] == name


def test_the_worst_of_each_question_counts(tmp_path):
    def write(name: str, values: list[float]) -> None:
        lines = [
            {"doc_id": number, "filter": "none", "metrics": ["acc", "f1"], "acc": value, "f1": value / 2}
            for number, value in enumerate(values)
        ]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))

    write("t", [1, 1, 1, 0])
    write("t__mild_mix", [1, 0, 1, 1])
    for name, values in zip(SETS[1:], ([1, 1, 1, 0], [0, 1, 1, 1], [1, 1, 0, 1]), strict=True):
        write(f"t__{name}", values)
    plain = {"task": "t", "filter": "none", "higher_is_better": True, "samples": 4, "stderr": 0.25}
    found = worst_case_rows(
        [plain | {"metric": "acc", "value": 0.75}, plain | {"metric": "f1", "value": 0.375}], "t", tmp_path
    )
    values = {row["metric"]: row["value"] for row in found}
    assert values == {"acc (robustness)": 0.5, "acc (fairness)": 0.25, "f1 (robustness)": 0.25, "f1 (fairness)": 0.125}
    assert all(row["low"] < row["value"] < row["high"] for row in found)


@pytest.mark.parametrize(
    ("task", "change", "error", "said"),
    [
        ("choice", {"perturb": {"chioce": {}}}, RecipeError, r"chioce is not asked; did you mean choice\?"),
        ("choice", {"perturb": {"choice": {}}}, RecipeError, r"which fields of choice .* say it: \{choice: \{question"),
        (
            "choice",
            {"perturb": {"choice": {"question": ["query"]}}},
            RecipeError,
            "no field of text 'query', but qu",
        ),
        ("choice", {"perturb": {"choice": {"question": ["gold"]}}}, RecipeError, "no field of text 'gold'"),
        ("choice", {"bias": ["choice"]}, RecipeError, "choice generates no text"),
        ("choice", {"bias": ["other"]}, RecipeError, r"evaluate\.bias: other is not asked"),
        ("choice", {"helm_words": HelmWords(dialect="no.json")}, DataError, r"helm_words\.dialect: no file no\.json"),
    ],
)
def test_what_cannot_be_perturbed_is_told_before_anything_is_scored(tmp_path, task, change, error, said):
    options = Evaluate(**made_options(tmp_path, [task]).model_dump() | change)
    with pytest.raises(error, match=said):
        check_perturbed(find_tasks(options, tmp_path), options, tmp_path)


def test_a_question_without_the_text_that_is_to_be_perturbed_is_named(tmp_path):
    [task] = find_tasks(made_options(tmp_path, ["choice"]), tmp_path)
    lines = rows(tmp_path / "test.jsonl")
    lines[3]["question"] = None
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, lines)))
    write_tasks([task], tmp_path / "tasks", 42)
    with pytest.raises(DataError, match=r"question 4 has no text 'question'"):
        write_perturbed(task, Perturbed(question=["question"]), tmp_path / "tasks", Words(), 42)


def test_examples_of_the_questions_own_split_are_refused(tmp_path):
    options = made_options(tmp_path, ["choice_few_shot"])
    path = tmp_path / "choice_few_shot.yaml"
    path.write_text(path.read_text().replace("fewshot_split: train", "fewshot_split: test"))
    options.perturb["choice_few_shot"] = Perturbed(question=["question"])
    with pytest.raises(RecipeError, match="examples of choice_few_shot are drawn from the questions"):
        check_perturbed(find_tasks(options, tmp_path), options, tmp_path)


def test_of_the_challenges_suites_those_lines_are_perturbed_that_it_perturbs(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    suites = ["birbal_open", "birbal_closed"]
    options = Evaluate(tasks=suites, perturb={name: Perturbed() for name in suites}, bias=["birbal_closed"])
    tasks = find_tasks(options, Path())
    found = perturbed_fields(tasks, options)
    mmlu = {task.name for task in tasks if "helm_mmlu" in task.within}
    assert len(mmlu) == 57
    ethics = {f"helm_ethics_{name}" for name in ("justice", "commonsense", "virtue", "deontology", "utilitarianism")}
    assert found.keys() == mmlu | ethics | {"helm_truthfulqa"}
    assert found["helm_mmlu_anatomy"] == Perturbed(question=["question"], answers=["choices"])
    assert found["helm_ethics_utilitarianism"] == Perturbed(question=["activity", "baseline"])
    assert bias_tasks(tasks, options) == {"helm_samsum"}
    check_perturbed(tasks, options, Path())


def test_what_names_a_task_goes_before_what_names_its_group(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    perturb = {"helm_mmlu_anatomy": Perturbed(question=["choices"]), "helm_mmlu": Perturbed()}
    options = Evaluate(tasks=["birbal_open"], perturb=perturb)
    found = perturbed_fields(find_tasks(options, Path()), options)
    assert len(found) == 57
    assert found["helm_mmlu_anatomy"].question == ["choices"]
    assert found["helm_mmlu_virology"].question == ["question"]


TRUTHFUL = [
    {"question": f"Does he know {n}?", "best_answer": "His brother"}
    | {"correct_answers": [], "incorrect_answers": ["Himself", "He does."]}
    for n in range(10)
]


def test_where_one_split_serves_both_examples_stay_as_they_are_and_answers_in_their_order(tmp_path):
    from lm_eval.tasks import TaskManager

    pairs = [{"activity": f"He naps {n}", "baseline": f"His leg {n} hurts"} for n in range(12)]
    for name, lines in (("truthful", TRUTHFUL), ("pairs", pairs)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = {
        "helm_truthfulqa": {"validation": "truthful.jsonl"},
        "helm_ethics_utilitarianism": {"train": "pairs.jsonl", "test": "pairs.jsonl"},
    }
    options = Evaluate(tasks=list(data), data=data, few_shot=2, perturb={name: Perturbed() for name in data})
    tasks = find_tasks(options, tmp_path)
    check_perturbed(tasks, options, tmp_path)
    write_tasks(tasks, tmp_path / "tasks", 42)
    names = [
        name
        for task in tasks
        for name in write_perturbed(task, perturbed_fields(tasks, options)[task.name], tmp_path / "tasks", Words(), 42)
    ]
    manager = TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
    loaded = {name: manager.load([name])["tasks"][name] for name in [*data, *names]}
    truthful, swapped = loaded["helm_truthfulqa"], loaded["helm_truthfulqa__gender_pronouns"]
    assert [doc["question"] for doc in swapped.eval_docs] == [f"Does she know {n}?" for n in range(2, 10)]
    examples = [[(doc["question"], doc["choices"]) for doc in task.fewshot_docs()] for task in (truthful, swapped)]
    assert examples[0] == examples[1]
    assert truthful.eval_docs[0]["choices"] == ["Himself.", "He does.", "His brother."]
    assert swapped.eval_docs[0]["choices"] == ["Herself.", "She does.", "Her brother."]
    own, other = (loaded[f"helm_ethics_utilitarianism{end}"] for end in ("", "__gender_pronouns"))
    assert [doc["label"] for doc in own.eval_docs] == [doc["label"] for doc in other.eval_docs]
    assert {doc["label"] for doc in own.eval_docs} == {0, 1}
    assert other.eval_docs[0]["activity"] == "She naps 0"


def test_a_task_that_reads_a_data_set_by_its_name_is_perturbed_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "set").mkdir()
    for split in ("train", "test"):
        lines = [{"question": f"Is he {n}?", "answer": f"#### {n}"} for n in range(8)]
        (tmp_path / "set" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    own = tmp_path / "own.yaml"
    gsm8k = Path("core/evaluation/tasks/helm_gsm8k.yaml").absolute()
    own.write_text(f"include: {gsm8k}\ntask: own\ndataset_path: {tmp_path / 'set'}\ndataset_name: null\n")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    options = Evaluate(tasks=["own"], task_files=[str(own)], perturb={"own": Perturbed()})
    [task] = find_tasks(options, tmp_path)
    check_perturbed([task], options, tmp_path)
    write_tasks([task], tmp_path / "tasks", 42)
    write_perturbed(task, perturbed_fields([task], options)["own"], tmp_path / "tasks", Words(), 42)
    data = tmp_path / "tasks" / "data" / "own__gender_pronouns"
    assert rows(data / "test.jsonl")[3]["question"] == "Is she 3?"
    assert rows(data / "train.jsonl")[3]["question"] == "Is he 3?"


def test_fields_that_questions_are_not_made_of_are_refused(tmp_path):
    [task] = find_tasks(made_options(tmp_path, ["choice"]), tmp_path)
    write_tasks([task], tmp_path / "tasks", 42)
    with pytest.raises(RecipeError, match=r"evaluate\.perturb\.choice: its questions are not made of these fields"):
        write_perturbed(task, Perturbed(question=["text"]), tmp_path / "tasks", Words(), 42)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["evaluate.perturb={birbal_opne: {}}"], r"birbal_opne is not asked; did you mean birbal_open"),
        (["evaluate.tasks=[gsm8k]"], r"birbal_open is not asked"),
        (["evaluate.bias=[birbal_open]"], r"evaluate\.bias: the challenge has none of birbal_open's; name tasks"),
        (["evaluate.perturb={helm_gsm8k: {answers: [answer]}}"], r"answers without a question: name its fields too"),
    ],
)
def test_a_check_of_a_recipe_looks_at_what_is_perturbed(change, said):
    with pytest.raises(RecipeError, match=said):
        check("birbal-200k", None, change, False)


def test_what_names_fewer_tasks_goes_first_also_where_a_task_is_asked_twice(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    one, other = Perturbed(question=["question"]), Perturbed(question=["choices.text"])
    perturb = {"arc_challenge": one, "moxin_zero_shot": other}
    options = Evaluate(tasks=["moxin_zero_shot", "moxin_few_shot"], perturb=perturb)
    found = perturbed_fields(find_tasks(options, Path()), options)
    assert found["arc_challenge_0shot"] == found["arc_challenge_25shot"] == one
    assert found["piqa"] == other
