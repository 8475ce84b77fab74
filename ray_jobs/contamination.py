"""`raycipe contamination`: which questions of a run's evaluation its training has seen, and the scores without them."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from core.artifacts.atomic import atomic_path, write_bytes, write_json
from core.artifacts.fingerprint import code_version, files_identity, fingerprint
from core.artifacts.stage import Stage, read_manifest
from core.documents.table import content
from core.errors import DataError, RecipeError
from core.evaluation.contamination import (
    CLEAN_BELOW,
    DIRTY_FROM,
    NGRAM,
    ItemIndex,
    Subsets,
    own_parts,
    question_and_answer,
    read_items,
    subset_score,
    subsets,
)
from core.evaluation.paired import question_scores
from core.recipe.resolve import load_recipe
from core.tokens.shards import TokenRows
from ray_jobs.contamination_table import print_contamination
from ray_jobs.evaluate import model_dirs
from ray_jobs.job import Job, open_job
from ray_jobs.memorisation import Memorisation
from ray_jobs.parallel import each
from ray_jobs.tokenize import document_files

WORK = ".work"
DOCUMENTS_PER_BATCH = 4096
Samples = dict[str, dict[int, dict[str, Any]]]  # lm-eval's, by task and doc_id


@dataclass(frozen=True)
class Asked:
    """Which tests of the models a user asks for; None: not that one."""

    min_k: float | None = None  # percent
    neighbours: str | None = None  # the reference model

    def __post_init__(self) -> None:
        if self.min_k is not None and not 0 < self.min_k <= 100:
            raise RecipeError(f"--min-k: found {self.min_k:g}, expected more than 0 and at most 100 percent")


def contamination(
    recipe: str,
    overrides: list[str] | None,
    scale: str | None,
    runs_dir: Path,
    run_name: str | None,
    asked: Asked,
    address: str | None,
    as_json: bool,
) -> None:
    """Examines a finished run, and prints what `contamination.json` of it has."""
    resolved = load_recipe(recipe, scale, overrides)
    with open_job(resolved, runs_dir, run_name, address, keep_recipe=True) as job:
        found = examine(job, asked)
        if as_json:
            print(json.dumps({"run": str(job.run_dir), **found}))
        else:
            print_contamination(found)


def examine(job: Job, asked: Asked) -> dict[str, Any]:
    """Searches what every trained phase learned from for every item of the evaluation. Returns what was found.

    Raises DataError where a stage is not finished, ResourceError where the reference model cannot be had.
    """
    inputs = {name: manifest["fingerprint"] for name, manifest in _finished(job).items()}
    stage = Stage.open(
        job.run_dir,
        "contamination",
        recipe=asdict(asked),
        seed=job.recipe.seed,
        code=code_version(
            "core/evaluation", "core/dedup", "core/models", "ray_jobs/contamination.py", "ray_jobs/memorisation.py"
        ),
        inputs=inputs | {"reference": fingerprint(files_identity(Path(asked.neighbours)) if asked.neighbours else [])},
    )
    path = stage.directory / "contamination.json"
    if stage.manifest is None:
        models, samples = _evaluated(job)
        result, chosen = _overlap(job, stage, models, samples)
        if asked.min_k is not None or asked.neighbours is not None:
            texts = {
                task: {str(item): question_and_answer(sample) for item, sample in items.items()}
                for task, items in samples.items()
            }
            places = model_dirs(job, models, stage)
            places = {model: places[model] for model in models}
            work = stage.directory / WORK
            tests = Memorisation(work, places, texts, job.recipe.seed, asked.min_k, asked.neighbours)
            result |= tests.run(job, chosen)
        write_json(path, result)
        stage.finish({"items": sum(map(len, samples.values()))}, exclude=(WORK,))
        shutil.rmtree(stage.directory / WORK, ignore_errors=True)
    else:
        job.reporter.say("contamination: found earlier")
    found: dict[str, Any] = orjson.loads(path.read_bytes())
    return found


def _finished(job: Job) -> dict[str, dict[str, Any]]:
    """The manifests of what is read. Raises DataError, with the command that is to be given first."""
    stages = ["curate", "tokenize", "evaluate", *(f"train/{name}" for name in _trained(job))]
    found = {stage: read_manifest(job.run_dir / stage) for stage in stages}
    for stage, manifest in found.items():
        if manifest is None:
            command = f"raycipe {stage.split('/')[0]} {job.resolved.tree.path.stem}"
            raise DataError(f"{job.run_dir / stage}: not finished; do `{command}` first")
    return {stage: manifest for stage, manifest in found.items() if manifest is not None}


def _trained(job: Job) -> list[str]:
    """The run's phases, whatever the recipe says now: in its order, where it has them."""
    there = sorted(path.name for path in (job.run_dir / "train").glob("*") if path.is_dir())
    order = list(job.recipe.train)
    return sorted(there, key=lambda name: order.index(name) if name in order else len(order))


