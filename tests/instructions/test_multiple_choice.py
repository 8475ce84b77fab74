from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from core.documents.mapping import Misfit
from core.instructions.multiple_choice import Columns, Item, answered, asked, item, items
from core.instructions.multiple_choice_layouts import LAYOUTS, columns_of
from tests.instructions.rows_of_files import made_rows

QUESTION = "Which is a planet?"
CHOICES = ["Sun", "Mars", "Moon"]
HUB = {"question": QUESTION, "choices": {"text": CHOICES, "label": ["A", "B", "C"]}, "answerKey": "B", "id": "q7"}
OWN = {
    "question": {
        "stem": QUESTION,
        "choices": [{"label": label, "text": text} for label, text in zip("ABC", CHOICES, strict=True)],
    },
    "answerKey": "B",
    "id": "q7",
}
PLAIN = Columns(question="q", choices="c", answer="a", answer_is="index")


def read(value, columns):
    return item(made_rows(value)[0], columns)


def refused(value, columns):
    with pytest.raises(Misfit) as caught:
        read(value, columns)
    return caught.value


@pytest.mark.parametrize(("layout", "row"), [("arc_hub", HUB), ("arc", OWN)])
def test_both_layouts_of_arc_give_the_same_question(layout, row):
    assert read(row, LAYOUTS[layout]) == Item("q7", "", QUESTION, tuple(CHOICES), 1)


def test_labels_may_be_numbers():
    row = {**HUB, "choices": {"text": CHOICES, "label": ["1", "2", "3"]}, "answerKey": "3"}
    assert read(row, LAYOUTS["arc_hub"]).answer == 2


@pytest.mark.parametrize(
    ("layout", "row", "question", "choices", "answer"),
    [
        (
            "hellaswag",
            {
                "ind": 4,
                "activity_label": "Cook",
                "ctx": "[header] Boil. [title] Water he",
                "endings": ["[step] a", "b"],
                "label": "1",
            },
            "Cook: Boil.. Water he",
            ("a", "b"),
            1,
        ),
        ("piqa", {"goal": "dry it", "sol1": "sun", "sol2": "rain", "label": 0}, "dry it", ("sun", "rain"), 0),
        (
            "siqa",
            {
                "context": "Al fell.",
                "question": "How is he?",
                "answerA": "fine",
                "answerB": "hurt",
                "answerC": "old",
                "label": "2",
            },
            "How is he?",
            ("fine", "hurt", "old"),
            1,
        ),
        (
            "winogrande",
            {
                "sentence": "The cup fell off the table as the _ shook.",
                "option1": "cup",
                "option2": "table",
                "answer": "2",
            },
            "The cup fell off the table as the",
            ("cup shook.", "table shook."),
            1,
        ),
        ("boolq", {"passage": "Ice is cold.", "question": "is ice hot", "label": 0}, "is ice hot", ("no", "yes"), 0),
        (
            "boolq",
            {"passage": "Ice is cold.", "question": "is ice cold", "label": True},
            "is ice cold",
            ("no", "yes"),
            1,
        ),
        ("mmlu", {"question": "1+1?", "choices": ["1", "2", "3", "4"], "answer": 1}, "1+1?", ("1", "2", "3", "4"), 1),
        (
            "mmlu_csv",
            {"question": "1+1?", "choice0": "1", "choice1": "2", "choice2": "3", "choice3": "4", "answer": "1"},
            "1+1?",
            ("1", "2", "3", "4"),
            1,
        ),
        (
            "openbookqa_tsv",
            {
                "ID": "8",
                "Question Stem": "Predators eat",
                "Choices": "(A) lions (B) a (big) fox (C) bunnies",
                "Answer Key": "C",
            },
            "Predators eat",
            ("lions", "a (big) fox", "bunnies"),
            2,
        ),
        (
            "mammoth",
            {"question": "Why (A)?\nOptions are:\n(1): so\n(2): thus", "answer": "2"},
            "Why (A)?",
            ("so", "thus"),
            1,
        ),
        (
            "llm_foundry",
            {"query": "Question: Why?", "choices": ["so", "thus"], "gold": 1},
            "Question: Why?",
            ("so", "thus"),
            1,
        ),
        (
            "llm_foundry_contexts",
            {"context_options": ["Al met Bo so Al", "Al met Bo so Bo"], "continuation": "ran.", "gold": 0},
            "Al met Bo so",
            ("Al ran.", "Bo ran."),
            0,
        ),
    ],
)
def test_each_layout_is_read_as_published(layout, row, question, choices, answer):
    found = read(row, LAYOUTS[layout])
    assert (found.question, found.choices, found.answer) == (question, choices, answer)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"c": ["x", "y"], "a": 0}, "missing_field"),
        ({"q": 3, "c": ["x", "y"], "a": 0}, "not_text"),
        ({"q": "?", "c": ["x"], "a": 0}, "no_choices"),
        ({"q": "?", "c": 5, "a": 0}, "not_choices"),
        ({"q": "?", "c": ["x", None], "a": 0}, "not_choices"),
        ({"q": "?", "c": {"text": ["x", "y"], "label": ["A"]}, "a": 0}, "not_choices"),
        ({"q": "?", "c": ["x", "y"], "a": 2}, "no_such_choice"),
        ({"q": "?", "c": ["x", "y"], "a": "x"}, "no_such_choice"),
        ({"q": "?", "c": ["x", "y"], "a": ""}, "no_answer"),
        ({"q": "?", "c": ["x", "y"], "a": None}, "no_answer"),
    ],
)
def test_a_row_that_is_no_question_is_refused_with_its_reason(row, reason):
    assert refused(row, PLAIN).reason == reason
    found, problems = items(made_rows(row, {"q": "?", "c": ["x", "y"], "a": 1}), PLAIN)
    assert [problem.reason for problem in problems] == [reason] and problems[0].message.startswith("made.jsonl:1: ")
    assert [each.answer for _, each in found] == [1]


