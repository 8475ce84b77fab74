"""Published files of benchmarks become the hub's rows, and lm-eval's own tasks read them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from core.errors import DataError
from core.evaluation.benchmark_rows import benchmark_of
from core.evaluation.options import Evaluate
from core.evaluation.task_files import find_tasks, write_tasks
from core.models.create import create_model
from core.models.options import ModelConfig
from core.tokens.tokenizer import train_tokenizer
from tests.tokens.conftest import text_documents

TASKS = {  # with the number of questions that the local file holds
    "arc_challenge": 1172,
    "arc_easy": 2376,
    "hellaswag": 1000,
    "mmlu_anatomy": 135,
    "winogrande": 1267,
    "piqa": 1838,
    "truthfulqa_mc2": 790,
    "gsm8k": 1319,
    "bbh_fewshot_dyck_languages": 250,
    "openbookqa": 500,
}
SHOTS = {"arc_challenge": 0, "gsm8k": 1, "mmlu_anatomy": 5, "openbookqa": 2}


def text(path: Path) -> str:
    return gzip.open(path, "rt").read()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text(path).splitlines()]


def hub_rows(dataset: str, subset: str, path: Path) -> list[dict[str, Any]]:
    benchmark = benchmark_of(dataset, subset)
    assert benchmark is not None
    return list(benchmark.rows(path, subset))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> dict[str, list[dict[str, Any]]]:
    """What stock lm-eval asks a tiny random model of all nine benchmarks, two questions of each."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    directory = tmp_path_factory.mktemp("benchmarks")
    tokenizer = train_tokenizer(lambda: [text_documents(["Which word is the opposite of hot? " * 5])], 400, 10_000)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    create_model(ModelConfig(**sizes), tokenizer, seed=1).save_pretrained(directory / "model")
    tokenizer.save_pretrained(directory / "model")
    options = Evaluate(tasks=list(TASKS), data_dir=str(shared_data), few_shot=SHOTS)
    tasks = find_tasks(options, directory)
    write_tasks(tasks, directory / "tasks", seed=42)
    model = HFLM(pretrained=str(directory / "model"), device="cpu", dtype="float32", batch_size=4)
    manager = TaskManager(include_path=str(directory / "tasks"), include_defaults=False)
    asked: dict[str, list[dict[str, Any]]] = {}
    for task in tasks:
        found = simple_evaluate(
            model=model,
            tasks=[task.name],
            task_manager=manager,
            limit=2,
            num_fewshot=task.few_shot,
            gen_kwargs={"max_gen_toks": 4},
            bootstrap_iters=0,
        )
        assert found is not None
        asked[task.name] = found["samples"][task.name]
        assert found["n-samples"][task.name] == {"original": TASKS[task.name], "effective": 2}
        assert found["n-shot"][task.name] == task.few_shot
    return asked


def choices_of(sample: dict[str, Any]) -> list[tuple[str, str]]:
    """What precedes each choice, and the choice: what the model is asked."""
    return [tuple(asked) for asked in sample["arguments"]]


def test_arc_is_asked_in_the_words_of_its_release(samples: dict[str, Any], shared_data: Path) -> None:
    for task, name in (("arc_challenge", "arc_challenge"), ("arc_easy", "arc_easy")):
        for sample, row in zip(samples[task], lines(shared_data / "arc" / f"{name}.jsonl.gz"), strict=False):
            assert choices_of(sample) == [(f"{row['query']}\nAnswer:", f" {choice}") for choice in row["choices"]]
            assert int(sample["target"]) == row["gold"]


def test_hellaswags_brackets_are_removed_by_lm_eval(samples: dict[str, Any], shared_data: Path) -> None:
    for sample, row in zip(
        samples["hellaswag"], lines(shared_data / "hellaswag/hellaswag_val_1000.jsonl.gz"), strict=False
    ):
        assert sample["doc"]["label"] == str(row["label"])
        assert sample["doc"]["query"].startswith(f"{row['activity_label']}: ")
        assert [choice for _, choice in choices_of(sample)] == [f" {ending}" for ending in sample["doc"]["choices"]]
        assert int(sample["target"]) == row["label"]


