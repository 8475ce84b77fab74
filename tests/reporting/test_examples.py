from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import DataError
from core.reporting.examples import cut_examples, dropped_examples, questions
from tests.reporting.made_run import HOSTILE, MODEL, write_lines


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
    quoted = dropped_examples(finished_run / "curate" / "dropped", 100)["decontaminate", "in_evaluation"]
    (first,) = (example for example in quoted if example.id.endswith("-00000"))
    assert first.text == f"user:\nWhat is 0 + 0? {HOSTILE}\n\nassistant:\n0"
    assert first.evidence == "skills:0:7"


def test_cut_passages_are_quoted_with_their_place(finished_run: Path) -> None:
    passages = cut_examples(finished_run / "curate" / "cut", 2)
    assert set(passages) == {("exact_substring", "repeated_span"), ("exact_substring", "e_mail")}
    first, last = passages["exact_substring", "repeated_span"]
    assert (first.id, first.source, first.begin, first.end) == ("skills:0:0", "skills", 0, 7)
    assert first.evidence == "skills:0:0"
    assert last.text == "cut 299 "


def test_replaced_passages_have_no_text(finished_run: Path) -> None:
    passages = cut_examples(finished_run / "curate" / "cut", 20)["exact_substring", "e_mail"]
    assert [passage.text for passage in passages] == [None] * 9


def test_files_of_an_earlier_version_without_a_column_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "step": ["length"], "reason": ["short"]}), tmp_path / "part.parquet")
    with pytest.raises(DataError, match=f"{tmp_path}: its files have no column 'source'"):
        dropped_examples(tmp_path, 3)


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