def _sources(job: Job, phase: str) -> list[str]:
    """What a phase was trained on, whatever the recipe says now."""
    manifest = read_manifest(job.run_dir / "train" / phase)
    assert manifest is not None
    return list(manifest["recipe"]["phase"]["data"]["sources"])


def _evaluated(job: Job) -> tuple[list[str], Samples]:
    """The models, and the items that all of them were asked. Raises DataError where samples are missing."""
    directory = job.run_dir / "evaluate"
    scores = orjson.loads((directory / "scores.json").read_bytes())
    models, tasks = scores["models"], list(dict.fromkeys(score["task"] for score in scores["scores"]))
    for path in (_samples(job, model, task) for model in models for task in tasks):
        if not path.exists():
            command = f"raycipe evaluate {job.resolved.tree.path.stem}"
            raise DataError(f"{path}: no such file; delete {directory} and do `{command}` again")
    return models, {task: read_items(_samples(job, models[0], task)) for task in tasks}


def _samples(job: Job, model: str, task: str) -> Path:
    return job.run_dir / "evaluate" / "samples" / model / f"{task}.jsonl"


def _overlap(job: Job, stage: Stage, models: list[str], samples: Samples) -> tuple[dict[str, Any], dict[str, Subsets]]:
    """Tasks with their dirty items, scores on all, clean and dirty items; and which items those are, by task."""
    parts = [parts for items in samples.values() for parts in own_parts([each["doc"] for each in items.values()])]
    index = ItemIndex.build(parts)
    documents, seen, holders = _search(job, index, stage.directory / WORK)
    of_phases = {phase: _by_task(index.shares(of_phase), samples) for phase, of_phase in seen.items()}
    shares = index.shares(np.logical_or.reduce([np.zeros(len(index.known.hashes), np.bool_), *seen.values()]))
    _write_items(stage.directory / "items.jsonl", index, shares, holders, samples)
    of_task = _by_task(shares, samples)
    chosen = {task: subsets(found) for task, found in of_task.items()}
    return {
        "rule": {"ngram": NGRAM, "clean_below": CLEAN_BELOW, "dirty_from": DIRTY_FROM},
        "models": models,
        "documents": documents,
        "tasks": [
            {
                "task": task,
                "items": len(found),
                "too_short": sum(map(math.isnan, found.values())),
                "clean": len(chosen[task]["clean"]),
                "dirty": len(chosen[task]["dirty"]),
                "dirty_by_phase": {phase: len(subsets(of[task])["dirty"]) for phase, of in of_phases.items()},
            }
            for task, found in of_task.items()
        ],
        "scores": [
            {"task": task, "metric": metric, "filter": name, "model": model}
            | {subset: subset_score(scores, items) for subset, items in chosen[task].items()}
            for task in samples
            for model in models
            for (metric, name), scores in question_scores(_samples(job, model, task)).items()
        ],
    }, chosen


