"""Sources that hold instructions: every row is a document, several, or accounted for."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from pydantic import ValidationError

from core.documents.ledger import DROPPED
from core.documents.table import DOCUMENTS
from core.errors import DataError
from core.instructions.natural_instructions import read_header, read_task, task_files, task_name
from core.instructions.reading import read_shard, shards, task_files_of
from core.instructions.source import InstructionSource
from core.instructions.task_files import task_report
from tests.instructions.made_tasks import content, write_task


def read(source: dict[str, Any], directory: Path, seed: int = 42) -> tuple[pa.Table, pa.Table]:
    """All documents of a source, and what was dropped while it was read."""
    made = [
        tables for shard in shards("s", InstructionSource(**source), directory) for tables in read_shard(shard, seed)
    ]
    documents = pa.concat_tables([DOCUMENTS.empty_table(), *(documents for documents, _ in made)])
    return documents, pa.concat_tables([DROPPED.empty_table(), *(dropped for _, dropped in made)])


def questions(directory: Path, count: int = 6) -> Path:
    path = directory / "questions.jsonl"
    rows = [
        {"query": f"Question {n}?", "choices": [f"right {n}", f"wrong {n}", f"false {n}"], "gold": 0}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_selected_tasks_are_read_and_the_others_are_not(tmp_path: Path) -> None:
    write_task(tmp_path, "task1_a")
    write_task(tmp_path, "task2_b", Input_language=["Hindi"])
    write_task(
        tmp_path, "task3_c", Instances=[{"id": "task3-a", "input": "x", "output": ["y"]}], Categories=["Translation"]
    )
    options = {"directory": str(tmp_path), "input_languages": ["English"], "categories": {"deny": ["Translation"]}}
    documents, dropped = read({"natural_instructions": options}, tmp_path)
    assert documents["id"].to_pylist() == ["task9-a", "task9-b", "task9-c"]
    assert {orjson.loads(meta)["task"] for meta in documents["meta"].to_pylist()} == {"task1_a"}
    assert dropped.num_rows == 0


def test_no_selected_task_is_an_error_that_counts_the_reasons(tmp_path: Path) -> None:
    write_task(tmp_path, "task1_a")
    source = {"natural_instructions": {"directory": ".", "output_languages": ["German"]}}
    with pytest.raises(DataError, match=r"none of 1 tasks in \. is taken: output_language 1"):
        read(source, tmp_path)
    with pytest.raises(DataError, match="nowhere: no such directory"):
        read({"natural_instructions": {"directory": "nowhere"}}, tmp_path)


def test_a_header_is_that_of_the_whole_file_wherever_the_instances_stand(tmp_path: Path) -> None:
    told = content(Definition=['A "Instances": [ in the words.'])
    first = {"Instances": told.pop("Instances"), **told}
    (tmp_path / "task1_first.json").write_text(json.dumps(first))
    (tmp_path / "task2_last.json").write_text(json.dumps({**told, "Instances": first["Instances"]}))
    for path in task_files(tmp_path):
        assert read_header(path) == read_task(path).header
    (tmp_path / "task3_broken.json").write_text('{"Categories": [')
    with pytest.raises(DataError, match=r"task3_broken\.json"):
        read_header(tmp_path / "task3_broken.json")


def test_headers_of_all_real_tasks_are_those_of_the_whole_files(shared_data: Path) -> None:
    for path in task_files(shared_data / "ni" / "tasks"):
        assert read_header(path) == read_task(path).header


def test_a_table_stands_for_the_headers_and_tasks_without_a_file_are_told(tmp_path: Path, shared_data: Path) -> None:
    options = InstructionSource(
        natural_instructions={
            "preset": "birbal",
            "directory": str(shared_data / "ni" / "tasks"),
            "table": str(shared_data / "ni" / "tasks_README.md.gz"),
            "published": str(shared_data / "birbal" / "selected_NI_tasks"),
        }
    )
    assert options.natural_instructions is not None
    report = task_report(options.natural_instructions, tmp_path)
    assert (report["tasks"], len(report["selected"]), report["agreement"]["both"]) == (1613, 503, 461)
    files = task_files_of(shards("ni", options, tmp_path))
    assert len(files) + len(report["without_file"]) == 503
    assert {task_name(path) for path in files} <= set(report["selected"])


def test_every_question_gives_a_pair_for_each_wrong_choice_wherever_it_is_read(tmp_path: Path) -> None:
    questions(tmp_path)
    source = {"files": "questions.jsonl", "multiple_choice_pairs": {"layout": "llm_foundry", "few_shot": 2}}
    documents, dropped = read(source, tmp_path)
    assert (documents.num_rows, dropped.num_rows) == (12, 0)
    pair = documents.slice(3, 1).to_pylist()[0]
    assert (pair["chosen"], pair["rejected"]) == ("right 1", "false 1")
    examples = pair["prompt"].split("\n\n")
    assert len(examples) == 3
    assert examples[-1] == "Question 1?\nAnswer:"
    assert all("right" in example and "Question 1?" not in example for example in examples[:-1])
    assert read(source, tmp_path, seed=43)[0]["prompt"] != documents["prompt"]


def test_what_is_no_question_is_dropped_with_its_reason_or_stops(tmp_path: Path) -> None:
    path = questions(tmp_path, 2)
    path.write_text(path.read_text() + '{"query": "Q", "choices": ["one"], "gold": 0}\n{"query": "Q"}\n')
    source = {"files": "questions.jsonl", "multiple_choice_pairs": {"layout": "llm_foundry"}}
    with pytest.raises(DataError, match=r"questions\.jsonl:3: found 1 choices, expected 2 to 26"):
        read(source, tmp_path)
    documents, dropped = read(source | {"on_error": "skip"}, tmp_path)
    assert documents.num_rows == 4
    assert dropped["reason"].to_pylist() == ["no_choices", "missing_field"]


def test_capability_data_are_texts_that_say_what_they_are_of(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(b'{"question": "1+1?", "answer": "2"}\n'))
    documents, _ = read({"files": "train.jsonl.gz", "capability_data": {"benchmark": "gsm8k"}}, tmp_path)
    assert documents["text"].to_pylist() == ["Question: 1+1?\nAnswer: 2"]
    assert "gsm8k" in orjson.loads(documents["meta"][0].as_py())["benchmark"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"natural_instructions": {"directory": "a"}, "files": "b"}, "exactly one of files, dataset"),
        ({"natural_instructions": {"directory": "a"}, "fields": {"text": "a"}}, "a source of natural_instructions has"),
        (
            {"files": "a.jsonl", "fields": {"text": "a"}, "capability_data": {"benchmark": "gsm8k"}},
            "fields and capability_data each say what a document is",
        ),
        ({"files": "a.jsonl"}, "or give multiple_choice_pairs or capability_data"),
        ({"files": "a.txt", "capability_data": {"benchmark": "gsm8k"}}, "so leave capability_data out"),
    ],
)
def test_a_source_is_of_one_kind_and_made_in_one_way(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        InstructionSource(**source)


@pytest.mark.parametrize(
    ("file", "layout", "rows", "pairs"),
    [
        ("arc/arc_challenge.jsonl.gz", "llm_foundry", 1172, None),
        ("arc/arc_easy.jsonl.gz", "llm_foundry", 2376, None),
        ("hellaswag/hellaswag_val_1000.jsonl.gz", "hellaswag", 1000, 3000),
    ],
)
def test_real_benchmarks_lose_no_row(
    shared_data: Path, tmp_path: Path, file: str, layout: str, rows: int, pairs: int | None
) -> None:
    source = {"files": str(shared_data / file), "multiple_choice_pairs": {"layout": layout}, "on_error": "skip"}
    documents, dropped = read(source, tmp_path)
    asked = {name.rsplit(":", 1)[0] for name in documents["id"].to_pylist()}
    assert len(asked) + dropped.num_rows == rows
    assert pairs is None or documents.num_rows == pairs
    assert documents["prompt"].null_count == 0
