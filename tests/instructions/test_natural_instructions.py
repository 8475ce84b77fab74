from __future__ import annotations

import gzip

import pytest

from core.errors import DataError
from core.instructions.natural_instructions import read_task


def test_every_task_file_is_read_whole(shared_data):
    tasks = [read_task(path) for path in sorted((shared_data / "ni" / "tasks").glob("*.json.gz"))]
    assert len(tasks) == 51
    assert all(task.instances and task.definition for task in tasks)
    assert sum(len(task.instances) for task in tasks) > 10_000
    by_name = {task.name: task for task in tasks}
    assert by_name["task827_copa_commonsense_reasoning"].scoring == "exact_match"
    assert by_name["task288_gigaword_summarization"].scoring == "generation"


def test_a_file_that_is_no_task_is_named(tmp_path):
    path = tmp_path / "task1.json.gz"
    path.write_bytes(gzip.compress(b'{"Definition": ["x"]}'))
    with pytest.raises(DataError, match=r"task1\.json\.gz: not a Natural Instructions task: no 'Categories'"):
        read_task(path)
    path.write_bytes(gzip.compress(b"{}" * 100)[:-4])
    with pytest.raises(DataError, match="cannot be read as a task file"):
        read_task(path)