def _search(
    job: Job, index: ItemIndex, work: Path
) -> tuple[dict[str, int], dict[str, NDArray[np.bool_]], dict[int, str]]:
    """How many documents each phase learned from, which sequences of the index they hold, and the first holder of each.

    Of a phase's documents those that it is validated with are left out; those that it did not get to are not.
    """
    pieces: list[dict[str, Any]] = [
        {"phase": phase, "number": number, "path": str(path)}
        for phase in _trained(job)
        for number, path in enumerate(document_files(job.run_dir / "curate", _sources(job, phase)))
    ]
    search = _Search(index, work, {phase: _held_out(job.run_dir / "tokenize" / phase) for phase in _trained(job)})
    with job.reporter.bar("contamination: documents", len(pieces)) as bar:
        for _ in each(job.session, search, pieces):
            bar.advance()
    documents = dict.fromkeys(_trained(job), 0)
    seen = {phase: np.zeros(len(index.known.hashes), np.bool_) for phase in documents}
    holders: dict[int, str] = {}
    for piece in pieces:
        found = pq.read_table(search.result(piece))
        documents[piece["phase"]] += int(found.schema.metadata[b"documents"])
        seen[piece["phase"]][found["entry"].to_numpy()] = True
        for entry, name in zip(found["entry"].to_pylist(), found["document"].to_pylist(), strict=True):
            holders.setdefault(entry, name)
    return documents, seen, holders


def _held_out(directory: Path) -> pa.Array:
    """The ids of the documents that a phase is validated with."""
    rows = TokenRows.open(directory, "validation")
    return pa.array(sorted({name for number in range(len(rows)) for name in rows.documents(number)}), pa.string())


class _Search:
    """Searches a file of documents for all items; one whose result is on disk is not searched again."""

    def __init__(self, index: ItemIndex, work: Path, held_out: dict[str, pa.Array]) -> None:
        self.index, self.work, self.held_out = index, work, held_out

    def result(self, piece: dict[str, Any]) -> Path:
        return self.work / "documents" / str(piece["phase"]) / f"{piece['number']:05d}.parquet"

    def __call__(self, piece: dict[str, Any]) -> str:
        if not self.result(piece).exists():
            holders: dict[int, str] = {}
            count = 0
            for batch in pq.ParquetFile(piece["path"]).iter_batches(batch_size=DOCUMENTS_PER_BATCH):
                documents = pa.Table.from_batches([batch])
                documents = documents.filter(pc.invert(pc.is_in(documents["id"], self.held_out[piece["phase"]])))
                entries, rows = self.index.search(content(documents))
                names = documents["id"].take(pa.array(rows)).to_pylist()
                for entry, name in zip(entries.tolist(), names, strict=True):
                    holders.setdefault(entry, name)
                count += documents.num_rows
            columns = [pa.array(holders.keys(), pa.int64()), pa.array(holders.values(), pa.string())]
            table = pa.table(columns, ["entry", "document"], metadata={"documents": str(count)})
            with atomic_path(self.result(piece)) as path:
                pq.write_table(table, path)
        return str(piece["path"])


def _by_task(values: NDArray[np.float64], samples: Samples) -> dict[str, dict[int, float]]:
    """Values of all items, one task's behind the other's, by task and `doc_id`."""
    rest = iter(values.tolist())
    return {task: {item: next(rest) for item in items} for task, items in samples.items()}


def _write_items(
    path: Path, index: ItemIndex, shares: NDArray[np.float64], holders: dict[int, str], samples: Samples
) -> None:
    """A line for each item of which anything was seen, with a document that has much of it."""
    names = [(task, item) for task, items in samples.items() for item in items]
    lines = []
    for (task, item), share, entries in zip(names, shares.tolist(), index.sequences_of(), strict=True):
        if share > 0:
            [(document, _)] = Counter(holders[n] for n in entries.tolist() if n in holders).most_common(1)
            row = {"task": task, "doc_id": item, "seen": share, "document": document}
            lines.append(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    write_bytes(path, b"".join(lines))


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("contamination")
