"""Smaug's claim (Pal et al. 2024, https://arxiv.org/abs/2402.13228): where the two completions of a pair differ by
little, DPO makes the preferred one less likely, DPO-Positive does not; where they differ by much, both learn.

    python -m tests.benchmarks.preference --data DIR --out FILE.json

A small model is taught by `core.training`, then trained on pairs by both losses from the same weights. Pairs with a
small and with a large edit distance have the same prompts and preferred completions.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import itertools
import json
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import torch

from core.instructions.corrupted_solutions import CorruptedSolutions, corrupted_solutions
from core.instructions.preference_pairs import edit_distances
from core.models.create import create_model
from core.models.generation import continuations
from core.models.options import ModelConfig
from core.tokens.options import PhaseData
from core.tokens.samples import make_samples
from core.tokens.shards import TokenRows, write_rows
from core.tokens.templates import TURN_END
from core.tokens.tokenizer import train_tokenizer
from core.training.batches import collate
from core.training.engine import World
from core.training.log import LOG
from core.training.losses import token_losses
from core.training.options import Phase
from core.training.trainer import Run
from tests.tokens.conftest import dialogues, pairs

SEED = 42
LOSSES = {"DPO": 0.0, "DPOP": 50.0}  # dpop_lambda
BETA = 0.3
LEARNING_RATE = 2e-4
PLACES = ("before", "edit", "after")
ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
ONES += ["eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


@dataclass(frozen=True)
class Material:
    """What a model is taught, and pairs of other questions with a small and a large edit distance."""

    name: str
    vocabulary: int
    sequence_length: int  # tokens in a row of dialogues; of pairs twice as many
    dialogues: pa.Table
    pairs: dict[str, pa.Table]
    finals: Callable[[str], str | tuple[str, ...]]  # how a text may end that has a solution's final answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory of gsm8k")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as fast at this size, and the figures do not hang on the number of cores
    found = []
    for material, epochs in ((chains(4000, 464), 3), (gsm8k(arguments.data, 2000, 464), 3)):
        with tempfile.TemporaryDirectory() as directory:
            found.append(measured(material, epochs, held_out=64, work=Path(directory)))
        print_table(found[-1])
    if arguments.out:
        about = {"seed": SEED, "beta": BETA, "learning_rate": LEARNING_RATE, "dpop_lambda": LOSSES["DPOP"]}
        arguments.out.write_text(json.dumps({"about": about, "materials": found}, indent=2) + "\n")


def chains(taught: int, paired: int) -> Material:
    """Sums in several steps, three in four solved in words; equations are preferred.

    The large edit is the same solution in words.
    """
    drawn = random.Random(SEED)
    solved = [_chain(drawn) for _ in range(taught + paired)]
    teaching = [
        [("user", question), ("assistant", in_words(solution) if number % 4 else solution)]
        for number, (question, solution) in enumerate(solved[:taught])
    ]
    small = corrupted(solved[taught:])
    large = [(row["prompt"], row["chosen"], in_words(row["chosen"])) for row in small.to_pylist()]
    return Material("sums", 500, 128, dialogues(teaching), {"small": small, "large": pairs(large)}, _finals_of_chain)


def gsm8k(data: Path, taught: int, paired: int) -> Material:
    """School mathematics, every second question answered without a solution; solutions are preferred.

    The large edit is the final answer alone.
    """
    with gzip.open(data / "gsm8k" / "train.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    solved = [(row["question"], row["answer"]) for row in rows if len(row["question"] + row["answer"]) < 450]
    teaching = [
        [("user", question), ("assistant", _last_line(solution) if number % 2 else solution)]
        for number, (question, solution) in enumerate(solved[:taught])
    ]
    small = corrupted(solved[taught : taught + paired])
    large = [(row["prompt"], row["chosen"], _last_line(row["chosen"])) for row in small.to_pylist()]
    return Material("GSM8K", 1024, 256, dialogues(teaching), {"small": small, "large": pairs(large)}, _last_line)


def corrupted(solved: list[tuple[str, str]]) -> pa.Table:
    """Pairs as Smaug's of MetaMath: one intermediate result of the rejected completion is wrong."""
    documents = dialogues([[("user", question), ("assistant", solution)] for question, solution in solved])
    return corrupted_solutions(documents, CorruptedSolutions(), SEED)[0]