def test_mmlu_has_its_subjects_five_examples(samples: dict[str, Any], shared_data: Path) -> None:
    examples = csv.DictReader(io.StringIO(text(shared_data / "mmlu/dev/anatomy_dev.csv.gz")))
    answers = re.findall(r"Answer: ([A-D])", choices_of(samples["mmlu_anatomy"][0])[0][0])
    assert answers == ["ABCD"[int(row["answer"])] for row in examples]
    [first, *_] = csv.DictReader(io.StringIO(text(shared_data / "mmlu/test/anatomy_test.csv.gz")))
    [sample, _] = samples["mmlu_anatomy"]
    assert sample["doc"]["subject"] == "anatomy"
    assert f"{first['question']}\nA. {first['choice0']}\nB. {first['choice1']}" in choices_of(sample)[0][0]
    assert int(sample["target"]) == int(first["answer"])


def test_winogrande_is_asked_with_both_beginnings(samples: dict[str, Any], shared_data: Path) -> None:
    for sample, row in zip(samples["winogrande"], lines(shared_data / "winogrande/winogrande.jsonl.gz"), strict=False):
        assert choices_of(sample) == [(begin, f" {row['continuation']}") for begin in row["context_options"]]
        assert sample["doc"]["answer"] == str(row["gold"] + 1)


def test_piqas_labels_are_those_of_the_file_beside(samples: dict[str, Any], shared_data: Path) -> None:
    labels = text(shared_data / "piqa/valid-labels.lst.gz").split()
    for sample, row, label in zip(samples["piqa"], lines(shared_data / "piqa/valid.jsonl.gz"), labels, strict=False):
        before = f"Question: {row['goal']}\nAnswer:"
        assert choices_of(sample) == [(before, f" {row['sol1']}"), (before, f" {row['sol2']}")]
        assert int(sample["target"]) == int(label)


def test_truthfulqas_true_answers_count_together(samples: dict[str, Any], shared_data: Path) -> None:
    for sample, row in zip(
        samples["truthfulqa_mc2"], json.loads(text(shared_data / "truthfulqa/mc_task.json.gz")), strict=False
    ):
        assert [choice for _, choice in choices_of(sample)] == [f" {answer}" for answer in row["mc2_targets"]]
        assert sample["doc"]["mc2_targets"]["labels"] == list(row["mc2_targets"].values())
        assert 0 < sample["acc"] < 1


def test_gsm8k_bbh_and_openbookqa_are_asked_as_published(samples: dict[str, Any], shared_data: Path) -> None:
    [first, *_] = lines(shared_data / "gsm8k/test.jsonl.gz")
    assert samples["gsm8k"][0]["doc"] == first
    examples = json.loads(text(shared_data / "bbh/dyck_languages.json.gz"))["examples"]
    assert [sample["doc"] for sample in samples["bbh_fewshot_dyck_languages"]] == examples[:2]
    [row, *_] = lines(shared_data / "openbookqa/openbook_qa.jsonl.gz")
    [sample, _] = samples["openbookqa"]
    assert all(before.endswith(f"\n\n{row['query']}") for before, _ in choices_of(sample))
    assert [choice for _, choice in choices_of(sample)] == [f" {choice}" for choice in row["choices"]]
    assert int(sample["target"]) == row["gold"]


def test_every_row_of_two_copies_of_a_benchmark_becomes_the_same(shared_data: Path) -> None:
    released = hub_rows("allenai/openbookqa", "main", shared_data / "openbookqa/Main_test.tsv.gz")
    copied = hub_rows("allenai/openbookqa", "main", shared_data / "openbookqa/openbook_qa.jsonl.gz")
    assert [{**row, "id": None} for row in released] == [{"id": None, **row} for row in copied]


