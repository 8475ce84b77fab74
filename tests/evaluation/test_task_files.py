"""Tasks of a recipe: their files, and what is wrong with them told before anything is scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import DataError, RaycipeError, RecipeError
from core.evaluation.options import Evaluate
from core.evaluation.task_files import TaskFile, find_tasks, write_tasks
from core.evaluation.tokens_needed import check_tokens
from core.tokens.tokenizer import train_tokenizer
from tests.tokens.conftest import text_documents

QUESTION = {"question": "What is one plus one?", "answer": "#### 2"}
SENTENCE = {"sentence": "The pen is by the ink since _ is dry.", "option1": "pen", "option2": "ink", "answer": "1"}


def found(directory: Path, tasks: list[str], **options: Any) -> list[TaskFile]:
    return find_tasks(Evaluate(tasks=tasks, **options), directory)


def told(directory: Path, tasks: list[str], **options: Any) -> str:
    """The error that a recipe's evaluation gives when it is checked."""
    with pytest.raises(RaycipeError) as raised:
        found(directory, tasks, **options)
    assert isinstance(raised.value, RecipeError | DataError)
    return str(raised.value)


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def settings(directory: Path, name: str) -> dict[str, Any]:
    return dict(json.loads((directory / f"{name}.yaml").read_text()))


@pytest.fixture
def gsm8k(tmp_path: Path) -> Path:
    """A directory of benchmarks with a few rows of one, as it is published."""
    write(tmp_path / "data/gsm8k/train.jsonl", *[QUESTION] * 5)
    write(tmp_path / "data/gsm8k/test.jsonl", QUESTION)
    return tmp_path


@pytest.mark.parametrize(
    "options",
    [
        {"data_dir": "data"},
        {"data": {"openai/gsm8k": "data/gsm8k"}},
        {"data": {"gsm8k": {"train": "data/gsm8k/train.jsonl", "test": "data/gsm8k/test.jsonl"}}},
    ],
)
def test_a_directory_or_files_may_be_named(gsm8k: Path, options: dict[str, Any]) -> None:
    [task] = found(gsm8k, ["gsm8k"], **options)
    assert task.data == {split: gsm8k / f"data/gsm8k/{split}.jsonl" for split in ("train", "test")}
    assert task.few_shot == 5
    write_tasks([task], gsm8k / "tasks", seed=1)
    written = settings(gsm8k / "tasks", "gsm8k")
    assert (written["dataset_path"], written["dataset_name"]) == ("json", None)
    assert (
        Path(written["dataset_kwargs"]["data_files"]["test"]).read_text()
        == json.dumps(QUESTION, separators=(",", ":")) + "\n"
    )


def test_a_file_alone_is_that_of_the_questions(gsm8k: Path) -> None:
    [task] = found(gsm8k, ["gsm8k"], data={"gsm8k": "data/gsm8k/test.jsonl"}, few_shot=0)
    assert task.data == {"test": gsm8k / "data/gsm8k/test.jsonl"}


def test_files_of_the_hub_itself_are_left_as_they_are(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([QUESTION]), tmp_path / "test.parquet")
    [task] = found(tmp_path, ["gsm8k"], data={"gsm8k": {"test": "test.parquet"}}, few_shot=0)
    write_tasks([task], tmp_path / "tasks", seed=1)
    written = settings(tmp_path / "tasks", "gsm8k")
    assert (written["dataset_path"], written["dataset_kwargs"]) == (
        "parquet",
        {"data_files": {"test": str(tmp_path / "test.parquet")}},
    )


def test_what_a_task_reads_includes_labels_beside_its_questions(tmp_path: Path) -> None:
    write(tmp_path / "piqa/valid.jsonl", {"goal": "g", "sol1": "a", "sol2": "b"})
    (tmp_path / "piqa/valid-labels.lst").write_text("0\n")
    [task] = found(tmp_path, ["piqa"], data_dir=".")
    assert {name: path.name for name, path in task.inputs().items()} == {
        "validation": "valid.jsonl",
        "validation labels": "valid-labels.lst",
    }


def test_files_that_a_task_of_ones_own_names_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text('{"q": "?"}\n')
    (tmp_path / "own.yaml").write_text(
        "task: own\ndataset_path: json\ntest_split: test\noutput_type: generate_until\n"
        f"dataset_kwargs: {{data_files: {{test: {tmp_path}/own.jsonl}}}}\ndoc_to_text: q\ndoc_to_target: q\n"
    )
    [task] = find_tasks(Evaluate(tasks=["own"], task_files=[str(tmp_path / "own.yaml")]), tmp_path)
    assert task.inputs() == {"test 0": tmp_path / "own.jsonl"}