def test_an_unknown_label_and_a_sentence_without_a_blank_are_refused():
    assert refused({**HUB, "answerKey": "D"}, LAYOUTS["arc_hub"]).reason == "no_such_choice"
    row = {"sentence": "no place", "option1": "a", "option2": "b", "answer": "1"}
    assert refused(row, LAYOUTS["winogrande"]).reason == "no_blank"


def test_answers_are_counted_from_zero_or_one_as_declared():
    row = {"q": "?", "c": ["x", "y", "z"], "a": "1"}
    assert read(row, PLAIN).answer == 1
    assert read(row, PLAIN.model_copy(update={"answer_is": "number"})).answer == 0
    assert read({**row, "a": "C"}, PLAIN.model_copy(update={"answer_is": "label"})).answer == 2


def test_prompt_and_answers_are_put_together_and_braces_of_the_data_are_left_alone():
    found = Item("1", "A {question}.", "Is {choices} so?", ("no", "yes"), 1)
    columns = Columns(
        question="q",
        before="b",
        choices="c",
        answer="a",
        prompt="{before}|{question}|{choices}|",
        answers="letter",
    )
    assert asked(found, columns) == "A {question}.|Is {choices} so?|A. no\nB. yes|"
    assert answered(found, 1, columns) == "B"
    assert answered(found, 1, columns.model_copy(update={"answers": "text"})) == "yes"


@pytest.mark.parametrize(
    "wrong",
    [
        {"choices": []},
        {"fixed": ["x", "y"]},
        {"prompt": "Answer:"},
        {"prompt": "{question} {other}"},
        {"before": "b"},
        {"prompt": "{before} {question}"},
        {"answers": "letter"},
        {"question": None, "blank": True},
    ],
)
def test_columns_that_do_not_go_together_are_refused(wrong):
    with pytest.raises(ValidationError):
        Columns(**{"question": "q", "choices": "c", "answer": "a", **wrong})


def test_another_prompt_must_fit_the_layout():
    assert columns_of("boolq", "{before} {question}").prompt == "{before} {question}"
    with pytest.raises(ValueError, match="before"):
        columns_of("boolq", "{question}")


@given(
    st.lists(st.text(string.ascii_letters + " ", min_size=1).map(str.strip).filter(bool), min_size=2, max_size=8),
    st.data(),
)
def test_every_way_to_write_the_same_question_reads_the_same(choices, data):
    right = data.draw(st.integers(0, len(choices) - 1))
    letters = [*string.ascii_uppercase[: len(choices)]]
    columns = Columns(question="q", choices="c", answer="a")
    ways = [
        choices,
        {"text": choices, "label": letters},
        [{"label": label, "text": text} for label, text in zip(letters, choices, strict=True)],
        " ".join(f"({label}) {text}" for label, text in zip(letters, choices, strict=True)),
    ]
    found = {read({"q": "?", "c": way, "a": letters[right]}, columns) for way in ways}
    assert found == {Item("0", "", "?", tuple(choices), right)}
