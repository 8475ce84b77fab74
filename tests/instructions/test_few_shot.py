from __future__ import annotations

from pathlib import Path

import pytest

from core.instructions.few_shot import PROMPTS, FewShot, few_shot_prompt, few_shot_prompts, prediction
from core.instructions.natural_instructions import read_task, task_files
from core.instructions.task_documents import task_documents
from core.instructions.task_selection import NaturalInstructions
from tests.instructions.made_tasks import made_task

OPTIONS = NaturalInstructions(directory="tasks")


def test_a_prompt_is_written_as_birbals_readme_shows_it(tmp_path: Path) -> None:
    task = made_task(tmp_path)
    assert few_shot_prompt(task, task.instances[0], shots=2) == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request.\n"
        "\n"
        "### Instruction:\n"
        "Answer the question.\n"
        "\n"
        "### Input:\n"
        "Red?\n"
        "\n"
        "### Response:\n"
        "No\n"
        "\n"
        "### Input:\n"
        "Blue?\n"
        "\n"
        "### Response:\n"
        "Yes\n"
        "\n"
        "### Input:\n"
        "Is the sky blue?\n"
        "\n"
        "### Response:\n"
    )


def test_a_prompt_is_written_as_natural_instructions_own_models_are_asked(tmp_path: Path) -> None:
    task = made_task(tmp_path)
    assert few_shot_prompt(task, task.instances[0], shots=2, layout="tk_instruct") == (
        "Definition: Answer the question.\n"
        "\n"
        "Positive Example 1 -\n"
        "Input: Red?\n"
        "Output: No\n"
        "\n"
        "Positive Example 2 -\n"
        "Input: Blue?\n"
        "Output: Yes\n"
        "\n"
        "Now complete the following example -\n"
        "Input: Is the sky blue?\n"
        "Output:"
    )


def test_no_more_shots_than_there_are_examples(tmp_path: Path) -> None:
    task = made_task(tmp_path)
    counts = [few_shot_prompt(task, task.instances[0], shots).count("### Response:") - 1 for shots in (0, 1, 3, 9)]
    assert counts == [0, 1, 3, 3]


def test_examples_are_taken_while_the_prompt_fits(tmp_path: Path) -> None:
    task = made_task(tmp_path)
    whole = [few_shot_prompt(task, task.instances[0], shots) for shots in range(4)]
    for length in range(len(whole[3]) + 1):
        found = few_shot_prompt(task, task.instances[0], 3, fits=lambda prompt: len(prompt) <= length)  # noqa: B023
        assert found == max((each for each in whole if len(each) <= length), key=len, default=whole[0])


def test_answers_in_examples_have_no_blank_line(tmp_path: Path) -> None:
    task = made_task(tmp_path)
    assert "### Response:\nOne.\nNot both.\n\n###" in few_shot_prompt(task, task.instances[0], shots=3)


@pytest.mark.parametrize(
    ("continuation", "answer"),
    [(" Yes", "Yes"), (" Yes\n\nPositive Example 3 -", "Yes"), ("two\nlines \n\nmore", "two\nlines"), ("\n\nlate", "")],
)
def test_the_answer_ends_at_the_first_blank_line(continuation: str, answer: str) -> None:
    assert prediction(continuation) == answer


def test_every_document_of_every_task_gets_its_prompt(shared_data: Path) -> None:
    for path in task_files(shared_data / "ni" / "tasks")[:12]:
        task = read_task(path)
        made = task_documents(task, OPTIONS, "ni", 42)
        prompts = few_shot_prompts(task, made.instances, made.scoring, FewShot(shots=2))
        assert prompts.schema.equals(PROMPTS)
        assert prompts["id"].equals(made.documents["id"])
        assert set(prompts["shots"].to_pylist()) == {2}
        assert all(prompt.endswith("\n### Response:\n") for prompt in prompts["prompt"].to_pylist())


def test_prompts_say_how_many_shots_fitted(tmp_path: Path) -> None:
    task = made_task(tmp_path)
    for most in (0, 1, 3):
        prompts = few_shot_prompts(
            task,
            task.instances,
            "exact_match",
            FewShot(shots=3),
            lambda prompt: prompt.count("### Response:") <= most + 1,  # noqa: B023
        )
        assert set(prompts["shots"].to_pylist()) == {most}
