"""`raycipe infer`: the base model answers every instance of Natural Instructions' selected tasks, few-shot.

What it scores decides what the step `sample_by_score` draws (Birbal). The work is cut into pieces of a task; a piece
that is finished is on disk and is not asked again after a kill.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.artifacts.atomic import atomic_path, write_json
from core.artifacts.fingerprint import code_version
from core.artifacts.stage import Stage
from core.documents.reading import input_fingerprint
from core.errors import RecipeError, ResourceError
from core.instructions.answer_scores import SCORED, score_continuations
from core.instructions.few_shot import FewShot, few_shot_prompts
from core.instructions.natural_instructions import read_task, task_name
from core.instructions.reading import read_shard, shards, task_files_of
from core.instructions.task_documents import task_documents
from core.instructions.task_selection import NaturalInstructions
from core.recipe.schema import Recipe
from core.training.phase import Start
from ray_jobs.base import model_fingerprint
from ray_jobs.job import Job
from ray_jobs.parallel import each, each_prepared

WORK = ".work"
PIECE = 1_000  # instances
STOP = "\n\n"


def wants_scores(recipe: Recipe) -> bool:
    """Whether a step of the recipe draws by scores that this stage makes."""
    return any(step.kind == "sample_by_score" and step.options.scores is None for step in recipe.data.steps)


def scored_sources(recipe: Recipe) -> dict[str, NaturalInstructions]:
    """The sources that are scored."""
    found = {
        name: source.natural_instructions
        for name, source in recipe.data.sources.items()
        if source.natural_instructions is not None
    }
    wanted = recipe.infer.sources if recipe.infer else None
    return {name: options for name, options in found.items() if wanted is None or name in wanted}


def scores_file(run_dir: Path, source: str) -> Path:
    """Where the scores of a source are, as SCORED."""
    return run_dir / "infer" / "scores" / f"{source}.parquet"


def check_inference(job: Job) -> None:
    """What is needed, before anything starts. Raises RecipeError or ResourceError."""
    options = job.recipe.infer
    if options is None:
        raise RecipeError(f"{job.resolved.tree.path}: infer says how instructions are scored, and is not there")
    if options.backend == "vllm":
        if importlib.util.find_spec("vllm") is None:
            raise ResourceError(
                "infer.backend: vllm, which is not installed; pip install 'raycipe[vllm]', or take transformers"
            )
        if job.recipe.model.base is None:
            raise RecipeError(
                "infer.backend: vllm needs model.base; a model made from model.config goes by transformers"
            )


def infer(job: Job) -> dict[str, Any]:
    """Scores every instance of the sources. Returns the summary."""
    options = job.recipe.infer
    assert options is not None
    sources = scored_sources(job.recipe)
    found = {name: shards(name, job.recipe.data.sources[name], job.resolved.directory) for name in sources}
    stage = Stage.open(
        job.run_dir,
        "infer",
        recipe={
            "infer": options.model_dump(mode="json"),
            "sources": {name: of.model_dump(mode="json") for name, of in sources.items()},
            "device": job.recipe.resources.device,
        },
        seed=job.recipe.seed,
        code=code_version("core/instructions", "core/models", "ray_jobs/infer.py"),
        inputs={"model": model_fingerprint(job.recipe)}
        | {f"{name}:{shard.number}": input_fingerprint(shard) for name, of in found.items() for shard in of},
    )
    if stage.manifest is None:
        files = {name: task_files_of(of) for name, of in found.items()}
        make_tokenizer(job, found, stage.directory)
        scoring = Scoring(job.recipe, options, sources, stage.directory)
        pieces = _pieces(job, scoring, files)
        _score(job, scoring, [piece for piece in pieces if not piece.result(stage.directory).exists()], pieces)
        counts = {name: _gather(stage.directory, name, [p for p in pieces if p.source == name]) for name in sources}
        write_json(stage.directory / "summary.json", counts)
        stage.finish(counts, exclude=(WORK,))
        shutil.rmtree(stage.directory / WORK, ignore_errors=True)
    else:
        job.reporter.say("infer: finished earlier")
    summary: dict[str, Any] = orjson.loads((stage.directory / "summary.json").read_bytes())
    for name, counted in summary.items():
        for scoring_name, of in counted["scoring"].items():
            job.reporter.say(
                f"infer {name}: {scoring_name}: {of['instances']:,} instances of {of['tasks']:,} tasks, "
                f"{of['scored']:,} scored, mean {of['mean'] or 0:.3f}"
            )
    return summary


def make_tokenizer(job: Job, found: dict[str, Any], directory: Path) -> None:
    """Trains the tokenizer of a model that the recipe makes, on the sources' own documents: none are curated yet."""
    declared = job.recipe.model.tokenizer
    if declared is None or declared.train is None or _tokenizer_dir(directory).exists():
        return
    from core.tokens.tokenizer import train_tokenizer

    def documents() -> Iterator[pa.Table]:
        for shard in (shard for of in found.values() for shard in of):
            yield from (made for made, _ in read_shard(shard, job.recipe.seed))

    tokenizer = train_tokenizer(documents, declared.train.vocabulary, declared.train.characters)
    temporary = directory / ".tokenizer"
    tokenizer.save_pretrained(temporary)
    temporary.rename(_tokenizer_dir(directory))


