from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from core.errors import DataError
from core.instructions.natural_instructions import TaskHeader
from core.instructions.task_tables import read_task_names, read_task_table


def test_the_table_of_all_tasks_and_the_headers_of_the_files_agree(shared_data: Path) -> None:
    table = read_task_table(shared_data / "ni" / "tasks_README.md.gz")
    headers = read_task_table(shared_data / "ni" / "task_metadata_derived.jsonl.gz")
    assert (len(table), len(headers)) == (1613, 1461)
    by_name = {header.name: header for header in table}
    assert all(header.sources is not None for header in headers)
    assert all(by_name[header.name].categories == header.categories for header in headers)
    assert all(set(by_name[header.name].input_languages) == set(header.input_languages) for header in headers)


def test_both_forms_of_a_table_are_read(tmp_path: Path) -> None:
    markdown = tmp_path / "README.md"
    markdown.write_text("# Tasks\nName | Summary\n`task1_a`\t| Says it. | QA | News, Law\t| English, Hindi | English\n")
    assert read_task_table(markdown) == [
        TaskHeader("task1_a", ("QA",), ("News", "Law"), ("English", "Hindi"), ("English",))
    ]
    lines = tmp_path / "tasks.jsonl"
    lines.write_text(
        '{"task": "task1_a", "categories": ["QA"], "domains": [], "source": ["x"], "input_language": ["English"], '
        '"output_language": ["English"]}\n'
    )
    assert read_task_table(lines) == [TaskHeader("task1_a", ("QA",), (), ("English",), ("English",), ("x",))]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.md", "`task1` | b | c\n", r"a\.md:1: found 3 columns, expected 6"),
        ("a.md", "nothing\n", "found no task"),
        ("a.md", "`task1` | b | c | d | e | f\n" * 2, "task1 is there twice"),
        ("a.jsonl", "{\n", r"a\.jsonl:1: not a JSON object"),
        ("a.jsonl", '{"task": "a", "category": []}\n', r"a\.jsonl:1: no key 'categories'; there are: task, category"),
        ("a.jsonl", "[1]\n", r"a\.jsonl:1: not a task"),
    ],
)
def test_a_table_that_is_none_is_named_with_its_line(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read_task_table(path)


def test_a_list_of_names_is_read_with_or_without_suffixes(tmp_path: Path, shared_data: Path) -> None:
    path = tmp_path / "names.gz"
    path.write_bytes(gzip.compress(b"# chosen\ntask1_a.json\n\n task2_b \n"))
    assert read_task_names(path) == ["task1_a", "task2_b"]
    path.write_bytes(gzip.compress(b"\n"))
    with pytest.raises(DataError, match="found none"):
        read_task_names(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_task_names(tmp_path / "absent")
    assert len(read_task_names(shared_data / "birbal" / "selected_NI_tasks")) == 462
