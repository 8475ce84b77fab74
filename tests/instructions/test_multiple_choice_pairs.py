from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.documents.table import DOCUMENTS
from core.errors import DataError
from core.instructions.benchmarks import trained_on
from core.instructions.multiple_choice import Columns
from core.instructions.multiple_choice_pairs import MultipleChoicePairs, multiple_choice_pairs, worked_examples
from tests.instructions.rows_of_files import made_rows, rows_of

PLAIN = Columns(question="q", choices="c", answer="a", answer_is="index")
PAIRS = MultipleChoicePairs(layout=PLAIN)


def questions(*numbers_of_choices, right=0):
    return made_rows(
        *({"q": f"q{n}", "c": [f"c{i}" for i in range(k)], "a": right} for n, k in enumerate(numbers_of_choices))
    )


def test_each_wrong_choice_gives_one_pair():
    rows = made_rows({"q": "Which?", "c": ["x", "y", "z"], "a": 1})
    pairs, problems = multiple_choice_pairs(rows, PAIRS, "s", 3)
    assert not problems and pairs.schema == DOCUMENTS
    assert pairs.select(["id", "source", "prompt", "chosen", "rejected", "text"]).to_pylist() == [
        {"id": f"s:3:0:{wrong}", "source": "s", "prompt": "Question: Which?\nAnswer:", "chosen": "y"}
        | {"rejected": text, "text": None}
        for wrong, text in ((0, "x"), (2, "z"))
    ]
    assert [orjson.loads(meta) for meta in pairs["meta"].to_pylist()] == [
        {"item": "0", "wrong": 0},
        {"item": "0", "wrong": 2},
    ]


@pytest.mark.parametrize(
    ("sizes", "pairs"),
    [
        ([4] * 39_905, 119_715),  # HellaSwag, training
        ([4] * 10_042, 30_126),  # HellaSwag, validation
        ([4] * 1_119, 3_357),  # ARC-Challenge, training
        ([4] * 295 + [3] * 3 + [5], 895),  # ARC-Challenge, validation: 299 questions, two choices short of four each
    ],
)
def test_sets_of_smaugs_size_give_smaugs_counts(sizes, pairs):
    assert multiple_choice_pairs(questions(*sizes), PAIRS, "s", 0)[0].num_rows == pairs


@given(st.lists(st.integers(2, 7), max_size=6), st.integers(0, 1), st.integers(1, 3))
def test_pairs_are_all_wrong_choices_and_do_not_depend_on_batches(sizes, right, batch):
    rows = questions(*sizes, right=right)
    options = MultipleChoicePairs(layout=PLAIN, few_shot=2)
    examples = worked_examples(questions(2, 2, 2, 2, 2), options)
    whole = multiple_choice_pairs(rows, options, "s", 0, 7, examples)[0]
    parts = [
        row
        for begin in range(0, len(rows), batch)
        for row in multiple_choice_pairs(rows[begin : begin + batch], options, "s", 0, 7, examples)[0].to_pylist()
    ]
    assert whole.to_pylist() == parts
    assert whole["rejected"].to_pylist() == [f"c{i}" for k in sizes for i in range(k) if i != right]


def test_worked_examples_ask_something_else_and_change_with_the_seed():
    rows = questions(*[3] * 30)
    options = MultipleChoicePairs(layout=PLAIN, few_shot=5)
    examples = worked_examples(rows, options)
    first = multiple_choice_pairs(rows, options, "s", 0, 1, examples)[0]["prompt"].to_pylist()
    assert first == multiple_choice_pairs(rows, options, "s", 0, 1, examples)[0]["prompt"].to_pylist()
    assert first != multiple_choice_pairs(rows, options, "s", 0, 2, examples)[0]["prompt"].to_pylist()
    for prompt in first:
        *shown, asked = prompt.split("\n\n")
        assert len(set(shown)) == 5
        assert all(each.startswith("Question: q") and each.endswith("\nAnswer: c0") for each in shown)
        assert not any(each.startswith(f"{asked} ") for each in shown)


def test_too_few_other_questions_for_worked_examples_are_an_error():
    rows = questions(3, 3, 3)
    options = MultipleChoicePairs(layout=PLAIN, few_shot=3)
    with pytest.raises(DataError, match="3 worked examples, and there are 2 other"):
        multiple_choice_pairs(rows, options, "s", 0, 1, worked_examples(rows, options))


def test_prompt_and_answers_may_be_others_than_the_layouts():
    rows = made_rows({"q": "Which?", "c": ["x", "y"], "a": 1})
    options = MultipleChoicePairs(layout=PLAIN, prompt="{question}\n{choices}\n", answers="letter")
    pair = multiple_choice_pairs(rows, options, "s", 0)[0].to_pylist()[0]
    assert (pair["prompt"], pair["chosen"], pair["rejected"]) == ("Which?\nA. x\nB. y\n", "B", "A")
    with pytest.raises(ValidationError, match="question"):
        MultipleChoicePairs(layout="arc_hub", prompt="Answer:")


def test_a_declared_benchmark_marks_its_scores():
    rows = questions(3)
    marked = MultipleChoicePairs(layout=PLAIN, benchmark="hellaswag")
    assert "hellaswag" in trained_on(multiple_choice_pairs(rows, marked, "s", 0)[0])
    assert trained_on(multiple_choice_pairs(rows, PAIRS, "s", 0)[0]) == set()


@pytest.mark.parametrize(
    ("file", "layout", "questions", "pairs"),
    [
        ("arc/arc_challenge.jsonl.gz", "llm_foundry", 1172, 3516),
        ("arc/arc_easy.jsonl.gz", "llm_foundry", 2376, 7128),
        ("arc/arc_challenge_mammoth.json.gz", "mammoth", 1172, 1165 * 3 + 4 * 2 + 3 * 4),
        ("hellaswag/hellaswag_val_1000.jsonl.gz", "hellaswag", 1000, 3000),
        ("openbookqa/Main_train.tsv.gz", "openbookqa_tsv", 4957, 14871),
        ("winogrande/winogrande.jsonl.gz", "llm_foundry_contexts", 1267, 1267),
    ],
)
def test_every_row_of_real_files_is_a_question(shared_data, file, layout, questions, pairs):
    options = MultipleChoicePairs(layout=layout)
    rows = rows_of(shared_data / file, options.columns.needed)
    assert len(rows) == questions
    made, problems = multiple_choice_pairs(rows, options, "s", 0)
    assert (made.num_rows, problems) == (pairs, [])
    assert all(text.strip() for name in ("prompt", "chosen", "rejected") for text in made[name].to_pylist())
