"""One `raycipe dedup` in a process of its own, for `dedup_scale`: prints what it took and a hash of all that it wrote.

    python -m tests.benchmarks.dedup_task DIRECTORY OUT [--ray] [--cap BYTES]

Ray's start, imports and the loading of compiled code are not in the figures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import shutil
import time
from pathlib import Path

from core.dedup.minhash import MinhashDedup
from ray_jobs.dedup import deduplicate
from ray_jobs.progress import Reporter
from ray_jobs.session import RaySession
from tests.benchmarks.generated_documents import SEED, write_short

FEW = 500  # documents that are deduplicated first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="of Parquet files")
    parser.add_argument("out", type=Path)
    parser.add_argument("--ray", action="store_true", help="on a local Ray, instead of in this process")
    parser.add_argument("--cap", type=int, help="bytes of memory that this process may have of its own (RLIMIT_DATA)")
    arguments = parser.parse_args()
    if arguments.cap:
        resource.setrlimit(resource.RLIMIT_DATA, (arguments.cap, arguments.cap))
    run(arguments.directory, arguments.out, None, few=True)
    session = RaySession() if arguments.ray else None
    if session is not None:
        session.require()
    wall, cpu = time.monotonic(), time.process_time()
    result = run(arguments.directory, arguments.out, session)
    took = {"wall_seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu}
    if session is not None:
        session.close()
    print(json.dumps({"result": result, "digest": digest(arguments.out), **took}))


def run(directory: Path, out: Path, session: RaySession | None, few: bool = False) -> dict[str, object]:
    """The job with the command's own defaults; few: on some documents, which loads what is compiled."""
    if few:
        directory = out.with_name(f"{out.name}-few")
        directory.mkdir(parents=True)
        write_short(FEW, directory / "few.parquet")
        out = directory / "out"
    files = sorted(str(path) for path in directory.glob("*.parquet"))
    result = deduplicate(files, out, MinhashDedup(), "text", None, SEED, False, session, Reporter())
    if few:
        shutil.rmtree(directory)
    return result


def digest(out: Path) -> str:
    """Of all files of rows, names and bytes."""
    found = hashlib.sha256()
    for path in sorted(out.glob("*/*.parquet")):
        found.update(str(path.relative_to(out)).encode())
        with path.open("rb") as file:
            while part := file.read(1 << 20):
                found.update(part)
    return found.hexdigest()


if __name__ == "__main__":
    main()
