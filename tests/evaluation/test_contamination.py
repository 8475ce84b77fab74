from __future__ import annotations

import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from core.dedup.ngrams import words
from core.evaluation.contamination import ItemIndex, own_parts, question_and_answer, subset_score, subsets
from core.evaluation.statistics import wilson_interval

# Of ARC-Easy's kind, each in the words of its benchmark and in another's.
PARAPHRASES = [
    (
        "Which statement best explains why photosynthesis is the foundation of most food webs?",
        "Which statement best explains why photosynthesis is the foundation of nearly all food webs?",
    ),
    (
        "Which piece of safety equipment is used to keep mold spores from entering the respiratory system?",
        "Which piece of safety equipment is used to keep mold spores from getting into the lungs?",
    ),
    (
        "Meiosis is a type of cell division in which cells divide to produce haploid cells. Where in the body is it?",
        "Meiosis is a type of cell division in which cells divide to make haploid cells. Where in the body is it?",
    ),
    (
        "Which characteristic describes the texture of a kitten's fur that a child would notice by touching it?",
        "A child strokes a kitten. What would she say of how its fur feels?",
    ),
    (
        "Which best describes the structure of an atom in terms of its particles and where they are found?",
        "Describe how an atom is built: which particles does it have, and in which places?",
    ),
    (
        "A student drops a ball from the roof of a building and measures how long it takes to reach the ground.",
        "A pupil lets a ball fall off a roof and takes the time until it hits the floor below.",
    ),
]


def shares(items: Sequence[Sequence[str]], documents: Sequence[str]) -> list[float]:
    index = ItemIndex.build(items)
    entries, _ = index.search(pa.array(documents, pa.large_string()))
    seen = np.zeros(len(index.known.hashes), np.bool_)
    seen[entries] = True
    return index.shares(seen).tolist()


def test_the_share_of_seen_words_is_that_counted_by_hand() -> None:
    item = "one two three four five six seven eight nine ten eleven twelve"
    # Eight of twelve words in order, nine of them, and two sequences with a word between them that is another.
    assert shares([[item]], ["Zero: one two three four five six seven eight. End"]) == [8 / 12]
    assert shares([[item]], ["ONE, two-three four five six seven eight (nine) and so on"]) == [9 / 12]
    assert shares([[item]], ["one two three four five six seven"]) == [0.0]
    long = " ".join(f"w{number}" for number in range(20))
    changed = long.replace("w9 ", "other ")
    assert shares([[long]], [changed]) == [19 / 20]
    apart = [" ".join(long.split()[:10]), " ".join(long.split()[6:18])]
    assert shares([[long]], apart) == [18 / 20]


def test_an_item_is_seen_as_far_as_the_part_that_is_seen_most() -> None:
    question, passage = "what did the red fox do on the hill", "a b c d e f g h i j k l m n o p"
    assert shares([[question, passage]], [question]) == [1.0]
    assert shares([[passage, question, "short"]], ["a b c d e f g h"]) == [0.5]


def test_words_that_two_parts_make_together_are_no_sequence() -> None:
    assert shares([["one two three four five six seven eight", "nine ten eleven twelve one two three four"]], []) == [0]
    assert shares([["a b c d e f g h", "i j k l m n o p"]], ["e f g h i j k l"]) == [0.0]


def test_an_item_without_eight_words_in_a_row_is_neither_clean_nor_dirty() -> None:
    [short, none, long] = shares([["one two three four five six seven"], [], ["a b c d e f g h"]], ["nothing of it"])
    assert math.isnan(short) and math.isnan(none)
    assert long == 0
    assert subsets({0: short, 1: none, 2: long, 3: 0.2, 4: 0.5, 5: 0.8}) == {
        "all": [0, 1, 2, 3, 4, 5],
        "clean": [2],
        "dirty": [5],
    }


def test_no_items_and_no_documents_are_nothing_special() -> None:
    assert shares([], ["a document"]) == []
    assert shares([["a b c d e f g h"]], []) == [0.0]
    assert shares([["a b c d e f g h"]], ["", "a b"]) == [0.0]


def test_every_text_of_an_item_is_a_part_but_not_what_the_task_says_to_all() -> None:
    instruction = "Choose the right one of the answers that are given below."
    documents = [
        {"instruction": instruction, "question": f"Why is {number} so?", "choices": {"text": ["yes", f"no {number}"]}}
        for number in range(4)
    ]
    parts = own_parts(documents)
    assert parts[1] == ["Why is 1 so?", "no 1"]
    assert own_parts(documents[:1]) == [[instruction, "Why is 0 so?", "yes", "no 0"]]


def test_a_blank_parts_a_sentence_but_a_name_with_underscores_does_not() -> None:
    [parts] = own_parts([{"sentence": "The box did not fit since the _ is too large.", "code": "has_close_elements"}])
    assert parts == ["The box did not fit since the ", " is too large.", "has_close_elements"]