def _tokenizer_dir(directory: Path) -> Path:
    return directory / "tokenizer"


@dataclass(frozen=True)
class Piece:
    """Instances begin to end of a task."""

    source: str
    path: str
    begin: int
    end: int

    def result(self, directory: Path) -> Path:
        """Where its scores go."""
        return directory / WORK / self.source / f"{task_name(Path(self.path))}-{self.begin:06d}.parquet"


@dataclass(frozen=True)
class Scoring:
    """What every worker is told."""

    recipe: Recipe
    options: FewShot
    sources: dict[str, NaturalInstructions]
    directory: Path

    def tokenizer(self) -> Any:
        """The base model's tokenizer."""
        from core.tokens.tokenizer import load_tokenizer

        declared = self.recipe.model.tokenizer
        if declared is not None and declared.train is not None:
            return load_tokenizer(_tokenizer_dir(self.directory))
        if declared is not None:
            return load_tokenizer(str(declared.name), declared.revision)
        return load_tokenizer(str(self.recipe.model.base), self.recipe.model.revision)

    def prompts(self, piece: Piece, tokenizer: Any, longest: int) -> tuple[pa.Table, list[list[int]]]:
        """PROMPTS of a piece, and the tokens of each; longest: tokens of a prompt."""
        from core.models.generation import prompt_tokens

        task = read_task(Path(piece.path))
        made = task_documents(task, self.sources[piece.source], piece.source, self.recipe.seed)

        def fits(prompt: str) -> bool:
            return len(prompt_tokens(tokenizer, [prompt])[0]) <= longest

        instances = made.instances[piece.begin : piece.end]
        prompts = few_shot_prompts(task, instances, made.scoring, self.options, fits)
        return prompts, prompt_tokens(tokenizer, prompts["prompt"].to_pylist())

    def longest_prompt(self, model_length: int | None) -> int:
        """In tokens. Raises RecipeError where nothing is left of the model's length."""
        given = self.options.max_prompt_tokens
        if model_length is None:
            return given or 1 << 30
        left = model_length - self.options.max_new_tokens
        if left < 1:
            raise RecipeError(
                f"infer.max_new_tokens: {self.options.max_new_tokens} of the model's {model_length} tokens leave "
                "nothing for a prompt"
            )
        return min(left, given or left)


def _pieces(job: Job, scoring: Scoring, files: dict[str, list[Path]]) -> list[Piece]:
    """The work, the largest pieces first."""
    wanted = [{"source": name, "path": str(path)} for name, of in files.items() for path in of]

    def counted(task: dict[str, str]) -> dict[str, Any]:
        name, path = task["source"], task["path"]
        made = task_documents(read_task(Path(path)), scoring.sources[name], name, scoring.recipe.seed)
        return {**task, "instances": len(made.instances)}

    made = []
    with job.reporter.bar("infer: read tasks", len(wanted)) as bar:
        for found in each(job.session, counted, wanted):
            bar.advance()
            count = int(found["instances"])
            for begin in range(0, count, PIECE):
                made.append(Piece(found["source"], found["path"], begin, min(count, begin + PIECE)))
    return sorted(made, key=lambda piece: (piece.begin - piece.end, piece.source, piece.path, piece.begin))


