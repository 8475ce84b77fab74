"""Training beside TRL's SFTTrainer and a plain PyTorch loop: trained tokens per second, memory, and the same loss.

    python -m tests.benchmarks.training --data DIR --envs DIR --out FILE.json
    python -m tests.benchmarks.training --data DIR --parts ray

Every run is a process of its own on the CPU: the same small Mistral with the same weights, the same samples of GSM8K of
which only the answer is learned, the same settings (`training_material`), the same number of threads. A round has every
system train once, on samples of its own; of the rounds the median counts. A rate is over the steps after the first
few, by what is learned ("targets"), so that neither start nor padding counts.

systems: this project's `Run` without Ray beside the others, and with one step of its way left out each.
ray: `raycipe train` beside the plain loop and `Run` on the same packed rows, and two workers beside one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson
from ruamel.yaml import YAML

from tests.benchmarks.environments import NotInstalledError, python_of
from tests.benchmarks.measured_process import measured
from tests.benchmarks.training_material import PACKED, PADDED, make_material, phase

ROOT = Path(__file__).parents[2]
SYSTEMS = Path(__file__).parent / "systems"
TRL = [["torch==2.13.0", "transformers==5.23.0", "accelerate==1.15.0", "datasets==5.2.0", "trl==1.16.0"]]
TRL_SHARED = {  # of SFTConfig: what all systems do alike, and no more
    "num_train_epochs": 1,
    "learning_rate": 1e-3,
    "lr_scheduler_type": "constant",
    "max_length": 512,
    "train_sampling_strategy": "sequential",
    "save_strategy": "no",
    "disable_tqdm": True,
    "use_cpu": True,
}
PLAIN_FP32 = {"bf16": False, "gradient_checkpointing": False}
OURS = "raycipe"
WAYS: dict[str, dict[str, Any]] = {
    "TRL, default": {"system": "trl", "settings": TRL_SHARED},
    "TRL, packed": {"system": "trl", "settings": TRL_SHARED | {"packing": True}},
    "TRL, fp32, nothing recomputed": {"system": "trl", "settings": TRL_SHARED | PLAIN_FP32},
    "TRL, packed, fp32, nothing recomputed": {"system": "trl", "settings": TRL_SHARED | PLAIN_FP32 | {"packing": True}},
    "PyTorch, padded": {"system": "plain", "rows": "padded"},
    "raycipe, padded, all logits": {"system": "raycipe", "rows": "padded", "everywhere": True},
    "raycipe, padded": {"system": "raycipe", "rows": "padded"},
    "raycipe, all logits": {"system": "raycipe", "rows": "packed", "everywhere": True},
    OURS: {"system": "raycipe", "rows": "packed"},
}
WARM_UP = 3  # steps that are not timed
RAY_ROWS, RAY_STEPS = 8, 24  # packed rows in a step, and steps, on Ray and beside it
RAY_DOCUMENTS = 640  # enough that all steps are in one epoch, at whose end there is a checkpoint
TIMEOUT = 3600  # seconds for one run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory of gsm8k, ni and instruct")
    parser.add_argument("--envs", type=Path, help="directory of TRL's environment; none: without TRL")
    parser.add_argument("--parts", nargs="*", choices=("systems", "ray"), default=["systems", "ray"])
    parser.add_argument("--rounds", type=int, default=8, help="how often each system trains")
    parser.add_argument("--samples", type=int, default=200, help="on how many samples in a round")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--out", type=Path, help="JSON file for the figures; parts that are not measured stay in it")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        about = make_material(arguments.data, work, arguments.samples, arguments.rounds)
        print(f"{about}", flush=True)
        for part in arguments.parts:
            if part == "systems":
                found = systems(work, arguments.envs, arguments.rounds, arguments.threads)
            else:
                found = ray(work, arguments.data, arguments.rounds)
            settings = {"rounds": arguments.rounds, "threads": arguments.threads} | about
            if arguments.out:
                kept = json.loads(arguments.out.read_bytes()) if arguments.out.exists() else {}
                kept |= {part: {"about": settings, **found}}
                arguments.out.write_text(json.dumps(kept, indent=2) + "\n")


def systems(work: Path, envs: Path | None, rounds: int, threads: int) -> dict[str, Any]:
    """Every way in turn, `rounds` times."""
    commands = {
        name: [sys.executable, "-m", f"tests.benchmarks.systems.run_{name}_training"] for name in (OURS, "plain")
    }
    notes = {}
    if envs:
        try:
            commands["trl"] = [str(python_of("trl_training", envs, TRL)), str(SYSTEMS / "run_trl_training.py")]
        except NotInstalledError as error:
            notes["trl"] = str(error)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name, way in WAYS.items() if way["system"] in commands}
    for part in range(rounds):
        for name in found:
            way = dict(WAYS[name])
            command = commands[way.pop("system")]
            kind = way.pop("rows", None)
            packed = kind == "packed" or way.get("settings", {}).get("packing", False)
            settings = {"model": str(work / "model"), "batch": PACKED if packed else PADDED, "threads": threads, **way}
            settings["rows" if kind else "samples"] = str(work / f"{part}-{kind or 'samples'}.arrow")
            found[name].append(run(command, settings, work))
            print(f"{part} {name}: {told(found[name][-1])}", flush=True)
    rows = summary(found)
    print_systems(rows)
    return {"ways": rows, "notes": notes}


def run(command: list[str], settings: dict[str, Any], work: Path) -> dict[str, Any]:
    """One run of a script in `systems`."""
    answer = work / "answer.json"
    answer.unlink(missing_ok=True)
    threads = {"OMP_NUM_THREADS": str(settings["threads"]), "HF_HUB_OFFLINE": "1"}
    took = measured([*command, json.dumps(settings), str(answer)], ROOT, TIMEOUT, threads)
    if took.status:
        raise RuntimeError(f"{command[-1]} {settings} ended with {took.status}:\n{took.output}")
    found: dict[str, Any] = json.loads(answer.read_bytes())
    (began, cpu_began), (ended, cpu_ended) = found["ends"][WARM_UP - 1], found["ends"][-1]
    tokens, targets = sum(found["tokens"][WARM_UP:]), sum(found["targets"][WARM_UP:])
    return {
        "targets_per_second": targets / (ended - began),
        "targets_per_cpu_second": targets / (cpu_ended - cpu_began),
        "tokens_per_second": tokens / (ended - began),
        "targets": sum(found["targets"]),
        "peak_mb": took.peak_mb,
        "start_mb": found["start_mb"],
        "loss": found["loss"],
    }


def told(row: dict[str, Any]) -> str:
    speed = f"{row['targets_per_second']:,.0f} targets/s, {row['targets_per_cpu_second']:,.0f} per CPU-s"
    return f"{speed}, loss {row['loss'][0]:.6f} to {row['loss'][1]:.6f}, {row['peak_mb']:,.0f} MB"


def summary(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Medians over the rounds, and how each way's losses differ from ours on the same samples."""
    rows = []
    for name, runs in found.items():
        row: dict[str, Any] = {"way": name}
        for key in ("targets_per_second", "targets_per_cpu_second", "tokens_per_second", "peak_mb", "start_mb"):
            row[key] = statistics.median(run[key] for run in runs)
        ours = found[OURS]
        for key in ("targets_per_second", "targets_per_cpu_second"):
            row[f"ours_is_{key}"] = statistics.median(
                mine[key] / run[key] for mine, run in zip(ours, runs, strict=True)
            )
        row["loss_difference"] = max(
            abs(run["loss"][0] / mine["loss"][0] - 1) for mine, run in zip(ours, runs, strict=True)
        )
        row["loss_after"] = statistics.median(run["loss"][1] for run in runs)
        rows.append(row | {"runs": runs})
    return rows


