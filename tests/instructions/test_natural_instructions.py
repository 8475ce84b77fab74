from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from core.errors import DataError
from core.instructions.natural_instructions import read_task, task_files
from tests.instructions.made_tasks import content, made_task, write_task


def test_every_task_file_is_read_whole(shared_data: Path) -> None:
    files = task_files(shared_data / "ni" / "tasks")
    tasks = [read_task(path) for path in files]
    assert len(tasks) == 51
    assert all(task.instances and task.definition and task.examples and task.header.sources for task in tasks)
    raw = [len(json.loads(gzip.decompress(path.read_bytes()))["Instances"]) for path in files]
    assert [len(task.instances) for task in tasks] == raw
    assert sum(raw) == 66_561


def test_a_task_is_what_its_file_says(tmp_path: Path) -> None:
    task = made_task(tmp_path)
    assert (task.name, task.definition) == ("task9_made", "Answer the question.")
    assert task.header.sources == ("made",)
    assert task.examples[0] == ("Red?", "No")
    assert [each.outputs for each in task.instances] == [("Yes",), ("No",), (" Yes ", "yes")]


def test_plain_and_compressed_files_are_the_same_task(tmp_path: Path) -> None:
    packed = write_task(tmp_path)
    (tmp_path / "plain").mkdir()
    plain = tmp_path / "plain" / "task9_made.json"
    plain.write_text(json.dumps(content()))
    assert read_task(plain) == read_task(packed)


def test_a_file_that_is_no_task_is_named(tmp_path: Path) -> None:
    path = tmp_path / "task1.json.gz"
    path.write_bytes(gzip.compress(b'{"Definition": ["x"]}'))
    with pytest.raises(DataError, match=r"task1\.json\.gz: not a Natural Instructions task: no 'Categories'"):
        read_task(path)
    whole = gzip.compress(b"{}" * 100)
    for broken in (whole[:-4], whole[:10] + b"\xff" * 20, b"{}"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="cannot be read as a task file"):
            read_task(path)
    path.write_bytes(gzip.compress(b"[]"))
    with pytest.raises(DataError, match=r"a list of 0; expected an object"):
        read_task(path)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"Definition": "Answer."}, r"Definition holds the text 'Answer.', expected a list of texts"),
        ({"Definition": []}, r"Definition is an empty list"),
        ({"Instances": [{"id": "a", "input": "x", "output": "y"}]}, r"Instances\[0\]: output holds the text 'y'"),
        ({"Instances": [{"id": "a", "input": None, "output": ["y"]}]}, r"Instances\[0\]: input holds null"),
        ({"Instances": ["a"]}, r"Instances\[0\] is the text 'a', expected an object"),
        ({"Positive Examples": {}}, r"Positive Examples holds an object with no keys"),
    ],
)
def test_a_wrong_field_is_named_with_its_place(tmp_path: Path, changed: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        made_task(tmp_path, **changed)


def test_a_directory_has_each_task_once_and_at_least_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found none"):
        task_files(tmp_path)
    (tmp_path / "README.md").write_text("no task")
    second, first = write_task(tmp_path, "task2"), write_task(tmp_path, "task1")
    assert task_files(tmp_path) == [first, second]
    (tmp_path / "task2.json").write_text("{}")
    with pytest.raises(DataError, match="the task task2 is there twice"):
        task_files(tmp_path)
