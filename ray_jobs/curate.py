"""`raycipe curate`: sources become documents; everything that leaves is kept aside with step and reason.

Steps that judge a document alone run together, in one task per shard. A step that looks at all documents
(deduplication, the mixture) ends a pass: each shard leaves its keys, the step decides from these, and the next pass
carries it out as it reads. Keys travel, text never does.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from core.artifacts.atomic import write_json
from core.artifacts.fingerprint import code_version, files_identity, fingerprint
from core.artifacts.stage import Stage, read_manifest
from core.documents.ledger import READ, Ledger
from core.documents.reading import Shard, input_fingerprint
from core.errors import DataError
from core.instructions.reading import shards
from core.instructions.task_files import task_report, told
from core.recipe.schema import Data, Step
from ray_jobs.curation.barriers.kinds import barrier_of, mixture_of
from ray_jobs.curation.barriers.mixture import MIXTURE
from ray_jobs.curation.passes import Barrier, Corpus, Work
from ray_jobs.curation.prepare import (
    Preparing,
    located,
    named_files,
    other_shards,
    prepare,
    report_contamination,
)
from ray_jobs.curation.shard import run_pass
from ray_jobs.infer import scored_sources, scores_file, wants_scores
from ray_jobs.job import Job
from ray_jobs.parallel import each

CODE = (
    *("core/documents", "core/filters", "core/dedup", "core/instructions"),
    *("ray_jobs/curate.py", "ray_jobs/curation", "ray_jobs/deduplication"),
)


def curate(job: Job) -> dict[str, Any]:
    """Carries out the recipe's steps on its sources. Returns the ledger. Raises DataError where they hold nothing."""
    data, seed, directory = job.recipe.data, job.recipe.seed, job.resolved.directory
    pieces = [shard for name, source in data.sources.items() for shard in shards(name, source, directory)]
    steps = {label: located(step, directory) for label, step in zip(step_labels(data), data.steps, strict=True)}
    # What a step reads for itself: evaluation items, examples.
    others = {label: other_shards(step, directory) for label, step in steps.items()}
    stage = Stage.open(
        job.run_dir,
        "curate",
        # The order of mappings decides which of two duplicates stays; a fingerprint does not see it.
        recipe=data.model_dump(mode="json")
        | {"order": [list(data.sources), *([shard.source for shard in found] for found in others.values())]},
        seed=seed,
        code=code_version(*CODE),
        inputs={
            f"{use} {shard.source}:{shard.number}": input_fingerprint(shard)
            for use, found in {"source": pieces, **others}.items()
            for shard in found
        }
        | {
            f"{label} {path.name}": fingerprint(files_identity(path))
            for label, step in steps.items()
            for path in named_files(step)
        }
        | _infer_fingerprint(job),
    )
    if stage.manifest is None:
        ledger = _curate(job, stage.directory, pieces, steps, others)
        totals = {
            f"{measure}_{what}": sum(source[what][measure] for source in ledger["sources"].values())
            for measure in ("documents", "bytes", "tokens")
            for what in ("read", "kept")
        }
        if not totals["documents_read"]:
            raise DataError(f"the sources hold no documents: {', '.join(data.sources)}")
        stage.finish(totals, exclude=(".work",))
        shutil.rmtree(stage.directory / ".work")
        for line in _told(ledger):
            job.reporter.say(line)
    else:
        job.reporter.say("curate: finished earlier")
    result: dict[str, Any] = orjson.loads((stage.directory / "ledger.json").read_bytes())
    return result


def _curate(
    job: Job, directory: Path, pieces: list[Shard], steps: dict[str, Step], others: dict[str, list[Shard]]
) -> dict[str, Any]:
    data = job.recipe.data
    _tell_tasks(job, directory)
    scores = {name: scores_file(job.run_dir, name) for name in scored_sources(job.recipe)}
    preparing = Preparing(job.recipe.seed, directory, job.reporter, pieces, scores)
    prepared = {label: prepare(step, label, others[label], preparing) for label, step in steps.items()}
    final = _final_files(directory, pieces)
    whole = Ledger()
    before: tuple[Corpus, Barrier] | None = None
    for number, (row_wise, barrier) in enumerate(passes(data, steps, prepared, job.recipe.seed)):
        corpus = Corpus(directory, number, list(data.sources), [shard.source for shard in pieces])
        work = Work(corpus, row_wise, barrier, prepared, job.recipe.seed, before)
        _run(job, work, pieces, final if barrier is None else None)
        for shard in range(len(pieces)):
            whole.add(Ledger.from_json(orjson.loads(corpus.part("ledger", shard, "json").read_bytes())))
        if before is not None:
            for shard in range(len(pieces)):
                before[0].kept(shard).unlink(missing_ok=True)  # read for the last time
        if barrier is not None:
            _decide(job, barrier, corpus)
            before = corpus, barrier
    for label, step in steps.items():
        if step.kind == "decontaminate":
            report_contamination(directory, label, prepared[label])
    write_json(directory / "statistics.json", whole.statistics(data.sources))
    ledger = whole.summary(data.sources, [READ, *steps, *([MIXTURE] if data.mixture is not None else [])])
    write_json(directory / "ledger.json", ledger)
    return ledger