def _chain(drawn: random.Random) -> tuple[str, str]:
    """A question and its solution: 12 + 7 = 19, 19 - 4 = 15, ..."""
    value = drawn.randint(2, 20)
    told, solved = [f"Begin with {value}"], []
    for _ in range(3):
        number = drawn.randint(2, 9)
        adds = number >= value or drawn.random() < 0.5
        result = value + number if adds else value - number
        told.append(f"{'add' if adds else 'subtract'} {number}")
        solved.append(f"{value} {'+' if adds else '-'} {number} = {result}")
        value = result
    return ", ".join(told) + ".", "\n".join([*solved, f"The answer is {value}"])


def in_words(solution: str) -> str:
    """A chain's solution without digits and signs."""
    *steps, final = re.sub(r"\d+", lambda found: _spelled(int(found.group())), solution).splitlines()
    told = [step.replace("+", "plus").replace(" - ", " minus ").replace("=", "makes") for step in steps]
    return " ".join([*(f"{step.capitalize()}." for step in told), final.replace("The answer is", "So we get") + "."])


def _spelled(number: int) -> str:
    if number < len(ONES):
        return ONES[number]
    tens, ones = divmod(number, 10)
    return TENS[tens - 2] + (f"-{ONES[ones]}" if ones else "")


def _finals_of_chain(solution: str) -> tuple[str, ...]:
    return _last_line(solution), "So we get" + in_words(solution).rpartition("So we get")[2]


def _last_line(text: str) -> str:
    return text.splitlines()[-1]


def measured(material: Material, epochs: float, held_out: int, work: Path) -> dict[str, Any]:
    """Teaches a model, and trains it on each set of pairs by each loss: the figures of `main`'s JSON."""
    began = time.perf_counter()
    tokenizer = train_tokenizer(lambda: [material.dialogues], material.vocabulary, 1_000_000)
    config = ModelConfig(
        hidden_size=96, intermediate_size=192, num_hidden_layers=2, num_attention_heads=4, tie_word_embeddings=True
    )
    model = create_model(config, tokenizer, SEED)
    length = material.sequence_length
    teaching = split(material.dialogues, held_out, tokenizer, length, work / "taught")
    options = _phase(length, epochs=epochs, learning_rate=3e-3, global_batch_size=8, micro_batch_size=8)
    lines = trained(model, teaching, options, tokenizer.pad_token_id, work / "taught")
    sets = []
    for distance, table in material.pairs.items():
        rows = split(table, held_out, tokenizer, length, work / distance)
        asked = table.slice(len(table) - held_out)
        runs = {}
        for loss, dpop_lambda in LOSSES.items():
            policy, directory = copy.deepcopy(model), work / f"{distance}-{loss}"
            options = _phase(
                length,
                epochs=1,
                global_batch_size=16,
                micro_batch_size=16,
                learning_rate=LEARNING_RATE,
                validate_every_steps=5,
                preference={"beta": BETA, "dpop_lambda": dpop_lambda},
            )
            lines_of_pairs = trained(policy, rows, options, tokenizer.pad_token_id, directory)
            runs[loss] = {
                "training": list(_told(lines_of_pairs, "")),
                "held_out": list(_told(lines_of_pairs, "validation_")),
                "answered": answered(policy, tokenizer, asked, material),
                "by_place": by_place(policy, model, rows[1], tokenizer.pad_token_id) if distance == "small" else None,
            }
        sets.append(
            {
                "pairs": distance,
                "training_pairs": len(rows[0]),
                "held_out_pairs": len(rows[1]),
                "edit_distance": float(edit_distances(table).mean()),
                "runs": runs,
            }
        )
    return {
        "material": material.name,
        "parameters": model.num_parameters(),
        "taught_dialogues": len(material.dialogues) - held_out,
        "taught_loss": [line["validation_loss"] for line in lines if "validation_loss" in line][-1],
        "answered": answered(model, tokenizer, asked, material),
        "sets": sets,
        "seconds": round(time.perf_counter() - began, 1),
    }


def split(
    documents: pa.Table, held_out: int, tokenizer: Any, length: int, directory: Path
) -> tuple[TokenRows, TokenRows]:
    """Rows for training, and of the last documents for validation. Dialogues are packed; a pair is a row."""
    directory.mkdir()
    is_pairs = documents["prompt"].null_count == 0
    bound = len(documents) - held_out
    found = []
    for name, part in (("train", documents.slice(0, bound)), ("validation", documents.slice(bound))):
        samples, _ = make_samples(part, tokenizer, PhaseData(sources=["all"], sequence_length=length))
        path = directory / f"{name}.arrow"
        write_rows(samples, path, length, packing=not is_pairs, samples_per_unit=2 if is_pairs else 1)
        found.append(TokenRows([path]))
    return found[0], found[1]


