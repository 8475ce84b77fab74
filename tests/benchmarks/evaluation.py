"""Scores by Raycipe beside stock lm-eval, on the same cores, the same models and the same questions.

    python -m tests.benchmarks.evaluation --data DIR --out FILE.json
    python -m tests.benchmarks.evaluation --data DIR --tasks zero-shot --models 4M --rounds 5

Seconds are of an evaluation whole (requests built, tokens, answers, metrics), a model being loaded; stock lm-eval takes
all threads. DIR: benchmarks as published (arc/, hellaswag/, mmlu/, bbh/, gsm8k/).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from core.evaluation.options import Evaluate
from core.evaluation.task_files import find_tasks, write_tasks
from core.models.create import create_model
from core.models.options import ModelConfig
from core.tokens.tokenizer import train_tokenizer
from tests.benchmarks.instructions import SEED, dialogues
from tests.benchmarks.measured_process import measured

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 3000  # seconds of one process
VOCABULARY = 8192
MODELS = {
    "4M": ModelConfig(
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=3,
        max_position_embeddings=4096,
    ),
    "50M": ModelConfig(
        hidden_size=640,
        intermediate_size=1792,
        num_hidden_layers=8,
        num_attention_heads=10,
        num_key_value_heads=5,
        max_position_embeddings=4096,
    ),
}
# name: lm-eval's tasks, few-shot examples, questions of each for the small and the large model
CASES: dict[str, tuple[list[str], int | None, dict[str, int]]] = {
    "zero-shot ARC": (["arc_easy"], 0, {"4M": 1000, "50M": 150}),
    "25-shot ARC": (["arc_challenge_shots"], 25, {"4M": 80, "50M": 16}),
    "10-shot HellaSwag": (["hellaswag_shots"], 10, {"4M": 80, "50M": 16}),
    "5-shot MMLU": (["mmlu_anatomy", "mmlu_high_school_biology"], 5, {"4M": 100, "50M": 64}),
    "BBH, chain of thought": (["bbh_cot_fewshot_boolean_expressions"], None, {"4M": 64, "50M": 32}),
    "5-shot GSM8K": (["gsm8k"], 5, {"4M": 64, "50M": 32}),
}
# The local files have one split: examples are drawn from it.
SHOTS = {
    "arc_challenge_shots": ("arc_challenge", "test"),
    "hellaswag_shots": ("hellaswag", "validation"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory of benchmarks as published")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--tasks", nargs="*", default=[""], help="beginnings of names of cases; default: all")
    parser.add_argument("--batch-size", type=int, default=16, help="stock lm-eval's")
    parser.add_argument("--rounds", type=int, default=1, help="how often each way is measured; the median counts")
    parser.add_argument("--out", type=Path, help="JSON file for the figures; cases that are not measured stay in it")
    arguments = parser.parse_args()
    found = json.loads(arguments.out.read_text()) if arguments.out and arguments.out.exists() else {}
    with tempfile.TemporaryDirectory() as work:
        for model in arguments.models:
            make_model(Path(work) / model, MODELS[model], arguments.data)
            for case in CASES:
                if not any(case.startswith(begin) for begin in arguments.tasks):
                    continue
                found[f"{case}, {model}"] = compare(
                    case, model, Path(work), arguments.data, arguments.batch_size, arguments.rounds
                )
                if arguments.out:
                    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    show(found)


def make_model(directory: Path, config: ModelConfig, data: Path) -> None:
    documents = dialogues(data)["gsm8k"]
    tokenizer = train_tokenizer(lambda: [documents], VOCABULARY, 20_000_000)
    create_model(config, tokenizer, SEED).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def compare(case: str, model: str, work: Path, data: Path, batch_size: int, rounds: int) -> dict[str, Any]:
    """Of a case: seconds of each way, stock's divided by each, and how far answers lie apart.

    Of the rounds the medians; a ratio is of two runs of one round, beside it those of every round.
    """
    tasks, few_shot, limits = CASES[case]
    tasks_dir = work / case.replace(" ", "-")
    write_case(tasks, few_shot, tasks_dir, data)
    settings = {
        "model": str(work / model),
        "tasks": tasks,
        "few_shot": few_shot,
        "limit": limits[model],
        "batch_size": batch_size,
        "tasks_dir": str(tasks_dir),
        "kept": str(work / "kept"),
    }
    found = [one_round(settings, work, stock_first=number % 2 == 0) for number in range(rounds)]
    seconds = {way: [each["seconds"][way] for each in found] for way in found[0]["seconds"]}
    ratios = {
        "stock_to": {
            way: [each["seconds"]["stock"] / each["seconds"][way] for each in found]
            for way in ("shared", "exact", "all of it kept")
        },
        "shared_to": {
            "kept": [each["seconds"]["shared"] / each["seconds"]["all of it kept"] for each in found],
            "half": [each["seconds"]["half of it kept"] / each["seconds"]["shared"] for each in found],
        },
    }
    row: dict[str, Any] = {
        "questions": limits[model] * len(tasks),
        "seconds": {way: statistics.median(values) for way, values in seconds.items()},
        **{of: {way: statistics.median(values) for way, values in by_way.items()} for of, by_way in ratios.items()},
        "rounds": {"seconds": seconds, **ratios},
        "peak_mb": {way: max(each["peak_mb"][way] for each in found) for way in found[0]["peak_mb"]},
        **{name: found[-1][name] for name in ("drift", "exact_drift")},
    }
    print(case, model, json.dumps({key: row[key] for key in ("rounds", "drift", "exact_drift")}), flush=True)
    return row


def one_round(settings: dict[str, Any], work: Path, stock_first: bool) -> dict[str, Any]:
    """Each way once; stock lm-eval before the others, or after them."""

    stock = run("stock", settings, work) if stock_first else None
    shared = run("raycipe", settings | {"exact": False, "ways": ["new", "kept", "half"]}, work)
    exact = run("raycipe", settings | {"exact": True, "ways": ["new"]}, work)
    stock = stock or run("stock", settings, work)
    return {
        "seconds": {
            "stock": stock["seconds"],
            "shared": shared["new"],
            "exact": exact["new"],
            "half of it kept": shared["half"],
            "all of it kept": shared["kept"],
            "start of Ray and scorers": shared["start_seconds"],
        },
        "peak_mb": {"stock": stock["peak_mb"], "shared": shared["peak_mb"], "exact": exact["peak_mb"]},
        "drift": drift(stock["answers"], shared["answers"]),
        "exact_drift": drift(stock["answers"], exact["answers"]),
    }


def write_case(tasks: list[str], few_shot: int | None, directory: Path, data: Path) -> None:
    """lm-eval's task files, with local data; those of SHOTS draw their examples from the questions' own split."""
    for name in tasks:
        asked, split = SHOTS.get(name, (name, None))
        options = Evaluate(tasks=[asked], data_dir=str(data), few_shot=0 if split else few_shot)
        write_tasks(find_tasks(options, Path()), directory, SEED)
        if split:
            written = json.loads((directory / f"{asked}.yaml").read_text())
            written |= {"task": name, "fewshot_split": split, "num_fewshot": few_shot}
            (directory / f"{name}.yaml").write_text(json.dumps(written))
            (directory / f"{asked}.yaml").unlink()


def run(system: str, settings: dict[str, Any], work: Path) -> dict[str, Any]:
    answer = work / "answer.json"
    command = [sys.executable, "-m", f"tests.benchmarks.systems.run_{system}_evaluation"]
    took = measured([*command, json.dumps(settings), str(answer)], ROOT, TIMEOUT, {"HF_HUB_OFFLINE": "1"})
    if took.status:
        raise RuntimeError(f"{system} ended with {took.status}:\n{took.output}")
    return json.loads(answer.read_text()) | {"peak_mb": took.peak_mb}


def drift(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """The largest difference between log-likelihoods, how many answers differ, and of how many."""
    most, differ, count = 0.0, 0, 0
    for task, answers in theirs.items():
        for one, other in zip(answers, ours[task], strict=True):
            count += 1
            if isinstance(one[0][0], str):
                differ += one != other
                continue
            values = [[resps[0][0] for resps in each] for each in (one, other)]
            most = max([most, *(abs(a - b) for a, b in zip(*values, strict=True))])
            differ += values[0].index(max(values[0])) != values[1].index(max(values[1]))
    return {"log_likelihood": most, "answers": differ, "of": count}


def show(found: dict[str, Any]) -> None:
    head = (
        "stock s",
        "shared s",
        "times",
        "exact times",
        "kept times",
        "half",
        "drift",
        "answers",
        "peak MB",
        "stock's",
    )
    print(f"\n{'':34}" + "".join(f"{name:>12}" for name in head))
    for name, row in found.items():
        seconds, times = row["seconds"], row["stock_to"]
        values = (
            seconds["stock"],
            seconds["shared"],
            times["shared"],
            times["exact"],
            seconds["stock"] / seconds["all of it kept"],
            row["shared_to"]["half"],
        )
        print(f"{name:34}" + "".join(f"{value:>12.2f}" for value in values), end="")
        print(f"{row['drift']['log_likelihood']:>12.1e}{row['drift']['answers']:>12}", end="")
        print(f"{row['peak_mb']['shared']:>12.0f}{row['peak_mb']['stock']:>12.0f}")


if __name__ == "__main__":
    main()
