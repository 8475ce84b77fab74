from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.documents.ledger import DROPPED
from core.errors import DataError
from core.reporting.examples import dropped_examples, evenly, questions
from tests.reporting.made_run import HOSTILE, MODEL, write_lines


def write_dropped(directory: Path, ids: list[str], files: int, reverse: bool = False) -> Path:
    directory.mkdir(exist_ok=True)
    empty = dict.fromkeys(DROPPED.names)
    rows = [{**empty, "id": key, "source": "web", "text": key, "step": "length", "reason": "short"} for key in ids]
    for number in range(files):
        part = rows[number::files]
        table = pa.Table.from_pylist(part[::-1] if reverse else part, DROPPED)
        pq.write_table(table, directory / f"{number}.parquet", row_group_size=3)
    return directory


def test_the_same_documents_are_chosen_however_they_lie_in_files(tmp_path: Path) -> None:
    ids = [f"web:0:{number:03d}" for number in range(50)]
    one = dropped_examples(write_dropped(tmp_path / "one", ids, 1), 4)
    several = dropped_examples(write_dropped(tmp_path / "several", ids, 7, reverse=True), 4)
    assert one == several
    assert [example.id for example in one["length", "short"]] == [ids[n] for n in (0, 16, 33, 49)]


def test_every_step_and_reason_has_its_examples(finished_run: Path) -> None:
    examples = dropped_examples(finished_run / "curate" / "dropped", 2)
    assert {key: len(found) for key, found in examples.items()} == {
        ("read", "broken_utf8"): 2,
        ("length", "too_short"): 2,
        ("length", "too_long"): 2,
        ("exact_dedup", "exact_duplicate"): 2,
        ("minhash_dedup", "near_duplicate"): 2,
        ("decontaminate", "in_evaluation"): 2,
        ("mixture", "not_drawn"): 2,
    }
    for (step, reason), found in examples.items():
        assert all(f":{step}-{reason}-" in example.id for example in found)


def test_a_dialogue_is_quoted_with_who_speaks(finished_run: Path) -> None:
    first = dropped_examples(finished_run / "curate" / "dropped", 1)["decontaminate", "in_evaluation"][0]
    assert first.text == f"user:\nWhat is 0 + 0? {HOSTILE}\n\nassistant:\n0"
    assert first.evidence == "skills:0:7"


def test_a_truncated_file_of_dropped_documents_is_named(run_copy: Path) -> None:
    path = run_copy / "curate" / "dropped" / "part-00001.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"part-00001\.parquet: not readable"):
        dropped_examples(path.parent, 3)


def test_a_file_without_reasons_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "step": ["length"]}), tmp_path / "part.parquet")
    with pytest.raises(DataError, match=r"part\.parquet"):
        dropped_examples(tmp_path, 3)


def test_no_dropped_documents_give_no_examples(tmp_path: Path) -> None:
    assert dropped_examples(tmp_path, 3) == {}
    assert dropped_examples(write_dropped(tmp_path / "none", [], 1), 3) == {}


def test_questions_are_the_same_for_every_model_and_spread_over_the_task(finished_run: Path) -> None:
    asked = questions(finished_run / "evaluate" / "samples", ["base", MODEL], 4)
    assert [question.id for question in asked["skills_choice"]] == ["0", "13", "26", "39"]
    assert all(list(question.answers) == ["base", MODEL] for question in asked["skills_choice"])


def test_a_choice_is_the_likeliest_one_and_the_target_is_put_in_words(finished_run: Path) -> None:
    second = questions(finished_run / "evaluate" / "samples", ["base", MODEL], 4)["skills_choice"][1]
    assert second.choices == ["red", "green", "blue", HOSTILE]
    assert second.expected == "green"
    assert (second.answers["base"].text, second.answers["base"].score) == (HOSTILE, 0.0)
    assert (second.answers[MODEL].text, second.answers[MODEL].score) == ("green", 1.0)


def test_a_written_answer_stands_beside_what_was_scored(finished_run: Path) -> None:
    second = questions(finished_run / "evaluate" / "samples", ["base", MODEL], 4)["skills_write"][1]
    assert second.prompt == "What is 13 + 13?"
    assert (second.answers[MODEL].text, second.answers[MODEL].taken_as) == ("The sum is 26.", "26")


def test_samples_as_lists_in_memory_are_read_like_saved_ones(tmp_path: Path) -> None:
    sample = {
        "doc_id": 3,
        "target": 0,
        "arguments": [["Q", " yes"], ["Q", " no"]],
        "filtered_resps": [[-1.5, False], [-0.5, True]],
        "metrics": ["acc"],
        "acc": 0.0,
    }
    write_lines(tmp_path / "base" / "task.jsonl", [sample])
    (question,) = questions(tmp_path, ["base"], 2)["task"]
    assert (question.expected, question.answers["base"].text) == ("yes", "no")


def test_a_sample_that_is_none_is_named_by_line(tmp_path: Path) -> None:
    write_lines(tmp_path / "base" / "task.jsonl", [{"doc_id": 1}])
    with pytest.raises(DataError, match=r"task\.jsonl:1: not a sample of lm-eval"):
        questions(tmp_path, ["base"], 2)


def test_evenly_spread_positions_include_both_ends() -> None:
    assert evenly(10, 4) == [0, 3, 6, 9]
    assert evenly(2, 4) == [0, 1]
    assert evenly(0, 4) == evenly(5, 0) == []
