"""Near-deduplication beside other systems: speed, memory, recall and precision on the same documents.

    python -m tests.benchmarks.dedup_systems --documents 60000 --envs DIR --out FILE.json

Every system has an environment of its own below --envs, made here, and runs in a process of its own, which reads one
Parquet file. The truth is every pair at or above the threshold, by brute force (`dedup_corpus`). Of each cluster all
but the first document count as dropped, whichever the system keeps; recall and precision are those of the dropped.

CPU seconds are user and system time of the process and all that it started. Starting, importing and loading compiled
code is left out for all alike: what a run on a few documents takes is taken off. Only the ratios within a run say
something: times vary with the machine and its other users.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.dedup.minhash import MinhashDedup
from tests.benchmarks.dedup_corpus import NGRAM, SEED, corpus, dropped, similar_pairs
from tests.benchmarks.environments import REQUIREMENTS, NotInstalledError, python_of
from tests.benchmarks.measured_process import Measured, measured

ROOT = Path(__file__).parents[2]
THRESHOLD = 0.8  # the runners have it too
FEW = 200  # documents of the run that is taken off
TIMEOUT = 1800  # seconds for one system
REPEATED = 10  # seconds of wall time: what takes less is run three times, of which the least CPU time counts
SURE = 0.3  # CPU seconds above those of the start, from which on a rate says something
VERIFIED = "raycipe, in memory"
WHOLE = "raycipe, files to files"
OURS = {
    "Parquet read alone": "read",
    "read and n-gram hashes": "hashes",
    VERIFIED: "kernel",
    "raycipe, not verified": "unverified",
    WHOLE: "whole",
}


@dataclass(frozen=True)
class Documents:
    """A corpus as a file."""

    path: Path
    count: int
    megabytes: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=10_000, help="documents, with the planted ones")
    parser.add_argument("--planted", type=float, default=0.2, help="share of planted near-duplicates")
    parser.add_argument("--envs", type=Path, required=True, help="directory of the other systems' environments")
    parser.add_argument("--systems", nargs="*", default=list(REQUIREMENTS), help="which others are run")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=arguments.out.absolute().parent if arguments.out else None) as directory:
        work = Path(directory)
        texts = corpus(arguments.documents, int(arguments.documents * arguments.planted))
        truth = dropped(similar_pairs(texts, THRESHOLD), len(texts))
        many = written(texts, work / "many.parquet")
        few = written(corpus(FEW, FEW // 5), work / "few.parquet")
        del texts
        print(f"{many.count:,} documents, {many.megabytes:.1f} MB, {len(truth):,} to drop at {THRESHOLD}", flush=True)
        rows = []
        for name, part in OURS.items():
            rows.append(row_of(name, command_of(part), few, many, truth, work))
        for name in arguments.systems:
            rows.append(theirs(name, arguments.envs, few, many, truth, work))
    with_ratios(rows)
    print_table(rows)
    if arguments.out:
        about: dict[str, Any] = {
            "documents": many.count,
            "megabytes": many.megabytes,
            "to_drop": len(truth),
            "ngram": NGRAM,
        }
        about |= {"threshold": THRESHOLD, "seed": SEED, "banding": list(MinhashDedup(threshold=THRESHOLD).banding)}
        arguments.out.write_text(json.dumps({"corpus": about, "systems": rows}, indent=2) + "\n")


def written(texts: Sequence[str], path: Path) -> Documents:
    """The texts as zstd Parquet with the columns row and text."""
    table = pa.table({"row": range(len(texts)), "text": pa.array(texts, pa.string())})
    pq.write_table(table, path, compression="zstd", row_group_size=10_000)
    return Documents(path, len(texts), sum(len(text.encode()) for text in texts) / 1e6)


Command = Callable[[Documents, Path, Path], list[str]]  # the corpus, the file for its answer, a directory for its own


def command_of(part: str) -> Command:
    def command(documents: Documents, answer: Path, work: Path) -> list[str]:
        module = "tests.benchmarks.systems.run_raycipe"
        return [sys.executable, "-m", module, part, str(documents.path), str(answer), str(work)]

    return command


def theirs(name: str, envs: Path, few: Documents, many: Documents, truth: set[int], work: Path) -> dict[str, Any]:
    try:
        python = python_of(name, envs)
    except NotInstalledError as error:
        return {"system": name, "note": str(error)}
    runner = ROOT / "tests" / "benchmarks" / "systems" / f"run_{name.replace('-', '_')}.py"

    def command(documents: Documents, answer: Path, work: Path) -> list[str]:
        return [str(python), str(runner), str(documents.path), str(answer), str(work)]

    return row_of(name, command, few, many, truth, work)


def row_of(
    name: str, command: Command, few: Documents, many: Documents, truth: set[int], directory: Path
) -> dict[str, Any]:
    """The figures of a system. A first run on the few documents fills caches and compiles what is not compiled yet."""
    print(f"{name} ...", flush=True)
    start: Measured | None = None
    best: Measured | None = None
    for documents in (few, few, many, many, many):
        if best is not None and best.wall_seconds > REPEATED:
            break
        work, answer = directory / "work", directory / "answer.json"
        shutil.rmtree(work, ignore_errors=True)
        answer.unlink(missing_ok=True)
        work.mkdir()
        took = measured(command(documents, answer, work), ROOT, TIMEOUT, {"HF_HOME": str(directory / "hub")})
        if took.status or not answer.exists():
            last = took.output.strip().splitlines() or ["no message"]
            return {"system": name, "note": f"does not run (status {took.status}): {last[-1]}"}
        if documents is few:
            start = took
        elif best is None or took.cpu_seconds < best.cpu_seconds:
            best = took
    assert start is not None and best is not None
    found = json.loads(answer.read_bytes())
    shutil.rmtree(work)
    return {"system": name, "version": found["version"]} | figures(best, start, few, many) | scores(found, many, truth)


def figures(took: Measured, start: Measured, few: Documents, many: Documents) -> dict[str, Any]:
    seconds = took.cpu_seconds - start.cpu_seconds
    sure = seconds >= SURE
    return {
        "documents_per_cpu_second": (many.count - few.count) / seconds if sure else None,
        "mb_per_cpu_second": (many.megabytes - few.megabytes) / seconds if sure else None,
        "cpu_seconds": took.cpu_seconds,
        "start_cpu_seconds": start.cpu_seconds,
        "wall_seconds": took.wall_seconds,
        "peak_mb": took.peak_mb,
    }


def scores(found: dict[str, Any], many: Documents, truth: set[int]) -> dict[str, Any]:
    """Recall and precision of what was dropped; nothing for a part that drops nothing."""
    gone = _dropped_rows(found, many.count)
    if gone is None:
        return {}
    hits = len(truth & gone)
    return {"dropped": len(gone), "recall": hits / max(len(truth), 1), "precision": hits / max(len(gone), 1)}


def _dropped_rows(found: dict[str, Any], documents: int) -> set[int] | None:
    if "dropped" in found:
        return set(found["dropped"])
    if "kept" in found:
        return set(range(documents)) - set(found["kept"])
    if "pairs" in found:
        return dropped(np.array(found["pairs"], np.int64).reshape(-1, 2), documents)
    if "clusters" in found:
        first: dict[int, int] = {}
        pairs = [(first.setdefault(cluster, row), row) for row, cluster in found["clusters"]]
        return dropped(np.array(pairs, np.int64).reshape(-1, 2), documents)
    return None


def with_ratios(rows: list[dict[str, Any]]) -> None:
    """How many times as many documents per CPU-second ours handle, in memory and from files to files."""
    rates = {row["system"]: row.get("documents_per_cpu_second") for row in rows}
    for row in rows:
        for name, key in ((VERIFIED, "ratio"), (WHOLE, "ratio_whole")):
            ours, rate = rates[name], rates[row["system"]]
            if ours and rate:
                row[key] = ours / rate


COLUMNS = (
    ("documents_per_cpu_second", ",.0f", 11),
    ("mb_per_cpu_second", ".1f", 10),
    ("ratio", ".2f", 14),
    ("ratio_whole", ".2f", 13),
    ("cpu_seconds", ".1f", 8),
    ("start_cpu_seconds", ".1f", 7),
    ("wall_seconds", ".1f", 8),
    ("peak_mb", ",.0f", 9),
    ("recall", ".4f", 8),
    ("precision", ".4f", 11),
)


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    head = f"{'system':26}{'docs/CPU-s':>11}{'MB/CPU-s':>10}{'ours, memory':>14}{'ours, files':>13}"
    print(f"\n{head}{'CPU s':>8}{'start':>7}{'wall s':>8}{'peak MB':>9}{'recall':>8}{'precision':>11}")
    for row in rows:
        name = f"{row['system']} {'' if row['system'] in OURS else row.get('version', '')}"
        if "note" in row:
            print(f"{name:26}{row['note']}")
            continue
        line = f"{name:26}"
        for key, form, width in COLUMNS:
            line += f"{row[key]:>{width}{form}}" if row.get(key) else f"{'–':>{width}}"
        print(line)


if __name__ == "__main__":
    main()
