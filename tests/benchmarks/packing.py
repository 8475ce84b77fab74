"""Packing beside TRL's and axolotl's: how full the rows are, and how fast; and text to packed rows beside bare
`tokenizers`.

    python -m tests.benchmarks.packing --data DIR --envs DIR --out FILE.json

Every system has an environment of its own below --envs, made here, and runs in one process on the same samples: real
instructions from --data, tokenized, and lengths drawn from a log-normal distribution. A system that packs tokens
writes the packed rows to a file; one that packs lengths says which samples make a row. Loading, importing and
compiling are left out for all alike: the smallest set comes first, and only the largest is timed.

The second part is `tokenizing`: from a file of documents to shards, beside `encode_batch` on the same texts.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core.tokens.options import PhaseData
from core.tokens.samples import SAMPLES, make_samples
from core.tokens.tokenizer import train_tokenizer
from tests.benchmarks.environments import NotInstalledError, python_of
from tests.benchmarks.instructions import SEED, dialogues, log_normal_lengths
from tests.benchmarks.measured_process import measured
from tests.benchmarks.tokenizing import tokenizing

ROOT = Path(__file__).parents[2]
REQUIREMENTS = {
    "trl": [["trl==1.16.0"]],
    # Its requirements clash with what is here. Of its package the sampler alone is run, which needs no more than this.
    "axolotl": [["torch", "numba", "accelerate", "transformers"], ["--no-deps", "axolotl==0.19.0"]],
}
ROW_LENGTHS = (512, 2048)
VOCABULARY = 16_000
TIMEOUT = 1800  # seconds for one system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory of gsm8k, ni and instruct")
    parser.add_argument("--envs", type=Path, help="directory of the other systems' environments; none: ours alone")
    parser.add_argument("--samples", type=int, default=1_000_000, help="samples of drawn lengths")
    parser.add_argument("--repeats", type=int, default=3, help="runs of tokenizing, of which the fastest counts")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()

    documents = dialogues(arguments.data)
    tokenizer = train_tokenizer(lambda: documents.values(), VOCABULARY, 20_000_000)
    with tempfile.TemporaryDirectory(dir=arguments.out.absolute().parent if arguments.out else None) as directory:
        work = Path(directory)
        sets = work / "sets"
        sets.mkdir()
        sizes = {}
        for name, samples in sample_sets(documents, tokenizer, arguments.samples):
            sizes[name] = write_set(sets / f"{name}.arrow", samples)
            del samples
        found = {"raycipe": answer_of("raycipe", [sys.executable, "-m", module_of("raycipe_packing")], sets, work)}
        for system in REQUIREMENTS if arguments.envs else ():
            try:
                python = python_of(system, arguments.envs, REQUIREMENTS[system])
            except NotInstalledError as error:
                found[system] = {"note": str(error)}
                continue
            script = ROOT / "tests" / "benchmarks" / "systems" / f"run_{system}.py"
            found[system] = answer_of(system, [str(python), str(script)], sets, work)
        largest = max(sizes, key=lambda name: sizes[name]["samples"])
        fills, speeds = fill_rows(found, sizes), speed_rows(found, sizes, largest)
        print_fills(fills)
        print_speeds(speeds, largest, sizes[largest])
        beside_tokenizers = tokenizing(documents, tokenizer, work, arguments.repeats)
    if arguments.out:
        about = {"seed": SEED, "vocabulary": VOCABULARY, "sets": sizes, "timed": largest}
        figures = {"fill": fills, "speed": speeds, "tokenizing": beside_tokenizers}
        arguments.out.write_text(json.dumps({"about": about, **figures}, indent=2) + "\n")


def sample_sets(documents: dict[str, pa.Table], tokenizer: Any, drawn: int) -> Iterator[tuple[str, pa.Table]]:
    """SAMPLES by the set's name and the tokens of a row."""
    for row_length in ROW_LENGTHS:
        options = PhaseData(sources=["all"], sequence_length=row_length)
        made = {name: make_samples(table, tokenizer, options)[0] for name, table in documents.items()}
        yield from ((f"{name}-{row_length}", table) for name, table in made.items())
        yield f"all three-{row_length}", pa.concat_tables(made.values())
    lengths = log_normal_lengths(drawn, 2048)
    yield "log-normal-2048", samples_of(lengths)


