from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from core.errors import DataError, RecipeError
from core.evaluation.options import Evaluate
from core.evaluation.task_files import find_tasks
from core.models.create import create_model
from core.models.options import ModelConfig
from tests.evaluation.made_tasks import evaluated as evaluated_all
from tests.tokens.conftest import text_documents

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Mistral with a tokenizer that knows a few words."""
    from core.tokens.tokenizer import train_tokenizer

    directory = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(
        lambda: [text_documents(["Which word is the opposite of hot or cold? " * 5])], 400, 10_000
    )
    create_model(ModelConfig(**SIZES), tokenizer, seed=1).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def evaluated(model_dir: Path, options: Evaluate, task: str, directory: Path, recipe_dir: Path | None = None):
    found, samples = evaluated_all(model_dir, options, directory, recipe_dir)
    return found["rows"], samples[task]


def stock(model_dir: Path, directory: Path, task: str, options: Evaluate) -> dict:
    """lm-eval called as its own documentation calls it."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    return simple_evaluate(
        model="hf",
        model_args={"pretrained": str(model_dir), "dtype": "float32"},
        tasks=[task],
        batch_size=options.batch_size,
        device="cpu",
        limit=options.limit,
        num_fewshot=options.few_shot,
        apply_chat_template=options.chat_template,
        task_manager=TaskManager(include_path=str(directory / "tasks"), include_defaults=False),
    )


@pytest.mark.parametrize("task", ["skills_choice", "skills_generate"])
def test_scores_and_samples_are_those_of_stock_lm_eval(model_dir, tmp_path, task):
    options = Evaluate(tasks=[task], limit=30, chat_template=True, exact=True)
    rows, samples = evaluated(model_dir, options, task, tmp_path)
    expected = stock(model_dir, tmp_path, task, options)
    for row in rows:
        assert row["value"] == expected["results"][task][f"{row['metric']},{row['filter']}"]
        assert row["stderr"] == expected["results"][task][f"{row['metric']}_stderr,{row['filter']}"]
        assert (row["samples"], row["higher_is_better"]) == (30, True)
    assert [sample["filtered_resps"] for sample in samples] == json.loads(
        json.dumps([sample["filtered_resps"] for sample in expected["samples"][task]])
    )
    assert len(samples) == 30


def test_a_built_in_task_reads_the_local_files_that_the_recipe_maps(model_dir, tmp_path):
    rows = [{"question": f"What is {n} plus one?", "answer": f"It is {n + 1}.\n#### {n + 1}"} for n in range(8)]
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = {"openai/gsm8k": {"train": "train.jsonl", "test": "test.jsonl"}}
    options = Evaluate(tasks=["gsm8k"], data=data, few_shot=1, limit=4)
    scores, samples = evaluated(model_dir, options, "gsm8k", tmp_path)
    assert {(row["metric"], row["filter"]) for row in scores} == {
        ("exact_match", "strict-match"),
        ("exact_match", "flexible-extract"),
    }
    assert {sample["doc"]["question"] for sample in samples} == {row["question"] for row in rows[:4]}