def _score(job: Job, scoring: Scoring, left: list[Piece], pieces: list[Piece]) -> None:
    with job.reporter.bar("infer", sum(piece.end - piece.begin for piece in pieces)) as bar:
        done = sum(piece.end - piece.begin for piece in pieces) - sum(piece.end - piece.begin for piece in left)
        bar.at(done)
        if scoring.options.backend == "vllm":
            from ray_jobs.inference.vllm_backend import score_by_vllm

            results: Iterator[int] = score_by_vllm(job, scoring, left)
        else:
            results = _score_by_transformers(job, scoring, left)
        for count in results:
            done += count
            bar.at(done)


def _score_by_transformers(job: Job, scoring: Scoring, pieces: list[Piece]) -> Iterator[int]:
    resources = job.session.require() if pieces else {}
    wanted = job.recipe.resources
    use_gpu = wanted.device != "cpu" and resources.get("GPU", 0) > 0
    cpus = wanted.cpus_per_worker
    room = int(resources["GPU"]) if use_gpu else int(resources.get("CPU", 1) // cpus)
    workers = max(1, room if wanted.workers == "auto" else min(wanted.workers, room))

    def prepare() -> Callable[[dict[str, Any]], int]:
        worker = _Worker(scoring, "cuda" if use_gpu else "cpu", cpus)
        return lambda task: worker.score(Piece(**task))

    tasks = [asdict(piece) for piece in pieces]
    yield from each_prepared(job.session, prepare, tasks, workers, cpus, 1 if use_gpu else 0)


class _Worker:
    """Holds the model, on one device."""

    def __init__(self, scoring: Scoring, device: str, cpus: int) -> None:
        import torch

        if device == "cpu":
            torch.set_num_threads(cpus)
        self.scoring = scoring
        self.tokenizer = scoring.tokenizer()
        start = Start(scoring.recipe.model, None, scoring.recipe.seed)
        self.model = start.load(self.tokenizer, device)
        if device != "cpu":
            self.model = self.model.to(torch.bfloat16)
        self.longest = scoring.longest_prompt(getattr(self.model.config, "max_position_embeddings", None))

    def score(self, piece: Piece) -> int:
        """Asks and scores a piece; returns how many instances that were."""
        from core.models.generation import continuations

        options = self.scoring.options
        prompts, tokens = self.scoring.prompts(piece, self.tokenizer, self.longest)
        texts: list[str | None] = [None] * len(tokens)
        asked = [number for number, ids in enumerate(tokens) if len(ids) <= self.longest]
        answers = continuations(
            self.model,
            self.tokenizer,
            [tokens[number] for number in asked],
            max_new_tokens=options.max_new_tokens,
            stop=STOP,
            batch_size=options.batch_size,
        )
        for place, text in answers:
            texts[asked[place]] = text
        write_piece(piece, self.scoring.directory, prompts, texts)
        return piece.end - piece.begin


def write_piece(piece: Piece, directory: Path, prompts: pa.Table, texts: list[str | None]) -> None:
    """Scores what was written after each of a piece's PROMPTS, and keeps it."""
    with atomic_path(piece.result(directory)) as path:
        pq.write_table(score_continuations(prompts, texts), path, compression="zstd")


def _gather(directory: Path, source: str, pieces: list[Piece]) -> dict[str, Any]:
    """The pieces of a source as one file, in the order of tasks and instances, and counts of it."""
    counts: dict[str, dict[str, Any]] = {}
    with (
        atomic_path(scores_file(directory.parent, source)) as path,
        pq.ParquetWriter(path, SCORED, compression="zstd") as writer,
    ):
        for piece in sorted(pieces, key=lambda piece: (piece.path, piece.begin)):
            table = pq.read_table(piece.result(directory)).cast(SCORED)
            writer.write_table(table)
            for scoring in pc.unique(table["scoring"]).to_pylist():
                of = table.filter(pc.equal(table["scoring"], scoring))
                entry = counts.setdefault(scoring, {"tasks": set(), "instances": 0, "scored": 0, "sum": 0.0})
                entry["tasks"].update(of["task"].unique().to_pylist())
                entry["instances"] += of.num_rows
                entry["scored"] += of.num_rows - of["score"].null_count
                entry["sum"] += pc.sum(of["score"]).as_py() or 0.0
    return {
        "instances": sum(entry["instances"] for entry in counts.values()),
        "scoring": {
            name: {
                "tasks": len(entry["tasks"]),
                "instances": entry["instances"],
                "scored": entry["scored"],
                "mean": round(entry["sum"] / entry["scored"], 6) if entry["scored"] else None,
            }
            for name, entry in sorted(counts.items())
        },
    }


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("infer")
