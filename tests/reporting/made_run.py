"""A run directory as the stages leave it, with text in it that tries to break the page."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.documents.ledger import DROPPED
from tests.reporting.made_curation import CUTS, write_curation

SCRIPT = "<script>document.title = 'planted script ran'</script>"
HOSTILE = SCRIPT + "</pre></style>\"' onmouseover='alert(1)' <img src=https://example.org/x.png> {{ 7 * 7 }} $\\frac{1$"
CONTROLS = "bell \x07, escape \x1b[31m, right-to-left \u202eevil, null \x00 end"
MODEL = "sft <b>&amp;"  # a model's name is data too
STEPS = ["read", "language", "length", "exact_dedup", "minhash_dedup", "exact_substring", "decontaminate", "mixture"]
DROPS: dict[str, dict[str, dict[str, int]]] = {
    "skills": {
        "read": {},
        "language": {},
        "length": {"too_short": 212},
        "exact_dedup": {"exact_duplicate": 180},
        "minhash_dedup": {"near_duplicate": 241},
        "exact_substring": {},
        "decontaminate": {"in_evaluation": 60},
        "mixture": {},
    },
    "python_library": {
        "read": {"broken_utf8": 3},
        "language": {},
        "length": {"too_short": 1204, "too_long": 31},
        "exact_dedup": {"exact_duplicate": 66},
        "minhash_dedup": {"near_duplicate": 402},
        "exact_substring": {},
        "decontaminate": {},
        "mixture": {"not_drawn": 1250},
    },
}
READ = {"skills": 6800, "python_library": 5120}
PLANTED: dict[str, Any] = {
    "exact_duplicate": {"planted": 180, "dropped_by": {"exact_dedup": 180}, "kept": 0},
    "near_duplicate": {"planted": 240, "dropped_by": {"minhash_dedup": 236, "length": 1}, "kept": 3},
    "benchmark_leak": {"planted": 60, "dropped_by": {"decontaminate": 60}, "kept": 0},
    "none": {"planted": 6320, "dropped_by": {"length": 211, "minhash_dedup": 5}, "kept": 6104},
}
CPU: dict[str, Any] = {"device": f"AMD EPYC 7B13 {SCRIPT}", "peak_memory_bytes": 702_000_000}
GPU: dict[str, Any] = {
    "device": "NVIDIA H100 80GB HBM3",
    "peak_memory_bytes": 31_400_000_000,
    "mfu": 0.4312,
    "peak_flops": 989.4e12,
}
EVENTS: list[dict[str, Any]] = [
    {"step": 61, "kind": "spike", "loss": 9.25, "gradient_norm": 14.5, "usual": 1.204, "documents": ["skills:0:1"]},
    {
        "step": 140,
        "kind": "skipped",
        "loss": None,
        "gradient_norm": None,
        "usual": 0.41,
        "documents": [HOSTILE, CONTROLS, *(f"skills:0:{n}" for n in range(1250))],
    },
    {"step": 201, "kind": "spike", "loss": 3.5, "gradient_norm": 6.0, "usual": 0.2, "documents": []},
]
RECIPE = f"""# Quickstart: curate, train, score and report in minutes on two cores, offline.
name: quickstart                                        # recipe
description: Trains a small Mistral on the Python library, then on five skills, in minutes on a laptop.  # recipe
seed: 42                                                # default
model:
  config: {{vocabulary: 4096, hidden_size: 256, layers: 6}}
data:
  sources:
    skills: {{generated: skills, rows: 6800}}           # {SCRIPT}
    python_library: {{python_library: {{}}}}
    remote: {{files: "s3://key:hunter2@bucket/part.jsonl"}}
  steps: [{{length: {{minimum: 20}}}}, {{exact_dedup: {{}}}}, {{minhash_dedup: {{}}}}, {{decontaminate: {{}}}}]
  mixture: {{skills: all, python_library: 2164}}
train:
  pretrain: {{method: full, learning_rate: 1.0e-3, epochs: 1}}
  sft: {{method: lora, learning_rate: 3.0e-4, epochs: 4, max_gradient_norm: 1.5}}  # command line
  dpop: {{method: lora, preference: {{beta: 0.3, dpop_lambda: 50}}, epochs: 1}}