def test_a_task_without_examples_needs_no_file_for_them(model_dir, tmp_path):
    rows = [{"question": f"What is {n} plus one?", "answer": f"#### {n + 1}"} for n in range(3)]
    (tmp_path / "test.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = {"gsm8k": {"test": "test.jsonl"}}
    scores, _ = evaluated(model_dir, Evaluate(tasks=["gsm8k"], data=data, few_shot=0), "gsm8k", tmp_path)
    assert {row["samples"] for row in scores} == {3}
    with pytest.raises(DataError, match=r"gsm8k takes 5 examples from 'train': give that split a file, or set evalu"):
        find_tasks(Evaluate(tasks=["gsm8k"], data=data), tmp_path)


def test_a_split_that_the_task_does_not_read_is_named(tmp_path):
    (tmp_path / "test.jsonl").write_text("{}")
    options = Evaluate(tasks=["gsm8k"], data={"gsm8k": {"tset": "test.jsonl"}})
    with pytest.raises(RecipeError, match=r"evaluate\.data\.gsm8k\.tset: gsm8k reads no such split, but test, train"):
        find_tasks(options, tmp_path)


def test_csv_files_are_read_as_such(model_dir, tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "task: mine\noutput_type: multiple_choice\ndataset_path: csv\ntest_split: test\n"
        "doc_to_text: q\ndoc_to_choice: ['hot', 'cold']\ndoc_to_target: gold\n"
    )
    (tmp_path / "mine.csv").write_text("q,gold\nhot or cold?,0\nhot or cold?,1\n")
    options = Evaluate(tasks=["mine"], task_files=["mine.yaml"], data={"mine": {"test": "mine.csv"}})
    scores, _ = evaluated(model_dir, options, "mine", tmp_path)
    assert next(row["value"] for row in scores if row["metric"] == "acc") == 0.5


def test_no_progress_bars_are_printed(model_dir, tmp_path, capsys):
    evaluated(model_dir, Evaluate(tasks=["skills_choice"], limit=3), "skills_choice", tmp_path)
    assert capsys.readouterr() == ("", "")


def test_a_multiple_choice_file_of_ones_own_is_scored(model_dir, tmp_path):
    rows = [{"query": "hot or cold?", "choices": ["hot", "cold"], "gold": n % 2} for n in range(6)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = Evaluate(tasks=["arc_local"], data={"arc_local": {"test": "mine.jsonl"}})
    scores, _ = evaluated(model_dir, options, "arc_local", tmp_path)
    assert next(row["value"] for row in scores if row["metric"] == "acc") == 0.5


def test_a_task_file_of_ones_own_is_found_beside_the_recipe(tmp_path):
    (tmp_path / "mine.yaml").write_text("task: mine\ndataset_path: json\noutput_type: multiple_choice\n")
    (tmp_path / "mine.jsonl").write_text("{}")
    options = Evaluate(tasks=["mine"], task_files=["mine.yaml"], data={"mine": {"test": "mine.jsonl"}})
    assert [task.path for task in find_tasks(options, tmp_path)] == [tmp_path / "mine.yaml"]


def test_an_unknown_task_is_named_with_the_nearest(tmp_path):
    with pytest.raises(RecipeError, match=r"no task 'skills_choise'; did you mean skills_choice"):
        find_tasks(Evaluate(tasks=["skills_choise"]), tmp_path)


def test_a_group_is_taken_apart_and_its_data_mapped_by_the_hubs_name(tmp_path):
    (tmp_path / "d.jsonl").write_text('{"question": "q", "choices": ["a", "b", "c", "d"], "answer": 0}')
    options = Evaluate(tasks=["mmlu_stem"], data={"cais/mmlu": {"test": "d.jsonl", "dev": "d.jsonl"}})
    found = find_tasks(options, tmp_path)
    assert {"mmlu_astronomy", "mmlu_anatomy"} <= {task.name for task in found}
    assert all(task.data["dev"] == tmp_path / "d.jsonl" for task in found)


def test_missing_data_are_named_with_file_and_mapping(tmp_path):
    with pytest.raises(DataError, match=r"evaluate\.data\.arc_local\.test: no file nowhere\.jsonl"):
        find_tasks(Evaluate(tasks=["arc_local"], data={"arc_local": {"test": "nowhere.jsonl"}}), tmp_path)
    with pytest.raises(DataError, match=r"gsm8k reads openai/gsm8k from a hub, and HF_HUB_OFFLINE is set"):
        find_tasks(Evaluate(tasks=["gsm8k"]), tmp_path)
    with pytest.raises(RecipeError, match=r"evaluate\.data: gsm is no task"):
        find_tasks(Evaluate(tasks=["skills_choice"], data={"gsm": {"test": "x"}}), tmp_path)


def test_data_that_do_not_fit_the_task_are_an_error(model_dir, tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"question": "hot?", "choices": ["a", "b"], "gold": 0}\n')
    options = Evaluate(tasks=["arc_local"], data={"arc_local": {"test": "mine.jsonl"}})
    with pytest.raises(DataError, match="task arc_local: its data do not fit it"):
        evaluated(model_dir, options, "arc_local", tmp_path)


@pytest.mark.parametrize(
    ("task", "files", "questions"),
    [
        ("arc_local", {"test": "arc/arc_easy.jsonl.gz"}, 2376),
        ("gsm8k", {"train": "gsm8k/train.jsonl.gz", "test": "gsm8k/test.jsonl.gz"}, 1319),
    ],
)
def test_real_benchmarks_are_read_from_local_files(model_dir, tmp_path, shared_data, task, files, questions):
    options = Evaluate(tasks=[task], data={task: files}, few_shot=0, limit=5)
    scores, samples = evaluated(model_dir, options, task, tmp_path, shared_data)
    assert {row["samples"] for row in scores} == {5}
    assert {sample["doc_id"] for sample in samples} == set(range(5))
    with gzip.open(shared_data / files["test"], "rt") as file:
        lines = file.readlines()
    assert len(lines) == questions
    assert samples[0]["doc"] == json.loads(lines[0])


@pytest.mark.parametrize("exact", [False, True])
def test_tokens_are_kept_beside_the_answers(model_dir, tmp_path, monkeypatch, exact):
    options = Evaluate(tasks=["skills_choice"], limit=20, exact=exact)
    answers = tmp_path / "answers"
    first = evaluated_all(model_dir, options, tmp_path / "first", answers=answers)
    [kept] = answers.glob("models/*/tokens-*")
    with monkeypatch.context() as patch:
        patch.delattr("core.evaluation.token_pairs.encode_texts")
        assert evaluated_all(model_dir, options, tmp_path / "second", answers=answers) == first
    kept.write_text(kept.read_text()[:-5])
    assert evaluated_all(model_dir, options, tmp_path / "third", answers=answers) == first
    monkeypatch.setattr("core.evaluation.planned_lm.KEPT_TEXT", 10)
    kept.unlink()
    assert evaluated_all(model_dir, options, tmp_path / "fourth", answers=answers) == first
    assert not kept.exists()
