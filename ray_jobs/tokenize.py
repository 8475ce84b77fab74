"""`raycipe tokenize`: curated documents become packed token shards, one set per training phase."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.artifacts.atomic import atomic_path, write_json
from core.artifacts.fingerprint import code_version, files_identity, fingerprint
from core.artifacts.seeds import derive_seed
from core.artifacts.stage import Stage, read_manifest
from core.documents.mixture import sample
from core.errors import DataError
from core.tokens.options import PhaseData
from core.tokens.samples import SAMPLES, Account, make_samples
from core.tokens.shards import TokenRows, write_rows
from core.tokens.tokenizer import load_tokenizer, train_tokenizer
from ray_jobs.job import Job
from ray_jobs.parallel import each

WORK = ".work"


def tokenize(job: Job) -> dict[str, Any]:
    """Makes the tokenizer and each phase's training and validation rows. Returns the summary."""
    recipe = job.recipe
    curated = job.run_dir / "curate"
    name = recipe.model.tokenizer.name if recipe.model.tokenizer else recipe.model.base
    stage = Stage.open(
        job.run_dir,
        "tokenize",
        recipe={
            "tokenizer": recipe.model.tokenizer and recipe.model.tokenizer.model_dump(mode="json"),
            "base": None if recipe.model.tokenizer else [recipe.model.base, recipe.model.revision],
            "phases": {name: phase.data.model_dump(mode="json") for name, phase in recipe.train.items()},
        },
        seed=recipe.seed,
        code=code_version("core/tokens", "core/documents", "ray_jobs/tokenize.py"),
        inputs={
            "curate": read_manifest(curated)["fingerprint"],  # type: ignore[index]
            "tokenizer": fingerprint(files_identity(Path(str(name)))),
        },
    )
    if stage.manifest is None:
        kind = make_tokenizer(job, curated, stage.directory / "tokenizer")
        phases = {
            name: _tokenize_phase(job, name, phase.data, curated, stage.directory)
            for name, phase in recipe.train.items()
        }
        write_json(stage.directory / "summary.json", {"tokenizer": kind, "phases": phases})
        stage.finish({name: phase["train"] for name, phase in phases.items()}, exclude=(WORK,))
        shutil.rmtree(stage.directory / WORK, ignore_errors=True)
    else:
        job.reporter.say("tokenize: finished earlier")
    summary: dict[str, Any] = orjson.loads((stage.directory / "summary.json").read_bytes())
    return summary


def make_tokenizer(job: Job, curated: Path, directory: Path) -> dict[str, Any]:
    """Trains or loads the recipe's tokenizer and keeps it in `directory`."""
    declared = job.recipe.model.tokenizer
    if declared is not None and declared.train is not None:
        options = declared.train
        if not (directory / "tokenizer.json").exists():
            names = options.sources or list(job.recipe.data.sources)
            job.reporter.say(f"tokenize: training a byte-level BPE tokenizer of {options.vocabulary} entries")
            files = document_files(curated, names)
            tokenizer = train_tokenizer(lambda: map(pq.read_table, files), options.vocabulary, options.characters)
            temporary = directory.with_name(".tokenizer")
            tokenizer.save_pretrained(temporary)
            temporary.rename(directory)
        return {"kind": "trained", "vocabulary": len(load_tokenizer(directory))}
    name, revision = (
        (declared.name, declared.revision) if declared else (job.recipe.model.base, job.recipe.model.revision)
    )
    tokenizer = load_tokenizer(str(name), revision)
    tokenizer.save_pretrained(directory)
    return {"kind": str(name), "vocabulary": len(tokenizer)}


def document_files(curated: Path, sources: list[str]) -> list[Path]:
    """The Parquet files of sources, in the sources' order."""
    return [path for name in sources for path in sorted((curated / "documents" / name).glob("*.parquet"))]