def _infer_fingerprint(job: Job) -> dict[str, str]:
    """What the scores were made from, where a step draws by them."""
    manifest = read_manifest(job.run_dir / "infer") if wants_scores(job.recipe) else None
    return {} if manifest is None else {"infer": manifest["fingerprint"]}


def _tell_tasks(job: Job, directory: Path) -> None:
    """Which tasks of Natural Instructions are taken and why not the others: `natural_instructions/<source>.json`."""
    for name, source in job.recipe.data.sources.items():
        if source.natural_instructions is not None:
            report = task_report(source.natural_instructions, job.resolved.directory)
            write_json(directory / "natural_instructions" / f"{name}.json", report)
            for line in told(name, report):
                job.reporter.say(f"curate {line}")


def _run(job: Job, work: Work, pieces: list[Shard], final: list[Path] | None) -> None:
    def run(number: int) -> None:
        run_pass(work, number, pieces[number], None if final is None else final[number])

    names = [label for label, _ in work.steps] + ([work.barrier.label] if work.barrier else [])
    title = " + ".join([READ, *names] if work.before is None else names) or "write"
    with job.reporter.bar(f"curate: {title}", len(pieces)) as bar:
        for _ in each(job.session, run, list(range(len(pieces)))):
            bar.advance()


def _decide(job: Job, barrier: Barrier, corpus: Corpus) -> None:
    """Lets a barrier decide, unless it has done so before a kill."""
    done = corpus.path("decided.json")
    if not done.exists():
        write_json(done, barrier.decide(job.session, corpus, job.reporter))
    for note in orjson.loads(done.read_bytes()):
        job.reporter.say(note)


def passes(
    data: Data, steps: dict[str, Step], prepared: dict[str, Any], seed: int
) -> Iterator[tuple[list[tuple[str, Step]], Barrier | None]]:
    """The steps, cut after each that looks at all documents; the last pass ends with none."""
    pending: list[tuple[str, Step]] = []
    for label, step in steps.items():
        barrier = barrier_of(label, step, list(data.sources), seed, prepared[label])
        if barrier is None:
            pending.append((label, step))
        else:
            yield pending, barrier
            pending = []
    if data.mixture is not None:
        yield pending, mixture_of(data, seed)
        pending = []
    yield pending, None


def step_labels(data: Data) -> list[str]:
    """Each step's name in the ledger: its kind, numbered where a kind comes again."""
    seen: Counter[str] = Counter()
    labels = []
    for step in data.steps:
        seen[step.kind] += 1
        labels.append(step.kind if seen[step.kind] == 1 else f"{step.kind}#{seen[step.kind]}")
    return labels


def _told(ledger: dict[str, Any]) -> Iterator[str]:
    """What became of each source, in lines."""
    for name, source in ledger["sources"].items():
        kept, read = source["kept"]["documents"], source["read"]["documents"]
        told = [f"{kept:,} of {read:,} documents kept"]
        for word, what in (("dropped", "dropped"), ("edited", "cut")):
            steps = {step["step"]: step[what] for step in source["steps"] if step[what]}
            if steps:
                told.append(f"{word} by " + ", ".join(f"{step} ({_reasons(counts)})" for step, counts in steps.items()))
        yield f"curate {name}: {'; '.join(told)}"


def _reasons(counts: dict[str, Any]) -> str:
    """Documents dropped, or places edited, by reason."""
    return ", ".join(
        f"{reason} {count:,}" if isinstance(count, int) else f"{reason} {count['spans']:,} places"
        for reason, count in counts.items()
    )


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