evaluate: {{tasks: [skills_choice, skills_write]}}
"""


def make_run(directory: Path) -> Path:
    """Writes the whole run, all stages finished."""
    directory.mkdir(parents=True)
    (directory / "recipe.yaml").write_text(RECIPE)
    _curate(directory / "curate")
    _tokenize(directory / "tokenize")
    _train(directory / "train" / "pretrain", "full", 600, 5.6, 2.1, CPU)
    _train(directory / "train" / "sft", "lora", 240, 2.2, 0.12, GPU)
    _train(directory / "train" / "dpop", "lora", 120, 0.693, 0.11, CPU, preference=True)
    write_lines(directory / "train" / "sft" / "events.jsonl", EVENTS)
    _evaluate(directory / "evaluate")
    started = 0
    for stage, seconds in (
        ("curate", 21),
        ("tokenize", 14),
        ("train/pretrain", 96),
        ("train/sft", 61),
        ("train/dpop", 20),
        ("evaluate", 38),
    ):
        _manifest(directory / stage, stage, started, seconds)
        started += seconds
    return directory


def _curate(directory: Path) -> None:
    sources = {}
    for source, by_step in DROPS.items():
        documents, size = READ[source], READ[source] * 118
        account: dict[str, Any] = {"read": {"documents": documents, "bytes": size, "tokens": size // 5}, "steps": []}
        for step in STEPS:
            lost, cut = sum(by_step[step].values()), CUTS.get((source, step), {})
            entry = {"step": step, "documents_in": documents, "bytes_in": size, "tokens_in": size // 5}
            documents, size = documents - lost, size - lost * 97 - sum(each["bytes"] for each in cut.values())
            left = {"documents_kept": documents, "bytes_kept": size, "tokens_kept": size // 5}
            account["steps"].append({**entry, **left, "dropped": by_step[step], "cut": cut})
        sources[source] = {**account, "kept": {"documents": documents, "bytes": size, "tokens": size // 5}}
    write_json(directory / "ledger.json", {"steps": STEPS, "sources": sources, "planted": PLANTED})
    write_curation(directory, f"{HOSTILE}\n{CONTROLS}")
    rows = [
        _dropped(source, step, reason, number)
        for source, by_step in DROPS.items()
        for step, reasons in by_step.items()
        for reason, amount in reasons.items()
        for number in range(amount)
    ]
    (directory / "dropped").mkdir()
    for part in range(2):
        table = pa.Table.from_pylist(rows[part::2], DROPPED)
        pq.write_table(table, directory / "dropped" / f"part-{part:05d}.parquet", row_group_size=500)


def _dropped(source: str, step: str, reason: str, number: int) -> dict[str, Any]:
    text = f"{reason} document {number}. {'It says little. ' * 3}"
    evidence: str | None = f"{source}:0:{number + 7}"
    if reason == "too_long":
        text = f"{HOSTILE}\n{CONTROLS}\n" + "def f(x):\n    return x  # and on and on\n" * 400
    elif reason == "too_short":
        text, evidence = f"# {number}", f"{len(str(number)) + 2} characters, at least 20 wanted"
    messages = [
        {"role": "user", "content": f"What is {number} + {number}? {HOSTILE if number % 3 == 0 else ''}"},
        {"role": "assistant", "content": str(2 * number)},
    ]
    skills = source == "skills"
    return {
        "id": f"{source}:0:{step}-{reason}-{number:05d}",
        "source": source,
        "text": None if skills else text,
        "messages": messages if skills else None,
        "meta": json.dumps({"planted": reason, "skill": "addition"}) if skills else None,
        "step": step,
        "reason": reason,
        "evidence": evidence,
    }


def _tokenize(directory: Path) -> None:
    def split(documents: int, rows: int, length: int, refused: dict[str, int]) -> dict[str, Any]:
        tokens = int(rows * length * 0.9973)
        return {
            "documents": documents,
            "samples": documents - sum(refused.values()),
            "rows": rows,
            "sequence_length": length,
            "tokens": tokens,
            "target_tokens": int(tokens * 0.41),
            "fill": round(tokens / (rows * length), 5),
            "truncated_tokens": 1287,
            "refused": refused,
        }

    phases = {
        "pretrain": {"train": split(2064, 5210, 512, {}), "validation": split(100, 251, 512, {})},
        "sft": {"train": split(5907, 871, 512, {"nothing_to_learn": 3}), "validation": split(200, 30, 512, {})},
    }
    write_json(directory / "summary.json", {"tokenizer": {"kind": "trained", "vocabulary": 4096}, "phases": phases})


def _train(
    directory: Path,
    method: str,
    steps: int,
    first: float,
    last: float,
    device: dict[str, Any],
    preference: bool = False,
) -> None:
    directory.mkdir(parents=True)
    chance = random.Random(7)
    best = math.inf
    figures: list[dict[str, float]] = []
    with (directory / "log.jsonl").open("w") as file:
        for step in range(1, steps + 1):
            fall = math.exp(-4 * step / steps)
            speed = round(26_000 + chance.gauss(0, 900), 1)
            if preference:
                figures.append(_preference(1 - fall, chance))
            line: dict[str, Any] = {
                "step": step,
                "epoch": round(step / steps, 4),
                "loss": round(last + (first - last) * fall + chance.gauss(0, 0.05 * (last + fall)), 4),
                **(figures[-1] if preference else {}),
                "learning_rate": 1e-3 * min(1, step / 30) * (0.55 + 0.45 * math.cos(math.pi * step / steps)),
                "gradient_norm": round((1 + fall) * math.exp(chance.gauss(0, 0.1)), 3),
                "tokens": step * 4096,
                "target_tokens": step * 1700,
                "seconds": round(step * 0.158, 3),
                "tokens_per_second": speed,
                "tokens_per_second_per_device": speed / 2,
                "target_tokens_per_second": speed * 0.415,
                "data_wait": round(abs(chance.gauss(0.012, 0.004)), 4),
                **({"mfu": round(speed / 26_000 * device["mfu"], 4)} if "mfu" in device else {}),
                "memory_bytes": int(device["peak_memory_bytes"] * (1 - 0.2 * (step < steps / 3))),
                "seconds_left": round((steps - step) * 0.158, 1),
            }
            file.write(json.dumps(line) + "\n")
            if step % (steps // 8) == 0:
                best = min(best, round(last + (first - last) * fall + 0.04, 4))
                measured = _preference(0.95 * (1 - fall), random.Random(0)) if preference else {}
                told = {f"validation_{name}": value for name, value in measured.items()}
                file.write(json.dumps({"step": step, "validation_loss": best, **told}) + "\n")
    write_json(
        directory / "summary.json",
        {
            "method": method,
            "optimizer": "adamw",
            "zero_stage": 2 if method == "full" else 0,
            "workers": 2,
            "steps": steps,
            "epochs": 1.0,
            "parameters": 3_412_480,
            "trainable_parameters": 3_412_480 if method == "full" else 98_304,
            "tokens": steps * 4096,
            "target_tokens": steps * 1700,
            "seconds": round(steps * 0.158, 3),
            "tokens_per_second": 25_924.1,
            "tokens_per_second_per_device": 12_962.0,
            "target_tokens_per_second": 10_758.5,
            "data_wait": 0.0121,
            "devices": 2,
            **device,
            "first_loss": first,
            "last_loss": last,
            "best_validation_loss": best,
            "best_step": steps,
            "skipped_steps": 1,
            "spikes": 2,
            **({"preference": {"first": figures[0], "last": figures[-1]}} if preference else {}),
            "refused_checkpoints": [],
        },
    )


def _preference(learned: float, chance: random.Random) -> dict[str, float]:
    """As DPO-Positive has it: both completions become likelier, the preferred one more."""
    chosen = 0.9 * learned + chance.gauss(0, 0.03)
    rejected = 0.2 * learned - 0.4 * learned**2 + chance.gauss(0, 0.03)
    return {
        "reward_chosen": chosen,
        "reward_rejected": rejected,
        "reward_accuracy": min(1.0, max(0.0, 0.5 + 0.48 * learned + chance.gauss(0, 0.03))),
        "chosen_logps": -46.2 + chosen / 0.3 + chance.gauss(0, 0.3),
        "rejected_logps": -47.9 + rejected / 0.3 + chance.gauss(0, 0.3),
        "reward_margin": chosen - rejected,
    }


def _evaluate(directory: Path) -> None:
    values = {
        ("base", "skills_choice", "acc"): (0.2475, 0.0216),
        (MODEL, "skills_choice", "acc"): (0.9325, 0.0125),
        ("base", "skills_choice", "acc_norm"): (0.2525, 0.0217),
        (MODEL, "skills_choice", "acc_norm"): (0.9275, 0.013),
        ("base", "skills_write", "exact_match"): (0.0, 0.0),
        (MODEL, "skills_write", "exact_match"): (0.645, 0.0339),
        ("base", "arc_easy", "acc"): (0.2551, 0.0089),
        (MODEL, "arc_easy", "acc"): (0.2614, 0.009),
        ("base", "library", "word_perplexity"): (8123.4, None),
        (MODEL, "library", "word_perplexity"): (212.75, None),
    }
    scores = [
        {
            "model": model,
            "task": task,
            "metric": metric,
            "filter": "strict" if metric == "exact_match" else "none",
            "value": value,
            "stderr": error,
            "samples": 400,
            "higher_is_better": metric != "word_perplexity",
        }
        for (model, task, metric), (value, error) in values.items()
    ]
    write_json(directory / "scores.json", {"models": ["base", MODEL], "scores": scores, "seconds": 38.2})
    for model in ("base", MODEL):
        write_lines(directory / "samples" / model / "skills_choice.jsonl", [_choice(n, model) for n in range(40)])
        write_lines(directory / "samples" / model / "skills_write.jsonl", [_written(n, model) for n in range(40)])


def _choice(number: int, model: str) -> dict[str, Any]:
    """As lm-eval saves it."""
    right = model == MODEL or number % 4 == 0
    choices = [" red", " green", " blue", f" {HOSTILE}"]
    likeliest = 1 if right else 3
    return {
        "doc_id": number,
        "target": "1",
        "arguments": {
            f"gen_args_{n}": {"arg_0": f"Question {number}: which colour is grass?\nAnswer:", "arg_1": choice}
            for n, choice in enumerate(choices)
        },
        "resps": [[[str(-0.5 - (n != likeliest)), "False"]] for n in range(4)],
        "filtered_resps": [[str(-0.5 - (n != likeliest)), "False"] for n in range(4)],
        "filter": "none",
        "metrics": ["acc"],
        "acc": float(right),
    }


def _written(number: int, model: str) -> dict[str, Any]:
    answer = f"The sum is {2 * number}." if model == MODEL else f"the the \ud800 {CONTROLS} {HOSTILE}"
    return {
        "doc_id": number,
        "target": str(2 * number),
        "arguments": {"gen_args_0": {"arg_0": f"What is {number} + {number}?", "arg_1": {"until": ["\n"]}}},
        "resps": [[answer]],
        "filtered_resps": [str(2 * number) if model == MODEL else "[invalid]"],
        "filter": "strict",
        "metrics": ["exact_match"],
        "exact_match": float(model == MODEL),
    }


def _manifest(directory: Path, stage: str, started: int, seconds: float) -> None:
    def moment(second: float) -> str:
        return f"2026-01-31T09:{int(second) // 60:02d}:{int(second) % 60:02d}+00:00"

    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    write_json(
        directory / "manifest.json",
        {
            "stage": stage,
            "fingerprint": f"{len(stage):032x}",
            "recipe": {},
            "inputs": {},
            "seed": 42,
            "code": "3",
            "counts": {},
            "files": [
                {
                    "path": str(path.relative_to(directory)),
                    "bytes": path.stat().st_size,
                    "xxh3_128": "0123456789abcdef" * 2,
                }
                for path in files
            ],
            "packages": {"raycipe": "0.1.0", "ray": "2.60.0", "torch": "2.13.0", "lm-eval": "0.4.13"},
            "hardware": {
                "cpu": "AMD EPYC 7B13",
                "cores": 2,
                "memory_bytes": 25_200_000_000,
                "gpus": [],
                "platform": "Linux-6.8.0-x86_64-with-glibc2.36",
                "python": "3.11.9",
            },
            "started": moment(started),
            "finished": moment(started + seconds),
            "seconds": seconds,
            "git_commit": "9fceb02d0ae598e95dc970b74767f19372d61af8",
        },
    )


def write_json(path: Path, value: Any) -> None:
    """JSON as Python writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_lines(path: Path, values: list[Any]) -> None:
    """JSON Lines, lone surrogates escaped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