def _tokenize_phase(job: Job, phase: str, options: PhaseData, curated: Path, directory: Path) -> dict[str, Any]:
    files = document_files(curated, options.sources)
    held_out = _held_out(job, phase, options, files)
    work = directory / WORK / phase
    tasks = [{"file": str(path), "part": str(work / f"{number:05d}")} for number, path in enumerate(files)]

    def run(task: dict[str, str]) -> None:
        tokenize_file(Path(task["file"]), Path(task["part"]), directory / "tokenizer", options, held_out)

    with job.reporter.bar(f"tokenize {phase}", len(tasks)) as bar:
        for _ in each(job.session, run, tasks):
            bar.advance()
    result = {}
    for split in ("train", "validation"):
        account = Account()
        for task in tasks:
            account.add(Account(**orjson.loads(Path(f"{task['part']}-account.json").read_bytes())[split]))
        samples = pa.concat_tables([*_parts(tasks, split), SAMPLES.empty_table()])
        path = directory / phase / f"{split}-00000.arrow"
        rows = write_rows(samples, path, options.sequence_length, options.packing)
        result[split] = _counts(account, TokenRows([path]), rows, options.sequence_length)
    if not result["train"]["rows"]:
        raise DataError(
            f"train.{phase}: nothing to learn is left of {', '.join(options.sources)}: {result['train']['documents']} "
            f"documents, refused {result['train']['refused']}. See {curated / 'ledger.json'} for what curation dropped."
        )
    return result


def _held_out(job: Job, phase: str, options: PhaseData, files: list[Path]) -> pa.Array:
    """Ids of the documents that are kept for validation, drawn by seed."""
    ids = pa.concat_arrays(
        [chunk for path in files for chunk in pq.read_table(path, columns=["id"])["id"].chunks]
        or [pa.array([], pa.string())]
    )
    if options.validation and options.validation >= len(ids):
        raise DataError(
            f"train.{phase}.data.validation: {options.validation} documents are to be held out of {len(ids)}; "
            "take fewer, or see curate/ledger.json for what was dropped"
        )
    mask = sample(ids, options.validation, derive_seed(job.recipe.seed, "validation", phase))
    return ids.filter(pa.array(mask))


def tokenize_file(file: Path, part: Path, tokenizer_dir: Path, options: PhaseData, held_out: pa.Array) -> None:
    """One file of documents as samples, `<part>-train.arrow` and `<part>-validation.arrow`, and the account, last."""
    account_path = Path(f"{part}-account.json")
    if account_path.exists():
        return
    tokenizer = load_tokenizer(tokenizer_dir)
    accounts = {"train": Account(), "validation": Account()}
    tables: dict[str, list[pa.Table]] = {"train": [], "validation": []}
    for batch in pq.ParquetFile(file).iter_batches(batch_size=4096):
        documents = pa.Table.from_batches([batch])
        is_held_out = pc.is_in(documents["id"], held_out)
        for split, chosen in (("train", pc.invert(is_held_out)), ("validation", is_held_out)):
            samples, account = make_samples(documents.filter(chosen), tokenizer, options)
            accounts[split].add(account)
            tables[split].append(samples)
    for split, made in tables.items():
        with (
            atomic_path(Path(f"{part}-{split}.arrow")) as path,
            pa.OSFile(str(path), "wb") as sink,
            pa.ipc.new_file(sink, SAMPLES) as writer,
        ):
            for table in made:
                writer.write_table(table)
    write_json(account_path, {split: asdict(account) for split, account in accounts.items()})


def _parts(tasks: list[dict[str, str]], split: str) -> Iterator[pa.Table]:
    for task in tasks:
        with pa.memory_map(f"{task['part']}-{split}.arrow") as source:
            yield pa.ipc.open_file(source).read_all()


def _counts(account: Account, rows: TokenRows, count: int, sequence_length: int) -> dict[str, Any]:
    tokens = int(rows.lengths.sum())
    return {
        **asdict(account),
        "rows": count,
        "sequence_length": sequence_length,
        "tokens": tokens,
        "target_tokens": int(rows.target_tokens.sum()),
        "fill": round(tokens / (count * sequence_length), 5) if count else None,
    }


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("tokenize")