def _phase(length: int, **options: Any) -> Phase:
    data = PhaseData(sources=["all"], sequence_length=length)
    return Phase(data=data, warmup_ratio=0.1, log_every_steps=5, **options)


def trained(
    model: Any, rows: tuple[TokenRows, TokenRows], options: Phase, padding: int, directory: Path
) -> list[dict[str, Any]]:
    """Trains a model in place; the lines of its log."""
    directory.mkdir(exist_ok=True)
    Run(
        model=model,
        rows=rows[0],
        validation=rows[1],
        options=options,
        world=World(),
        seed=SEED,
        padding=padding,
        directory=directory,
        fingerprint="",
    ).train()
    return [orjson.loads(line) for line in (directory / LOG).read_bytes().splitlines()]


def _told(lines: list[dict[str, Any]], prefix: str) -> Iterator[dict[str, float]]:
    """What a log says of pairs: log-probabilities as what they have changed since the reference."""
    for line in lines:
        if f"{prefix}reward_margin" in line:
            yield {
                "step": line["step"],
                "chosen_logps": line[f"{prefix}chosen_logps"],
                "chosen_change": line[f"{prefix}reward_chosen"] / BETA,
                "rejected_change": line[f"{prefix}reward_rejected"] / BETA,
                "margin": line[f"{prefix}reward_margin"],
                "accuracy": line[f"{prefix}reward_accuracy"],
            }


def by_place(policy: Any, reference: Any, rows: TokenRows, padding: int) -> dict[str, float]:
    """How the log-probability of preferred completions has changed, per completion: before, at and after the edit."""
    total = np.zeros(len(PLACES))
    for number in range(len(rows)):
        batch = collate([rows[number]], padding)
        with torch.no_grad():
            losses, samples = token_losses(policy, batch)
            change = token_losses(reference, batch)[0] - losses
        tokens = batch.targets[:, 1:][batch.targets[:, 1:] >= 0]
        chosen, rejected = (tokens[samples == sample].tolist() for sample in (0, 1))
        begin = _in_common(chosen, rejected)
        end = len(chosen) - _in_common(chosen[begin:][::-1], rejected[begin:][::-1])
        parts = np.split(change[samples == 0].double().numpy(), [begin, end])
        total += [part.sum() for part in parts]
    return dict(zip(PLACES, (total / len(rows)).tolist(), strict=True))


def _in_common(one: list[int], other: list[int]) -> int:
    """How many tokens two sequences begin with alike."""
    return sum(1 for _ in itertools.takewhile(lambda two: two[0] == two[1], zip(one, other, strict=False)))


def answered(model: Any, tokenizer: Any, asked: pa.Table, material: Material) -> float:
    """The share of pairs' prompts after which the model writes a text with the right final answer."""
    ending = copy.deepcopy(tokenizer)
    ending.eos_token = TURN_END
    prompts = [
        tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True)["input_ids"]
        for prompt in asked["prompt"].to_pylist()
    ]
    written = dict(
        continuations(
            model, ending, prompts, max_new_tokens=material.sequence_length * 3 // 4, stop=TURN_END, batch_size=64
        )
    )
    solutions = asked["chosen"].to_pylist()
    return float(
        np.mean([written[number].endswith(material.finals(solution)) for number, solution in enumerate(solutions)])
    )


def print_table(found: dict[str, Any]) -> None:
    print(
        f"\n{found['material']}: {found['parameters']:,} parameters, {found['taught_dialogues']:,} dialogues taught, "
        f"answers {found['answered']:.0%}; {found['seconds']:.0f} s\n"
        f"{'held-out pairs':15}{'distance':>9}{'loss':>6}{'chosen':>9}{'rejected':>9}{'margin':>8}{'accuracy':>9}"
        f"{'answers':>9}   chosen before, at, after the edit"
    )
    for each in found["sets"]:
        for loss, run in each["runs"].items():
            last = run["held_out"][-1]
            places = ", ".join(f"{change:+.2f}" for change in (run["by_place"] or {}).values())
            print(
                f"{each['pairs']:15}{each['edit_distance']:>9.3f}{loss:>6}{last['chosen_change']:>+9.2f}"
                f"{last['rejected_change']:>+9.2f}{last['margin']:>8.2f}{last['accuracy']:>9.2f}"
                f"{run['answered']:>9.0%}   {places}"
            )


if __name__ == "__main__":
    main()
