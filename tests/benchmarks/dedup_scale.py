"""`raycipe dedup` at scale: on Ray beside the same work in one process, growth, and under a cap on memory.

    python -m tests.benchmarks.dedup_scale --work DIR --out FILE.json
    python -m tests.benchmarks.dedup_scale --documents 4000 --copies 2 --sizes 10000 30000 --cap-share 30

Each run is a process of its own (`dedup_task`), whose start is not counted.

ray: the corpus of `dedup_corpus`, eight times with other letters, from Parquet files to written files; wall time on Ray
(its start left out, that of its workers not) over wall time in this process, the same code. Both must write the same
bytes.
growth: generated documents in one process. The exponent is the slope of the logarithm of the time over that of the
number of documents, by least squares.
cap: the corpus once more in one process with RLIMIT_DATA below the size of its text. It counts what the process may
write to and shares with no one: heap, private mappings, stacks of threads, touched or not; not files mapped to read.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.benchmarks.dedup_corpus import corpus
from tests.benchmarks.generated_documents import write_exchanged, write_short
from tests.benchmarks.measured_process import measured

ROOT = Path(__file__).parents[2]
TIMEOUT = 1800  # seconds for one run
LARGE = 100_000  # documents from which on the second exponent is taken
PARTS = ("ray", "growth", "cap")
TOLD = ("fingerprint", "documents", "removed", "clusters", "candidate_pairs", "seconds")
# What idle threads and other allocators reserve without using it, the limit counts too.
FRUGAL = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS), help="what is measured")
    parser.add_argument("--documents", type=int, default=60_000, help="of the corpus, a fifth of them planted")
    parser.add_argument("--copies", type=int, default=8, help="how many times the corpus is taken")
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 30_000, 100_000, 300_000, 1_000_000])
    parser.add_argument("--cap-share", type=float, default=0.5, help="cap on memory as a share of the bytes of text")
    parser.add_argument("--work", type=Path, help="directory for files of some GB, which are deleted in the end")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    arguments = parser.parse_args()

    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=arguments.work) as directory:
        work = Path(directory)
        if "growth" in arguments.parts:
            found["growth"] = growth(work, arguments.sizes)
        if {"ray", "cap"} & set(arguments.parts):
            texts = pa.array(corpus(arguments.documents, arguments.documents // 5), pa.large_string())
            (work / "corpus").mkdir()
            sizes = [
                write_exchanged(texts, copy, work / "corpus" / f"{copy}.parquet") for copy in range(arguments.copies)
            ]
            about = {"documents": len(texts) * arguments.copies, "bytes": sum(sizes)}
            print(f"\n{about['documents']:,} documents, {about['bytes'] / 1e6:,.0f} MB of text", flush=True)
            found["corpus"] = about
            found["here"] = task(work, "corpus", about)
            if "ray" in arguments.parts:
                found["ray"] = on_ray(work, about, found["here"])
            if "cap" in arguments.parts:
                found["cap"] = capped(work, about, found["here"], int(sum(sizes) * arguments.cap_share))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2) + "\n")


def growth(work: Path, sizes: Sequence[int]) -> dict[str, Any]:
    """Time and memory over the number of documents."""
    print(f"{'documents':>12}{'MB':>8}{'CPU s':>8}{'wall s':>8}{'docs/CPU-s':>12}{'peak MB':>9}{'bytes/doc':>11}")
    rows = []
    for documents in sizes:
        (work / "generated").mkdir()
        about = {"documents": documents, "bytes": write_short(documents, work / "generated" / "documents.parquet")}
        row = about | task(work, "generated", about)
        shutil.rmtree(work / "generated")
        rows.append(row)
        if "note" in row:
            print(f"{documents:>12,} {row['note']}", flush=True)
            continue
        line = f"{documents:>12,}{about['bytes'] / 1e6:>8.0f}{row['cpu_seconds']:>8.2f}{row['wall_seconds']:>8.2f}"
        line += f"{documents / row['cpu_seconds']:>12,.0f}{row['peak_mb']:>9,.0f}"
        print(f"{line}{row['peak_mb'] * 1e6 / documents:>11,.0f}", flush=True)
    done = [row for row in rows if "note" not in row]
    found: dict[str, Any] = {"sizes": rows}
    for name, part in (("overall", done), ("large", [row for row in done if row["documents"] >= LARGE])):
        if len(part) > 1:
            found[name] = {key: exponent(part, key) for key in ("cpu_seconds", "wall_seconds")}
            least, most = part[0]["documents"], part[-1]["documents"]
            print(f"exponent {least:,} to {most:,}: CPU {found[name]['cpu_seconds']:.3f}", end="")
            print(f", wall {found[name]['wall_seconds']:.3f}", flush=True)
    if len(done) > 1:
        extra = (done[-1]["peak_mb"] - done[0]["peak_mb"]) * 1e6 / (done[-1]["documents"] - done[0]["documents"])
        found["bytes_per_further_document"] = extra
        print(f"memory per further document: {extra:,.0f} bytes")
    return found


def exponent(rows: Sequence[dict[str, Any]], key: str) -> float:
    """Slope of log time over log documents."""
    documents = np.log([row["documents"] for row in rows])
    return float(np.polyfit(documents, np.log([row[key] for row in rows]), 1)[0])


def on_ray(work: Path, about: dict[str, int], here: dict[str, Any]) -> dict[str, Any]:
    """The same on Ray, and how many times as long it takes."""
    row = task(work, "corpus", about, "--ray")
    row.pop("cpu_seconds", None)  # of the driver alone
    if comparable(row, here):
        row["ratio"] = row["wall_seconds"] / here["wall_seconds"]
        row["same_bytes"] = row["digest"] == here["digest"]
    print_runs({"in this process": here, "on Ray": row})
    if "ratio" in row:
        print(f"Ray takes {row['ratio']:.2f} times as long; the same bytes: {row['same_bytes']}", flush=True)
    return row


def comparable(row: dict[str, Any], here: dict[str, Any]) -> bool:
    """Whether both finished. Raises AssertionError where they were not the same work."""
    if "note" in row or "note" in here:
        return False
    if row["fingerprint"] != here["fingerprint"]:
        raise AssertionError("the code or its options changed between two runs that are compared: measure again")
    return True


def capped(work: Path, about: dict[str, int], here: dict[str, Any], cap: int) -> dict[str, Any]:
    """The same in this process, which may not have as much memory as the text has bytes."""
    row = {"cap": cap} | task(work, "corpus", about, "--cap", str(cap), **FRUGAL)
    if comparable(row, here):
        row["same_bytes"] = row["digest"] == here["digest"]
    print_runs({f"capped at {cap / 1e6:,.0f} MB": row})
    if "same_bytes" in row:
        print(f"the same bytes: {row['same_bytes']}", flush=True)
    return row


def task(work: Path, name: str, about: dict[str, int], *options: str, **environment: str) -> dict[str, Any]:
    """The figures of one run, or why there are none."""
    out = work / "out"
    command = [sys.executable, "-m", "tests.benchmarks.dedup_task", str(work / name), str(out), *options]
    took = measured(command, ROOT, TIMEOUT, environment)
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(work / "out-few", ignore_errors=True)
    lines = [line for line in took.output.splitlines() if line.startswith("{")]
    if took.status or not lines:
        last = took.output.strip().splitlines() or ["no message"]
        return {"note": f"did not finish (status {took.status}): {last[-1]}"}
    told = json.loads(lines[-1])
    found = {name: told["result"][name] for name in TOLD}
    if found["documents"] != about["documents"]:
        raise AssertionError(f"{found['documents']:,} documents were read of {about['documents']:,}")
    return found | {name: told[name] for name in ("wall_seconds", "cpu_seconds", "digest")} | {"peak_mb": took.peak_mb}


def print_runs(rows: dict[str, dict[str, Any]]) -> None:
    for name, row in rows.items():
        if "note" in row:
            print(f"{name:24}{row['note']}")
            continue
        seconds = ", ".join(f"{phase} {taken:.1f}" for phase, taken in row["seconds"].items())
        line = f"{name:24}{row['wall_seconds']:>7.1f} s wall{row['peak_mb']:>8,.0f} MB peak"
        print(f"{line}, {row['removed']:,} removed ({seconds})", flush=True)


if __name__ == "__main__":
    main()
