from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from core.documents.ledger import DROPPED
from core.documents.table import DOCUMENTS
from core.errors import DataError
from core.instructions.natural_instructions import read_task, task_files
from core.instructions.task_documents import task_documents, tasks_documents, words
from core.instructions.task_selection import NaturalInstructions
from tests.instructions.made_tasks import made_task


def options(**given: Any) -> NaturalInstructions:
    return NaturalInstructions(directory="tasks", **given)


def test_every_instance_of_every_task_is_accounted_for(shared_data: Path) -> None:
    tasks = [read_task(path) for path in task_files(shared_data / "ni" / "tasks")]
    documents, dropped = tasks_documents(tasks, options(max_instances_per_task=500), "ni", 42)
    assert documents.schema.equals(DOCUMENTS)
    assert dropped.schema.equals(DROPPED)
    ids = [*documents["id"].to_pylist(), *dropped["id"].to_pylist()]
    assert sorted(ids) == sorted(instance.id for task in tasks for instance in task.instances)
    assert set(dropped["reason"].to_pylist()) == {"over_max_instances"}
    assert documents.num_rows == sum(min(500, len(task.instances)) for task in tasks)
    assert all(messages[-1]["content"].strip() for messages in documents["messages"].to_pylist())


def test_an_instance_is_its_tasks_definition_and_input_answered_by_the_first_gold(tmp_path: Path) -> None:
    made = task_documents(made_task(tmp_path), options(), "ni", 42)
    last = made.documents.to_pylist()[2]
    assert (last["id"], last["source"]) == ("task9-c", "ni")
    assert last["messages"] == [
        {"role": "user", "content": "Answer the question.\n\nIs grass green?"},
        {"role": "assistant", "content": "Yes"},
    ]
    assert orjson.loads(last["meta"]) == {
        "task": "task9_made",
        "category": "Question Answering",
        "scoring": "exact_match",
        "instance": "task9-c",
        "golds": ["Yes", "yes"],
        "instruction_words": 3,
        "input_words": 3,
    }
    assert made.instances[2].outputs == ("Yes", "yes")


def test_the_definition_may_be_a_system_message(tmp_path: Path) -> None:
    task = made_task(tmp_path)
    first = task_documents(task, options(definition="system"), "ni", 42).documents["messages"][0].as_py()
    assert [(each["role"], each["content"]) for each in first] == [
        ("system", "Answer the question."),
        ("user", "Is the sky blue?"),
        ("assistant", "Yes"),
    ]


def test_an_empty_input_leaves_the_definition_as_the_question(tmp_path: Path) -> None:
    task = made_task(tmp_path, Instances=[{"id": "a", "input": " ", "output": ["Yes"]}])
    for place in ("user", "system"):
        messages = task_documents(task, options(definition=place), "ni", 42).documents["messages"][0].as_py()
        assert [(each["role"], each["content"]) for each in messages] == [
            ("user", "Answer the question."),
            ("assistant", "Yes"),
        ]


def test_an_instance_without_an_answer_is_dropped_and_told(tmp_path: Path) -> None:
    instances = [
        {"id": "a", "input": "x", "output": []},
        {"id": "b", "input": "x", "output": [" "]},
        {"id": "c", "input": "x", "output": ["", "y"]},
    ]
    made = task_documents(made_task(tmp_path, Instances=instances), options(), "ni", 42)
    assert made.documents["id"].to_pylist() == ["c"]
    assert made.dropped.select(["id", "step", "reason"]).to_pylist() == [
        {"id": "a", "step": "read", "reason": "no_answer"},
        {"id": "b", "step": "read", "reason": "no_answer"},
    ]
    assert made.documents["messages"][0].as_py()[1]["content"] == "y"


def test_the_most_instances_are_drawn_by_seed_and_id_and_fewer_are_a_part_of_more(tmp_path: Path) -> None:
    instances = [{"id": f"task9-{number}", "input": "x", "output": ["y"]} for number in range(100)]
    task, turned = (made_task(tmp_path, Instances=each) for each in (instances, instances[::-1]))

    def drawn(most: int, seed: int, task: Any = task) -> set[str]:
        return set(task_documents(task, options(max_instances_per_task=most), "ni", seed).documents["id"].to_pylist())

    assert drawn(30, 1) < drawn(60, 1)
    assert drawn(30, 1) == drawn(30, 1, turned)
    assert drawn(30, 1) != drawn(30, 2)
    left = task_documents(task, options(max_instances_per_task=30), "ni", 1).dropped
    assert left.num_rows == 70
    assert left["evidence"][0].as_py() == "100 instances, 30 asked for"


def test_two_instances_with_one_id_are_refused(tmp_path: Path) -> None:
    task = made_task(tmp_path, Instances=[{"id": "a", "input": "x", "output": ["y"]}] * 2)
    with pytest.raises(DataError, match="task9_made: two instances have the id a"):
        task_documents(task, options(), "ni", 42)


def test_words_are_counted_between_single_spaces() -> None:
    for text in ("", "one", "two words", "two  gaps", "a\nb c"):
        assert words(text) == len(text.split(" "))