def in_other_layouts(item: dict[str, Any], number: int) -> str:
    question, answer = item["query"].removeprefix("Question: "), item["choices"][item["gold"]]
    options = "\n".join(f"({letter}) {choice}" for letter, choice in zip("ABCDE", item["choices"], strict=False))
    layouts = [
        f"Question: {question}\nAnswer: {answer}",
        f"{question}\n{answer}",
        f"Here is what I was asked: {question.upper()} I said: {answer}",
        f"Q. {question}\n\n{options}\n\nThe answer is {answer}",
    ]
    return layouts[number % len(layouts)]


def read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize("name", ["arc_challenge", "arc_easy"])
def test_real_questions_that_are_planted_word_for_word_are_all_found(shared_data: Path, name: str) -> None:
    items = read(shared_data / "arc" / f"{name}.jsonl.gz")
    planted = set(range(0, len(items), 2))
    found = shares(own_parts(items), [in_other_layouts(items[number], number) for number in sorted(planted)])
    dirty = set(subsets(dict(enumerate(found)))["dirty"])
    long_enough = {n for n in planted if len(words(items[n]["query"].removeprefix("Question: "))) >= 8}
    assert len(long_enough) > 0.9 * len(planted)
    assert long_enough <= dirty
    assert len(dirty - planted) < 0.01 * len(items)  # ARC has some texts twice, each with another question


@pytest.mark.parametrize("name", ["gsm8k/test", "winogrande/winogrande", "boolq/boolq"])
def test_real_questions_that_nobody_planted_are_clean(shared_data: Path, name: str) -> None:
    items = read(shared_data / f"{name}.jsonl.gz")
    planted = read(shared_data / "arc" / "arc_easy.jsonl.gz")
    found = shares(own_parts(items), [in_other_layouts(item, number) for number, item in enumerate(planted)])
    chosen = subsets(dict(enumerate(found)))
    assert len(chosen["clean"]) > 0.5 * len(items)
    assert not chosen["dirty"]


def test_of_paraphrases_those_are_found_that_leave_runs_of_eight_words() -> None:
    """Recall 1 / 6 as dirty, 3 / 6 as not clean: what is told in other words is not found by words."""
    found = shares([[original] for original, _ in PARAPHRASES], [other for _, other in PARAPHRASES])
    assert [share >= 0.8 for share in found] == [False, False, True, False, False, False]
    assert [share >= 0.2 for share in found] == [True, True, True, False, False, False]
    assert shares([[original] for original, _ in PARAPHRASES], [original for original, _ in PARAPHRASES]) == [1.0] * 6


ARC = {
    "doc": {"question": "What is ice?", "choices": {"text": ["steam", "water"], "label": ["A", "B"]}, "answerKey": "B"},
    "arguments": [["Question: Why?\nAnswer: so\n\nQuestion: What is ice?\nAnswer:", c] for c in (" A", " B")],
    "target": 1,
}
GSM8K = {
    "doc": {"question": "How much is 2 + 2?", "answer": "2 + 2 = 4 #### 4"},
    "arguments": {"gen_args_0": {"arg_0": "Question: How much is 2 + 2?\nAnswer:", "arg_1": {"until": ["\n"]}}},
    "target": "2 + 2 = 4 #### 4",
}
WINOGRANDE = {
    "doc": {"sentence": "The _ is small.", "option1": "box", "option2": "garage", "answer": "2"},
    "arguments": [["The box", " is small."], ["The garage", " is small."]],
    "target": "is small.",
}


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (ARC, "What is ice? water"),
        (GSM8K, "How much is 2 + 2? 2 + 2 = 4 #### 4"),
        ({**GSM8K, "target": "0"}, "How much is 2 + 2? 0"),
        ({**ARC, "doc": {"question": "What is ice?"}}, "What is ice? B"),
    ],
)
def test_question_and_answer_are_told_without_examples_and_template(sample: dict[str, Any], text: str) -> None:
    assert question_and_answer(sample) == text


def test_a_question_that_is_not_in_the_prompt_as_it_is_is_still_one_text() -> None:
    assert question_and_answer(WINOGRANDE).endswith("is small.")


def test_the_score_of_a_subset_has_the_interval_of_an_accuracy() -> None:
    right = {0: 1.0, 1: 0.0, 2: 1.0, 3: 1.0}
    low, high = wilson_interval(2, 3)
    assert subset_score(right, [0, 1, 2, 9]) == {"items": 3, "value": 2 / 3, "low": low, "high": high}
    assert subset_score({0: 0.25, 1: 0.5}, [0, 1]) == {"items": 2, "value": 0.375, "low": None, "high": None}
    assert subset_score(right, []) == {"items": 0, "value": None, "low": None, "high": None}