def test_arcs_copies_differ_only_where_choices_are_numbered_or_five(shared_data: Path) -> None:
    whole = hub_rows("allenai/ai2_arc", "ARC-Challenge", shared_data / "arc/arc_challenge_mammoth.json.gz")
    fours = hub_rows("allenai/ai2_arc", "ARC-Challenge", shared_data / "arc/arc_challenge.jsonl.gz")
    assert {len(row["choices"]["text"]) for row in whole} == {3, 4, 5}
    differing = 0
    for row, other in zip(whole, fours, strict=True):
        assert other["question"] == row["question"]
        five, numbered = len(row["choices"]["text"]) == 5, row["choices"]["label"][0] == "1"
        assert five or other["choices"]["text"] == row["choices"]["text"]
        right = [each["choices"]["label"].index(each["answerKey"]) for each in (row, other)]
        assert numbered or right[0] == right[1]
        differing += five or right[0] != right[1]
    assert differing == 23


ARC = {
    "id": "Mercury_7",
    "question": {"stem": "Why?", "choices": [{"text": "heat", "label": "1"}, {"text": "cold", "label": "2"}]},
    "answerKey": "2",
}
SENTENCE = {"sentence": "The pen is by the ink since _ is dry.", "option1": "pen", "option2": "ink", "answer": "1"}


@pytest.mark.parametrize(
    ("dataset", "subset", "name", "content", "expected"),
    [
        (
            "allenai/ai2_arc",
            "ARC-Easy",
            "ARC-Easy-Test.jsonl",
            json.dumps(ARC),
            {**ARC, "question": "Why?", "choices": {"text": ["heat", "cold"], "label": ["1", "2"]}},
        ),
        (
            "cais/mmlu",
            "virology",
            "virology_test.csv",
            '"Which, then?",w,x,y,z,C\n',
            {"question": "Which, then?", "subject": "virology", "choices": ["w", "x", "y", "z"], "answer": 2},
        ),
        ("allenai/winogrande", "winogrande_xl", "dev.jsonl", json.dumps(SENTENCE), SENTENCE),
        (
            "EleutherAI/hendrycks_math",
            "counting_and_probability",
            "MATH_test.jsonl",
            '{"problem": "p", "level": "Level 1", "type": "Algebra", "solution": "s", "file": "f"}\n'
            '{"problem": "q", "level": "Level 2", "type": "Counting & Probability", "solution": "t", "file": "g"}\n',
            {"problem": "q", "level": "Level 2", "type": "Counting & Probability", "solution": "t"},
        ),
    ],
)  # fmt: skip
def test_releases_that_are_not_at_hand_are_read_too(
    tmp_path: Path, dataset: str, subset: str, name: str, content: str, expected: dict[str, Any]
) -> None:
    (tmp_path / name).write_text(content)
    assert hub_rows(dataset, subset, tmp_path / name) == [expected]


def test_a_row_of_no_known_form_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text('{"question": "q", "answer": "#### 1"}\n{"query": "q"}\n')
    with pytest.raises(DataError, match=r"test\.jsonl: row 2: found query; expected gsm8k as published"):
        hub_rows("openai/gsm8k", "main", path)
    path.write_text('{"question": "q", "answ')
    with pytest.raises(DataError, match=r"test\.jsonl:1: not JSON \(Unterminated string"):
        hub_rows("openai/gsm8k", "main", path)
    path.write_text('{"question": "q", "answer": "#### 1"}\n["q"]\n')
    with pytest.raises(DataError, match=r"test\.jsonl: row 2: found list, expected a mapping"):
        hub_rows("openai/gsm8k", "main", path)


def test_labels_that_are_missing_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "valid.jsonl"
    path.write_text('{"goal": "g", "sol1": "a", "sol2": "b"}\n' * 2)
    with pytest.raises(DataError, match=r"its labels are not there: expected valid-labels\.lst, or with \.gz"):
        hub_rows("baber/piqa", "", path)
    (tmp_path / "valid-labels.lst").write_text("1\n")
    with pytest.raises(DataError, match=r"valid\.jsonl: row 2: ValueError"):
        hub_rows("baber/piqa", "", path)
    (tmp_path / "valid-labels.lst").write_text("1\n0\n")
    assert [row["label"] for row in hub_rows("baber/piqa", "", path)] == [1, 0]