def samples_of(lengths: np.ndarray) -> pa.Table:
    """SAMPLES of these lengths, in which the second half is learned."""
    bounds = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    tokens = np.random.default_rng(SEED).integers(0, VOCABULARY, lengths.sum(), dtype=np.int32)
    spans = np.column_stack([lengths - lengths // 2, lengths]).astype(np.int32).ravel()
    columns = [
        pa.array([f"drawn:{number}" for number in range(len(lengths))]),
        pa.ListArray.from_arrays(bounds, pa.array(tokens)),
        pa.ListArray.from_arrays(pa.array(np.arange(len(lengths) + 1) * 2, pa.int32()), pa.array(spans)),
        pa.array(lengths // 2, pa.int32()),
    ]
    return pa.Table.from_arrays(columns, schema=SAMPLES)


def write_set(path: Path, samples: pa.Table) -> dict[str, int]:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, SAMPLES) as writer:
        writer.write_table(samples, max_chunksize=1000)
    lengths = np.concatenate([chunk.value_lengths().to_numpy() for chunk in samples["input_ids"].chunks])
    np.save(path.with_suffix(".npy"), lengths)
    return {"samples": len(lengths), "tokens": int(lengths.sum())}


def module_of(name: str) -> str:
    return f"tests.benchmarks.systems.run_{name}"


def answer_of(system: str, command: list[str], sets: Path, work: Path) -> dict[str, Any]:
    print(f"{system} ...", flush=True)
    answer = work / f"{system}.json"
    took = measured([*command, str(sets), str(answer)], ROOT, TIMEOUT)
    if took.status or not answer.exists():
        last = took.output.strip().splitlines() or ["no message"]
        return {"note": f"does not run (status {took.status}): {last[-1]}"}
    found: dict[str, Any] = json.loads(answer.read_bytes())
    return found | {"peak_mb": took.peak_mb}


def fill_rows(found: dict[str, Any], sizes: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """How full the rows are, for each set and way, and as full as they can be (`bound`: the last one may be short)."""
    rows = []
    for name, size in sizes.items():
        capacity = int(name.rsplit("-", 1)[1])
        row: dict[str, Any] = {
            "set": name,
            **size,
            "bound": size["tokens"] / (-(-size["tokens"] // capacity) * capacity),
        }
        for system, answer in found.items():
            for way, took in answer.get("sets", {}).get(name, {}).items():
                row[f"{system}, {way}"] = size["tokens"] / (took["rows"] * capacity)
        rows.append(row)
    return rows


def speed_rows(found: dict[str, Any], sizes: dict[str, dict[str, int]], largest: str) -> list[dict[str, Any]]:
    """How fast each way is on the largest set. The ratio is to ours that does the same: lengths, or tokens."""
    ours = {way: took["cpu_seconds"] for way, took in found["raycipe"]["sets"][largest].items()}
    rows = []
    for system, answer in found.items():
        if "note" in answer:
            rows.append({"system": system, "note": answer["note"]})
            continue
        for way, took in answer["sets"][largest].items():
            rows.append(
                {
                    "system": f"{system} {answer['version']}",
                    "way": way,
                    "samples_per_cpu_second": sizes[largest]["samples"] / took["cpu_seconds"],
                    "tokens_per_cpu_second": sizes[largest]["tokens"] / took["cpu_seconds"],
                    "ours_is": took["cpu_seconds"] / ours["tokens" if way.startswith("tokens") else "lengths"],
                    **took,
                }
            )
    return rows


def print_fills(rows: list[dict[str, Any]]) -> None:
    ways = [key for key in rows[0] if ", " in key]
    print(f"\nfill\n{'set':28}{'samples':>10}{'bound':>8}" + "".join(f"{way:>32}" for way in ways))
    for row in rows:
        fills = "".join(f"{row[way]:>32.4f}" for way in ways)
        print(f"{row['set']:28}{row['samples']:>10,}{row['bound']:>8.4f}{fills}")


def print_speeds(rows: list[dict[str, Any]], name: str, size: dict[str, int]) -> None:
    print(f"\nspeed on {name}: {size['samples']:,} samples, {size['tokens'] / 1e6:.0f} million tokens")
    print(f"{'system':20}{'way':28}{'samples/CPU-s':>15}{'Mtokens/CPU-s':>15}{'ours is':>9}{'CPU s':>8}{'wall s':>8}")
    for row in rows:
        if "note" in row:
            print(f"{row['system']:20}{row['note']}")
            continue
        rates = f"{row['samples_per_cpu_second']:>15,.0f}{row['tokens_per_cpu_second'] / 1e6:>15,.0f}"
        times = f"{row['ours_is']:>8.1f}x{row['cpu_seconds']:>8.2f}{row['wall_seconds']:>8.2f}"
        print(f"{row['system']:20}{row['way']:28}{rates}{times}")


if __name__ == "__main__":
    main()
