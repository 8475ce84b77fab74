from __future__ import annotations

import gzip
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.instructions.natural_instructions import read_task, task_files
from core.instructions.scoring_labels import label_by_counts, scoring_label
from core.instructions.task_documents import scoring_of
from core.instructions.task_selection import NaturalInstructions
from tests.instructions.made_tasks import made_task

# Told by hand, from definitions and answers: those that ask for sentences, lists or spans of text.
ASK_FOR_TEXT = [
    "task036",
    "task059",
    "task1358",
    "task1364",
    "task1410",
    "task1504",
    "task1530",
    "task1654",
    "task1655",
    "task288",
    "task453",
    "task460",
    "task550",
    "task859",
    "task918",
    "task958",
    "task959",
    "task961",
]
# Of the tasks that Birbal selected and that are not here: labels, though more than a dozen, or of several words.
ASK_FOR_LABELS = [
    "task089_swap_words_verification",
    "task222_rocstories_two_chioce_slotting_classification",
    "task683_online_privacy_policy_text_purpose_answer_generation",
    "task684_online_privacy_policy_text_information_type_generation",
    "task1495_adverse_drug_event_classification",
    "task1606_ethos_text_classification",
    "task679_hope_edi_english_text_classification",
    "task682_online_privacy_policy_text_classification",
]


def test_labels_agree_with_those_told_by_hand(shared_data: Path) -> None:
    options = NaturalInstructions(directory="tasks")
    tasks = [read_task(path) for path in task_files(shared_data / "ni" / "tasks")]
    found = {task.name.split("_")[0] for task in tasks if scoring_of(task, options) == "generation"}
    assert found == set(ASK_FOR_TEXT)
    lines = gzip.decompress((shared_data / "ni" / "task_metadata_derived.jsonl.gz").read_bytes()).splitlines()
    table = {row["task"]: row for row in map(orjson.loads, lines)}
    for name in ASK_FOR_LABELS:
        row = table[name]
        counts = row["n_instances"], row["n_unique_outputs"], row["mean_out_words"]
        assert label_by_counts(*counts) == "exact_match", name


@pytest.mark.parametrize(
    ("answers", "label"),
    [
        (["yes", "no"] * 5, "exact_match"),
        (["not enough information", "the first one"] * 5, "exact_match"),  # labels of several words
        ([f"{number}" for number in range(50)], "exact_match"),  # single words, all different
        ([f"a sentence about {number}" for number in range(50)], "generation"),
        ([f"three words {number}" for number in range(5)], "generation"),  # few, but none comes again
        (["the same long sentence of eight words again"] * 10, "generation"),
    ],
)
def test_labels_and_words_are_matched_and_text_is_not(answers: list[str], label: str) -> None:
    assert scoring_label(answers) == label


@given(st.lists(st.text(alphabet="ab ", max_size=12), min_size=1, max_size=40), st.randoms())
def test_the_order_of_answers_does_not_matter(answers: list[str], order: object) -> None:
    shuffled = list(answers)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert scoring_label(shuffled) == scoring_label(answers)


def test_options_override_the_label(tmp_path: Path) -> None:
    task = made_task(tmp_path)
    assert scoring_of(task, NaturalInstructions(directory="tasks")) == "exact_match"
    overridden = NaturalInstructions(directory="tasks", scoring={"task9_made": "generation"})
    assert scoring_of(task, overridden) == "generation"
