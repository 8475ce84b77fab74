"""`raycipe tokenize`: curated documents become packed token shards, one set per training phase."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow.dataset import dataset, field

from core.artifacts.atomic import atomic_path, write_json
from core.artifacts.fingerprint import code_version, files_identity, fingerprint
from core.artifacts.seeds import derive_seed
from core.artifacts.stage import Stage, read_manifest
from core.documents.mixture import sample
from core.errors import DataError
from core.tokens.groups import GROUP_TOKENS, Groups
from core.tokens.options import PhaseData
from core.tokens.samples import SAMPLES, Account, make_samples
from core.tokens.shards import TokenRows, shard_path, write_rows
from core.tokens.tokenizer import load_tokenizer, train_tokenizer
from ray_jobs.job import Job
from ray_jobs.parallel import each

WORK = ".work"
SPLITS = ("train", "validation")
DOCUMENTS_PER_BATCH = 4096


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
    samples_per_document = 2 if _has_pairs(phase, files) else 1
    held_out = _held_out(job, phase, options, files)
    work = directory / WORK / phase
    parts = [work / f"{number:05d}" for number in range(len(files))]

    def tokenized(number: int) -> None:
        tokenize_file(files[number], parts[number], directory / "tokenizer", options, held_out)

    with job.reporter.bar(f"tokenize {phase}", len(parts)) as bar:
        for _ in each(job.session, tokenized, range(len(parts))):
            bar.advance()

    result = _pack_phase(job, phase, options, parts, samples_per_document, directory / phase)
    if not result["train"]["rows"]:
        raise DataError(
            f"train.{phase}: nothing to learn is left of {', '.join(options.sources)}: {result['train']['documents']} "
            f"documents, refused {result['train']['refused']}. See {curated / 'ledger.json'} for what curation dropped."
        )
    return result


def _pack_phase(
    job: Job, phase: str, options: PhaseData, parts: list[Path], samples_per_document: int, directory: Path
) -> dict[str, Any]:
    """The samples of all parts as shards of packed rows, one of each packing group. Returns the splits' counts."""
    accounts = {split: [_read_account(part, split) for part in parts] for split in SPLITS}
    groups = {
        split: Groups.deal(
            [_samples_path(part, split) for part in parts],
            [account.samples for account in accounts[split]],
            sum(account.tokens for account in accounts[split]),
            samples_per_document,
            GROUP_TOKENS,
        )
        for split in SPLITS
    }
    tasks = [(split, number) for split in SPLITS for number in range(groups[split].count)]

    def packed(task: tuple[str, int]) -> None:
        split, number = task
        path = shard_path(directory, split, number)
        if not path.exists():
            samples = groups[split].table(number)
            write_rows(samples, path, options.sequence_length, options.packing, samples_per_document)

    with job.reporter.bar(f"pack {phase}", len(tasks)) as bar:
        for _ in each(job.session, packed, tasks):
            bar.advance()
    return {
        split: _counts(accounts[split], TokenRows.open(directory, split), options.sequence_length, samples_per_document)
        for split in SPLITS
    }


def _has_pairs(phase: str, files: list[Path]) -> bool:
    """Whether the phase learns from preference pairs. Raises DataError where only some of its documents are pairs."""
    pairs, others = 0, 0
    for path in files:
        found = dataset(path).count_rows(filter=field("prompt").is_valid())
        pairs += found
        others += pq.read_metadata(path).num_rows - found
    if pairs and others:
        raise DataError(
            f"train.{phase}.data.sources: {pairs} preference pairs and {others} texts or dialogues, expected one kind; "
            "give the pairs a phase of their own"
        )
    return pairs > 0


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
    if _account_path(part).exists():
        return
    tokenizer = load_tokenizer(tokenizer_dir)
    accounts = {split: Account() for split in SPLITS}
    with contextlib.ExitStack() as stack:
        writers = {split: stack.enter_context(_writer(_samples_path(part, split))) for split in SPLITS}
        for batch in pq.ParquetFile(file).iter_batches(batch_size=DOCUMENTS_PER_BATCH):
            documents = pa.Table.from_batches([batch])
            is_held_out = pc.is_in(documents["id"], held_out)
            for split, chosen in (("train", pc.invert(is_held_out)), ("validation", is_held_out)):
                samples, account = make_samples(documents.filter(chosen), tokenizer, options)
                accounts[split].add(account)
                writers[split].write_table(samples)
    write_json(_account_path(part), {split: asdict(account) for split, account in accounts.items()})


@contextlib.contextmanager
def _writer(path: Path) -> Iterator[pa.RecordBatchFileWriter]:
    """Samples are written to a file that is there only when all are."""
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, SAMPLES) as writer,
    ):
        yield writer


def _samples_path(part: Path, split: str) -> Path:
    return Path(f"{part}-{split}.arrow")


def _account_path(part: Path) -> Path:
    return Path(f"{part}-account.json")


def _read_account(part: Path, split: str) -> Account:
    return Account(**orjson.loads(_account_path(part).read_bytes())[split])


def _counts(
    accounts: list[Account], rows: TokenRows, sequence_length: int, samples_per_document: int
) -> dict[str, Any]:
    whole = Account()
    for account in accounts:
        whole.add(account)
    room = len(rows) * sequence_length * samples_per_document
    return {
        **asdict(whole),
        "rows": len(rows),
        "sequence_length": sequence_length,
        "fill": round(whole.tokens / room, 5) if room else None,
    }


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("tokenize")