def print_systems(rows: list[dict[str, Any]]) -> None:
    print(f"\n{'way':40}{'targets/s':>11}{'ours is':>9}{'per CPU-s':>11}{'ours is':>9}{'tokens/s':>10}", end="")
    print(f"{'peak MB':>9}{'start':>7}{'loss differs by':>17}{'loss after':>12}")
    for row in rows:
        print(f"{row['way']:40}{row['targets_per_second']:>11,.0f}{row['ours_is_targets_per_second']:>8.2f}x", end="")
        print(f"{row['targets_per_cpu_second']:>11,.0f}{row['ours_is_targets_per_cpu_second']:>8.2f}x", end="")
        print(f"{row['tokens_per_second']:>10,.0f}{row['peak_mb']:>9,.0f}{row['start_mb']:>7,.0f}", end="")
        print(f"{row['loss_difference']:>17.1e}{row['loss_after']:>12.4f}")


def ray(work: Path, data: Path, rounds: int) -> dict[str, Any]:
    """`raycipe train` on packed rows beside what trains on them without Ray."""
    recipe = work / "speed.yaml"
    write_recipe(recipe, work / "model", data)
    raycipe("tokenize", recipe, work / "prepared")
    prepared = work / "prepared" / "speed"
    shards = sorted((prepared / "tokenize" / "sft").glob("train-*.arrow"))
    assert len(shards) == 1
    commands = {
        name: [sys.executable, "-m", f"tests.benchmarks.systems.run_{name}_training"] for name in (OURS, "plain")
    }
    settings = {"model": str(work / "model"), "rows": str(shards[0]), "batch": RAY_ROWS, "steps": RAY_STEPS}
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for threads in (1, 2):
            for name, command in commands.items():
                rate = run(command, settings | {"threads": threads}, work)["tokens_per_second"]
                found.setdefault(f"{name}, threads {threads}", []).append(rate)
        for workers, cpus in ((1, 2), (1, 1), (2, 1)):
            rate = on_ray(recipe, prepared, work / "runs", workers, cpus)
            found.setdefault(f"raycipe train, workers {workers}, threads {cpus}", []).append(rate)
        print({name: round(rates[-1]) for name, rates in found.items()}, flush=True)
    compared = {
        "raycipe train to the plain loop": ("raycipe train, workers 1, threads 2", "plain, threads 2"),
        "raycipe train to Run without Ray": ("raycipe train, workers 1, threads 2", "raycipe, threads 2"),
        "two workers to one": ("raycipe train, workers 2, threads 1", "raycipe train, workers 1, threads 1"),
    }
    ratios = {
        name: statistics.median(mine / other for mine, other in zip(found[one], found[two], strict=True))
        for name, (one, two) in compared.items()
    }
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    for name, value in (medians | ratios).items():
        print(f"{name:45}{value:>10,.2f}")
    return {"tokens_per_second": medians, "ratios": ratios, "runs": found}