def test_a_task_of_one_subset_names_it_to_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    tasks = found(tmp_path, ["helm_math_level_1"])
    assert [task.subset for task in tasks][:2] == ["algebra", "counting_and_probability"]
    write_tasks(tasks, tmp_path / "tasks", seed=1)
    assert settings(tmp_path / "tasks", "helm_math_level_1_geometry")["dataset_name"] == "geometry"


def test_a_split_without_a_file_is_named_and_what_to_do(gsm8k: Path) -> None:
    (gsm8k / "data/gsm8k/train.jsonl").unlink()
    message = told(gsm8k, ["gsm8k"], data_dir="data")
    assert message == (
        "evaluate.data_dir: gsm8k takes 5 examples from 'train': give that split a file (train.jsonl in "
        f"{gsm8k}/data/gsm8k), or set evaluate.few_shot to 0 or {{gsm8k: 0}}"
    )
    [task] = found(gsm8k, ["gsm8k"], data_dir="data", few_shot={"gsm8k": 0})
    assert task.few_shot == 0


@pytest.mark.parametrize(
    ("tasks", "options", "message"),
    [
        (["gsm9k"], {}, r"lm-eval has no task 'gsm9k'; did you mean gsm8k"),
        (["moxin_zeroshot"], {}, "lm-eval has no task 'moxin_zeroshot'; did you mean moxin_zero_shot"),
        (["helm_gsm"], {}, "did you mean helm_gsm8k"),
        (["openllm"], {}, "lm-eval's group 'openllm' asks arc_challenge with settings of its own (fewshot_split"),
        (["skills_choice"], {"data": {"skills_choice": {"test": "data/gsm8k/test.jsonl"}}},
         "evaluate.data: the questions of skills_choice are made, and read from no file"),
        (["piqa"], {}, "piqa reads baber/piqa from a hub, and HF_HUB_OFFLINE is set; give local files: evaluate.data: "
         "{piqa: {validation: FILE}} or {baber/piqa: DIRECTORY}, or evaluate.data_dir, with valid.jsonl"),
        (["mmlu_anatomy"], {"data_dir": "data"}, "HF_HUB_OFFLINE is set; no test/anatomy_test.csv in "),
        (["boolq"], {"data_dir": "data"}, "boolq reads aps/super_glue from a hub"),
        (["gsm8k"], {"data_dir": "nowhere"}, "evaluate.data_dir: no file or directory nowhere"),
        (["gsm8k"], {"data": {"gsm8k": "nowhere"}}, "evaluate.data.gsm8k: no file or directory nowhere"),
        (["gsm8k"], {"data": {"gsm8k": {"test": "data"}}}, "evaluate.data.gsm8k.test: no file data"),
        (["piqa"], {"data": {"piqa": "data"}}, "evaluate.data.piqa: piqa needs valid.jsonl in "),
        (["boolq"], {"data": {"boolq": "data"}}, "how the files of aps/super_glue lie in a directory is not known; "
         "name one for each split (train, validation)"),
        (["winogrande"], {"data": {"winogrande": "data/gsm8k/test.jsonl"}},
         "test.jsonl: row 1: found question, answer; expected winogrande as published"),
        (["arc_local"], {}, "arc_local reads local files; give them: evaluate.data: {arc_local: {test: FILE}}"),
        (["gsm8k"], {"data_dir": "data", "few_shot": {"gsmk": 1}},
         "evaluate.few_shot: 'gsmk' is no task of evaluate.tasks; did you mean gsm8k?"),
        (["gsm8k"], {"data_dir": "data", "clusters": {"gsm8": "question"}},
         "evaluate.clusters: 'gsm8' is no task of evaluate.tasks; did you mean gsm8k?"),
        (["gsm8k"], {"data_dir": "data", "clusters": {"gsm8k": "questions"}},
         "evaluate.clusters.gsm8k: its documents have no 'questions', but question, answer; did you mean question?"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_scoring(
    gsm8k: Path, tasks: list[str], options: dict[str, Any], message: str
) -> None:
    assert message in told(gsm8k, tasks, **options)


def test_names_are_looked_at_before_files(tmp_path: Path) -> None:
    assert "no task 'gsm9k'" in told(tmp_path, ["piqa", "gsm9k"])
    assert "evaluate.data: gsm8 is no task" in told(tmp_path, ["piqa"], data={"gsm8": "nowhere"})


def test_an_empty_file_is_told_before_scoring(gsm8k: Path) -> None:
    (gsm8k / "data/gsm8k/test.jsonl").write_text("")
    assert "test.jsonl: holds no rows for gsm8k" in told(gsm8k, ["gsm8k"], data_dir="data")


def test_a_clusters_field_is_looked_for_in_the_documents_that_are_asked(tmp_path: Path) -> None:
    write(tmp_path / "dev.jsonl", SENTENCE)
    pq.write_table(pa.Table.from_pylist([{"passage": "p", "label": 1}]), tmp_path / "v.parquet")
    assert found(tmp_path, ["winogrande"], data={"winogrande": "dev.jsonl"}, clusters={"winogrande": "option1"})
    boolq = {"data": {"boolq": {"validation": "v.parquet"}}}
    assert found(tmp_path, ["boolq"], **boolq, clusters={"boolq": "passage"})
    write(
        tmp_path / "hellaswag_val.jsonl", {"activity_label": "a", "ctx_a": "b", "ctx_b": "c", "endings": [], "label": 0}
    )
    made_later = {"clusters": {"hellaswag": "query"}, "data": {"hellaswag": "hellaswag_val.jsonl"}}
    assert found(tmp_path, ["hellaswag"], **made_later)
    assert "no 'pasage', but passage, label" in told(tmp_path, ["boolq"], **boolq, clusters={"boolq": "pasage"})


@pytest.mark.parametrize("few_shot", [-1, {"gsm8k": -1}, {"gsm8k": "many"}])
def test_a_number_of_examples_is_none_or_more(few_shot: Any) -> None:
    with pytest.raises(ValueError, match="few_shot"):
        Evaluate(tasks=["gsm8k"], few_shot=few_shot)


def test_tokens_that_a_task_needs_and_the_model_has_not_are_named(gsm8k: Path) -> None:
    tokenizer = train_tokenizer(lambda: [text_documents(["one plus one " * 9])], 300, 10_000)
    answers = found(gsm8k, ["gsm8k"], data_dir="data")
    write(gsm8k / "dev.jsonl", SENTENCE)
    choices = found(gsm8k, ["winogrande"], data={"winogrande": "dev.jsonl"})
    options = Evaluate(tasks=["gsm8k"])
    check_tokens(tokenizer, "sft", [*answers, *choices], options)
    tokenizer.chat_template = None
    with pytest.raises(RecipeError, match=r"evaluate\.chat_template: the tokenizer of sft has no chat template"):
        check_tokens(tokenizer, "sft", answers, options.model_copy(update={"chat_template": True}))
    tokenizer.bos_token = tokenizer.unk_token = tokenizer.pad_token = tokenizer.eos_token
    tokenizer.eos_token = None
    check_tokens(tokenizer, "sft", choices, options)
    with pytest.raises(RecipeError, match="gsm8k needs a tokenizer with eos_token; that of sft has none"):
        check_tokens(tokenizer, "sft", answers, options)
    tokenizer.bos_token = tokenizer.unk_token = tokenizer.pad_token = None
    with pytest.raises(RecipeError, match="with bos_token or eos_token and pad_token or unk_token or eos_token"):
        check_tokens(tokenizer, "sft", choices, options)


@pytest.mark.parametrize(
    ("task", "name", "said"),
    [
        ("gsm8k", "test.jsonl", r"test\.jsonl:41: not JSON \(Unterminated string"),
        ("lambada_openai", "own.jsonl", r"own\.jsonl:41: not JSON \(Unterminated string"),
        ("lambada_openai", "own.parquet", r"own\.parquet: not readable as Parquet"),
    ],
)
def test_a_file_that_breaks_off_far_below_its_first_row_is_found_when_it_is_read_through(tmp_path, task, name, said):
    rows = [{**QUESTION, "text": f"the {n}"} for n in range(40)]
    path = write(tmp_path / name, *rows)
    if name.endswith("parquet"):
        pq.write_table(pa.Table.from_pylist(rows * 100), path, compression="none", row_group_size=1000)
        whole = path.read_bytes()
        path.write_bytes(whole[:5000] + b"\0" * 20_000 + whole[25_000:])
    else:
        path.write_text(path.read_text() + '{"question": "What')
    [found_task] = found(tmp_path, [task], data={task: {"test": name}}, few_shot=0)
    with pytest.raises(DataError, match=said):
        found_task.data_set.read_through(found_task.data["test"])
