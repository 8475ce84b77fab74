"""`raycipe curate`: sources become documents; every document that leaves is kept aside with step and reason.

Steps that judge a document alone run together, in one task per shard. A step that looks at all documents
(deduplication, the mixture) ends a pass: each shard leaves its keys, the driver decides which rows go, and the
next pass drops them as it reads. Keys travel, text never does.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from core.artifacts.atomic import write_json
from core.artifacts.fingerprint import code_version
from core.artifacts.stage import Stage
from core.dedup.decontaminate import Decontaminate, EvaluationIndex
from core.documents.ledger import READ, Ledger
from core.documents.reading import Shard, input_fingerprint, read_shard, shards
from core.documents.table import content
from core.errors import DataError
from core.recipe.schema import Data, Step
from ray_jobs.curate_barriers import decide
from ray_jobs.curate_shard import Pass, Work, run_pass
from ray_jobs.job import Job
from ray_jobs.parallel import each

BARRIERS = ("exact_dedup", "minhash_dedup")
MIXTURE = "mixture"
MODULES = ("ray_jobs/curate.py", "ray_jobs/curate_shard.py", "ray_jobs/curate_barriers.py")


def curate(job: Job) -> dict[str, Any]:
    """Carries out the recipe's steps on its sources. Returns the ledger. Raises DataError where they hold nothing."""
    data, seed, directory = job.recipe.data, job.recipe.seed, job.resolved.directory
    pieces = [shard for name, source in data.sources.items() for shard in shards(name, source, directory)]
    labels = step_labels(data)
    against = {
        label: [
            shard
            for name, source in step.options.against.items()
            for shard in shards(name, source, directory, split="heldout")
        ]
        for label, step in zip(labels, data.steps, strict=True)
        if isinstance(step.options, Decontaminate)
    }
    # The order of mappings decides which of two duplicates stays; a fingerprint does not see it.
    orders = {"sources": data.sources} | {
        label: step.options.against for label, step in zip(labels, data.steps, strict=True) if label in against
    }
    stage = Stage.open(
        job.run_dir,
        "curate",
        recipe=data.model_dump(mode="json") | {"order": {name: list(found) for name, found in orders.items()}},
        seed=seed,
        code=code_version("core/documents", "core/filters", "core/dedup", *MODULES),
        inputs={
            f"{use} {shard.source}:{shard.number}": input_fingerprint(shard)
            for use, found in {"source": pieces, **against}.items()
            for shard in found
        },
    )
    if stage.manifest is None:
        indexes = {
            label: _evaluation_index(job, step.options, against[label])
            for label, step in zip(labels, data.steps, strict=True)
            if label in against
        }
        ledger = _curate(job, stage.directory, pieces, labels, indexes)
        write_json(stage.directory / "ledger.json", ledger)
        counts = {
            f"documents_{what}": sum(source[what]["documents"] for source in ledger["sources"].values())
            for what in ("read", "kept")
        }
        if not counts["documents_read"]:
            raise DataError(f"the sources hold no documents: {', '.join(data.sources)}")
        stage.finish(counts, exclude=(".work",))
        shutil.rmtree(stage.directory / ".work")
        for line in _told(ledger):
            job.reporter.say(line)
    else:
        job.reporter.say("curate: finished earlier")
    result: dict[str, Any] = orjson.loads((stage.directory / "ledger.json").read_bytes())
    return result


def _told(ledger: dict[str, Any]) -> Iterator[str]:
    """What became of each source, in lines."""
    for name, source in ledger["sources"].items():
        kept, read = source["kept"]["documents"], source["read"]["documents"]
        drops = []
        for step in source["steps"]:
            why = ", ".join(f"{reason} {count:,}" for reason, count in step["dropped"].items())
            if why:
                drops.append(f"{step['step']} ({why})")
        yield f"curate {name}: {kept:,} of {read:,} documents kept" + (
            f"; dropped by {', '.join(drops)}" if drops else ""
        )


def step_labels(data: Data) -> list[str]:
    """Each step's name in the ledger: its kind, numbered where a kind comes again."""
    seen: Counter[str] = Counter()
    labels = []
    for step in data.steps:
        seen[step.kind] += 1
        labels.append(step.kind if seen[step.kind] == 1 else f"{step.kind}#{seen[step.kind]}")
    return labels


def passes(data: Data, labels: list[str]) -> Iterator[Pass]:
    """The steps, cut after each that looks at all documents; the last pass ends with none."""
    number, pending = 0, list[tuple[str, Step]]()
    for label, step in zip(labels, data.steps, strict=True):
        if step.kind in BARRIERS:
            yield Pass(number, pending, (label, step))
            number, pending = number + 1, []
        else:
            pending.append((label, step))
    if data.mixture is not None:
        yield Pass(number, pending, (MIXTURE, None))
        number, pending = number + 1, []
    yield Pass(number, pending, None)


def _evaluation_index(job: Job, options: Decontaminate, found: list[Shard]) -> EvaluationIndex:
    """All evaluation items, which every task is sent."""
    ids: list[str] = []
    items = []
    for shard in found:
        for documents, _ in read_shard(shard, job.recipe.seed):
            ids += documents["id"].to_pylist()
            items.append(content(documents))
    index = EvaluationIndex.build(ids, pa.concat_arrays(items or [pa.array([], pa.large_string())]), options)
    if index.too_short:
        least = f"fewer than {options.minimum} words"
        job.reporter.say(
            f"decontaminate: {index.too_short:,} of {len(ids):,} items have {least} and are not searched for"
        )
    return index


def _curate(
    job: Job, directory: Path, pieces: list[Shard], labels: list[str], indexes: dict[str, EvaluationIndex]
) -> dict[str, Any]:
    data = job.recipe.data
    final = _final_files(directory, pieces)
    whole = Ledger()
    for current in passes(data, labels):
        work = Work(current, directory, job.recipe.seed, indexes)
        tasks = list(range(len(pieces)))

        def run(number: int, work: Work = work) -> None:
            run_pass(work, number, pieces[number], final[number] if work.current.barrier is None else None)

        names = [label for label, _ in current.steps] + ([current.barrier[0]] if current.barrier else [])
        title = " + ".join([READ, *names] if current.number == 0 else names) or "write"
        with job.reporter.bar(f"curate: {title}", len(tasks)) as bar:
            for _ in each(job.session, run, tasks):
                bar.advance()
        for number in tasks:
            whole.add(Ledger.from_json(orjson.loads(work.part("ledger", number, "json").read_bytes())))
        if current.barrier is not None:
            for note in decide(job.session, work, pieces, data):
                job.reporter.say(note)
    steps = [READ, *labels] + ([MIXTURE] if data.mixture is not None else [])
    return whole.summary(data.sources, steps)


def _final_files(directory: Path, pieces: list[Shard]) -> list[Path]:
    """Where each shard's documents end: numbered within their source."""
    counts: Counter[str] = Counter()
    files = []
    for shard in pieces:
        files.append(directory / "documents" / shard.source / f"part-{counts[shard.source]:05d}.parquet")
        counts[shard.source] += 1
    return files


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("curate")