def write_recipe(path: Path, model: Path, data: Path) -> None:
    """A recipe with one phase on GSM8K."""
    options = phase(RAY_ROWS, RAY_STEPS).model_dump(mode="json", exclude_unset=True)
    options |= {"log_every_steps": WARM_UP}
    fields = {"instruction": "question", "output": "answer"}
    sources = {"gsm8k": {"files": str((data / "gsm8k" / "train.jsonl.gz").absolute()), "fields": fields}}
    said = {
        "name": "speed",
        "model": {"base": str(model)},
        "data": {"sources": sources, "mixture": {"gsm8k": RAY_DOCUMENTS}},
        "train": {"sft": options},
        "resources": {"device": "cpu"},
    }
    with path.open("w") as file:
        YAML().dump(said, file)


def on_ray(recipe: Path, prepared: Path, runs: Path, workers: int, cpus: int) -> float:
    """Tokens per second of `raycipe train`, by its own log."""
    shutil.rmtree(runs, ignore_errors=True)
    for stage in ("curate", "tokenize"):
        shutil.copytree(prepared / stage, runs / "speed" / stage)
    each = f"train.sft.micro_batch_size={RAY_ROWS // workers}"
    raycipe("train", recipe, runs, each, f"resources.workers={workers}", f"resources.cpus_per_worker={cpus}")
    log = (runs / "speed" / "train" / "sft" / "log.jsonl").read_bytes()
    first, *_, last = [line for line in map(orjson.loads, log.splitlines()) if "loss" in line]
    return float((last["tokens"] - first["tokens"]) / (last["seconds"] - first["seconds"]))


def raycipe(verb: str, recipe: Path, runs: Path, *overrides: str) -> None:
    command = [sys.executable, "-m", "ray_jobs.cli", verb, str(recipe), *overrides, "--runs-dir", str(runs)]
    took = measured(command, ROOT, TIMEOUT, {"HF_HUB_OFFLINE": "1"})
    if took.status:
        raise RuntimeError(f"raycipe {verb} ended with {took.status}:\n{took.output}")


if __name__ == "__main__":
    main()
