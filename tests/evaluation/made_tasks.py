"""lm-eval tasks of every kind of output, on a few rows written here, and random models of several families."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.evaluation.lm_eval_bridge import AskedTask, Evaluation
from core.evaluation.options import Evaluate
from core.evaluation.scorer import LocalScorers, ScoredModel, Scorers
from core.evaluation.task_files import find_tasks, write_tasks

WORDS = ("river", "stone", "garden", "window", "summer", "letter", "market", "silver", "paper", "bridge")
SHOTS = "num_fewshot: 3\nfewshot_split: train\nfewshot_config: {sampler: first_n}\n"
RANDOM_SHOTS = "num_fewshot: 2\nfewshot_split: train\n"
CHOICE = "output_type: multiple_choice\ndoc_to_text: 'Question: {{question}}\\nAnswer:'\ndoc_to_target: gold\n"
TASKS = {
    "choice": CHOICE + "doc_to_choice: choices\n",
    "choice_few_shot": CHOICE + "doc_to_choice: choices\n" + SHOTS,
    "choice_random_shots": CHOICE + "doc_to_choice: choices\n" + RANDOM_SHOTS,
    "choice_letters": CHOICE + "doc_to_choice: ['A', 'B', 'C']\n" + SHOTS,
    "choice_information": CHOICE + "doc_to_choice: choices\nmetric_list: [{metric: acc_mutual_info}, {metric: acc}]\n",
    "beginnings": "output_type: multiple_choice\ndoc_to_text: gold\ndoc_to_target: rest\ndoc_to_choice: beginnings\n",
    "continuation": "output_type: loglikelihood\ndoc_to_text: question\ndoc_to_target: ' {{choices[0]}}'\n",
    "rolling": "output_type: loglikelihood_rolling\ndoc_to_text: ''\ndoc_to_target: text\n"
    "metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]\n",
    "answer": "output_type: generate_until\ndoc_to_text: 'Question: {{question}}\\nAnswer:'\ndoc_to_target: answer\n"
    "generation_kwargs: {until: ['\\n', 'Question:'], max_gen_toks: 24, do_sample: false}\n" + SHOTS,
    "answer_alone": "output_type: generate_until\ndoc_to_text: '{{question}}'\ndoc_to_target: answer\n"
    "generation_kwargs: {until: [' the'], max_gen_toks: 40}\n",
    "answer_penalised": "output_type: generate_until\ndoc_to_text: '{{question}}'\ndoc_to_target: answer\n"
    "generation_kwargs: {until: ['.'], max_gen_toks: 12, repetition_penalty: 1.3}\n",
}


def made_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Questions with choices of different lengths."""
    rows = []
    for number in range(count):
        one, two, three = (WORDS[(number * step + seed) % len(WORDS)] for step in (1, 3, 7))
        compared = " or ".join([f"the {two} by the {three}"] * (1 + number % 3))
        question = f"Which is nearer to the {one}, {compared}?"
        choices = [two, f"the {three} of the {one}", f"{one} and {two} and {three} {number}"]
        rows.append(
            {
                "question": question,
                "choices": choices,
                "gold": number % 3,
                "answer": choices[number % 3],
                "beginnings": [f"{question} I say the {two} because", f"{question} I say the {three} because"],
                "rest": f" it is by the {one}.",
                "text": " ".join([question, *choices] * (1 + 5 * (number % 4))),
            }
        )
    for row in rows:
        row["begin"] = row["gold"] % 2
    return rows


def made_options(directory: Path, tasks: list[str], **more: Any) -> Evaluate:
    """Writes the tasks and their rows; the options that score them."""
    for split, count, seed in (("train", 8, 5), ("test", 20, 0)):
        (directory / f"{split}.jsonl").write_text("\n".join(map(json.dumps, made_rows(count, seed))))
    for name in tasks:
        text = TASKS[name].replace("doc_to_text: gold\ndoc_to_target: rest", "doc_to_text: begin\ndoc_to_target: rest")
        head = f"task: {name}\ndataset_path: json\ntraining_split: train\ntest_split: test\n"
        (directory / f"{name}.yaml").write_text(head + text)
    files = {"train": "train.jsonl", "test": "test.jsonl"}
    return Evaluate(
        tasks=tasks, task_files=[f"{name}.yaml" for name in tasks], data=dict.fromkeys(tasks, files), **more
    )


def evaluated(
    model_dir: Path,
    options: Evaluate,
    directory: Path,
    recipe_dir: Path | None = None,
    scorers: Scorers | None = None,
    seed: int = 42,
    answers: Path | None = None,
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """What `Evaluation.of` returns, and of every task its samples."""
    tasks = find_tasks(options, recipe_dir or directory)
    write_tasks(tasks, directory / "tasks", seed=42)
    kept = answers or directory / "answers"
    evaluation = Evaluation(options, seed, directory / "tasks", scorers or LocalScorers(), kept)
    asked = [AskedTask(task.name, task.few_shot) for task in tasks]
    found = evaluation.of(ScoredModel(model_dir, "cpu", options.batch_size), asked, directory / "samples")
    lines = {task.name: (directory / "samples" / f"{task.name}.jsonl").read_text().splitlines() for task in tasks}
    return found, {name: list(map(json.loads, of_task)) for name, of_task in lines.items()}
