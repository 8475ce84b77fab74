"""`raycipe preview`: what the sources hold, what the row-wise steps say of it, and what is trained on as tokens.

Nothing is run for it: it reads the first documents of each source, and needs no Ray.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from ruamel.yaml import YAML

from core.artifacts.atomic import write_bytes
from core.documents.editing import carry_out
from core.documents.ledger import Ledger
from core.documents.table import content
from core.errors import DataError
from core.instructions.reading import read_shard, shards
from core.recipe.resolve import Resolved, load_recipe
from core.recipe.schema import Step
from core.reporting.preview_page import preview_page
from core.reporting.preview_words import Preview, SourcePreview
from core.tokens.preview import PhasePreview, Sample, preview_phase
from core.tokens.tokenizer import load_tokenizer, train_tokenizer
from ray_jobs.curate import step_labels
from ray_jobs.curation.barriers.kinds import looks_at_all
from ray_jobs.curation.prepare import PREPARED, located
from ray_jobs.curation.shard import judge
from ray_jobs.preview_terminal import draw_phases, draw_sources

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAIR = ("prompt", "chosen", "rejected")
MOST_TEXT = 10_000_000  # bytes of a source's documents that are tokenized


def preview(
    name: str,
    scale: str | None,
    overrides: list[str] | None,
    documents: int,
    sample: int,
    html: Path | None,
    runs_dir: Path,
    run_name: str | None,
    as_json: bool,
) -> None:
    """Shows the first documents of every source with the steps that would drop them, and what phases make of them.

    sample: documents of each source, of which tokens are counted. Written to `html`, printed as JSON, or drawn.
    """
    resolved = load_recipe(name, scale, overrides)
    recipe = resolved.recipe
    asked, not_asked = _steps(resolved)
    sources: dict[str, SourcePreview] = {}
    kept: dict[str, pa.Table] = {}
    for source in recipe.data.sources:
        found = _first(resolved, source, max(documents, sample))
        looked_at = _some(found, documents)
        kept[source], dropped = _kept(asked, looked_at, recipe.seed)
        sources[source] = SourcePreview(
            documents=list(_described(asked, not_asked, found.slice(0, documents), recipe.seed)),
            read=looked_at.num_rows,
            whole=looked_at.num_rows == found.num_rows < max(documents, sample),
            dropped=dropped,
            kept=kept[source].num_rows,
        )
    console = Console()
    drawn = html is None and not as_json
    if drawn:
        draw_sources(console, sources)
    tokenizer, told = _tokenizer(resolved, runs_dir / (run_name or resolved.run_name), kept)
    phases = {
        phase: preview_phase(
            pa.concat_tables([kept[source] for source in options.data.sources]), tokenizer, options.data, documents
        )
        for phase, options in recipe.train.items()
    }
    everything = Preview(recipe.name, recipe.description, told, sources, phases, not_asked)
    if html is not None:
        write_bytes(html, preview_page(everything))
    if as_json:
        print(json.dumps(_as_json(everything)))
    elif drawn:
        draw_phases(console, everything)
    else:
        print(f"preview: {html}")


def _steps(resolved: Resolved) -> tuple[dict[str, Step], list[str]]:
    """The steps that judge a document alone, by label, and the labels of the others."""
    data = resolved.recipe.data
    steps = {
        label: located(step, resolved.directory) for label, step in zip(step_labels(data), data.steps, strict=True)
    }
    alone = {label: step for label, step in steps.items() if not looks_at_all(step) and step.kind not in PREPARED}
    return alone, [label for label in steps if label not in alone]


def _first(resolved: Resolved, name: str, count: int) -> pa.Table:
    """The first documents of a source, read no further than needed."""
    source = resolved.recipe.data.sources[name]
    tables = (
        table
        for shard in shards(name, source, resolved.directory)
        for table, _ in read_shard(shard, resolved.recipe.seed)
        if table.num_rows
    )
    taken: list[pa.Table] = []
    for table in itertools.islice(tables, count):
        taken.append(table)
        if sum(each.num_rows for each in taken) >= count:
            break
    if not taken:
        raise DataError(f"data.sources.{name}: holds no documents")
    return pa.concat_tables(taken).slice(0, count)


def _some(documents: pa.Table, least: int) -> pa.Table:
    """The documents up to MOST_TEXT bytes of text, but at least so many."""
    within = pc.sum(pc.less_equal(pc.cumulative_sum(pc.binary_length(content(documents))), MOST_TEXT)).as_py()
    return documents.slice(0, max(within or 0, least))


def _kept(steps: dict[str, Step], documents: pa.Table, seed: int) -> tuple[pa.Table, dict[str, int]]:
    """What row-wise steps leave of documents, cut as they cut it, and how many are dropped by step and reason."""
    dropped: Counter[str] = Counter()
    for label, step in steps.items():
        judged = judge(step, documents, seed=seed)
        documents, gone, _ = carry_out(documents, label, judged.verdict, Ledger())
        dropped.update(f"{label}: {reason}" for reason in gone["reason"].to_pylist())
        documents = documents if judged.made is None else judged.made
    return documents, dict(dropped)


def _tokenizer(resolved: Resolved, run_dir: Path, kept: dict[str, pa.Table]) -> tuple[PreTrainedTokenizerFast, str]:
    """The recipe's tokenizer and a line that says which. One to be trained: the run's, or one made of what is here."""
    model = resolved.recipe.model
    declared = model.tokenizer
    if declared is None or declared.train is None:
        name, revision = (declared.name, declared.revision) if declared else (model.base, model.revision)
        return load_tokenizer(str(name), revision), str(name)
    finished = run_dir / "tokenize" / "tokenizer"
    if (finished / "tokenizer.json").exists() and _declared_in(run_dir) == declared.model_dump(exclude_none=True):
        return load_tokenizer(finished), f"the run's, {finished}"
    tables = [kept[source] for source in declared.train.sources or kept]
    tokenizer = train_tokenizer(lambda: tables, declared.train.vocabulary, declared.train.characters)
    documents = sum(table.num_rows for table in tables)
    return tokenizer, f"trained on the {documents:,} documents counted here; the run's will differ"


def _declared_in(run_dir: Path) -> Any:
    """What the recipe of a run says of its tokenizer."""
    path = run_dir / "recipe.yaml"
    return YAML(typ="safe").load(path)["model"].get("tokenizer") if path.exists() else None


def _described(
    steps: dict[str, Step], not_asked: list[str], documents: pa.Table, seed: int
) -> Iterator[dict[str, Any]]:
    """Each document with what every row-wise step says of it."""
    verdicts = {label: judge(step, documents, seed=seed).verdict for label, step in steps.items()}
    contents = content(documents).to_pylist()
    for row, document in enumerate(documents.to_pylist()):
        dropped_by = [
            {"step": label, "reason": verdict.reason[row].as_py(), "evidence": verdict.evidence[row].as_py()}
            for label, verdict in verdicts.items()
            if verdict.reason[row].is_valid
        ]
        cuts = [
            {"step": label, **span}
            for label, verdict in verdicts.items()
            if verdict.spans is not None
            for span in verdict.spans.filter(pc.equal(verdict.spans["row"], row)).drop_columns("row").to_pylist()
        ]
        yield {
            "id": document["id"],
            **{name: document[name] for name in ("messages", *PAIR)},
            "content": contents[row],
            "meta": document["meta"],
            "dropped_by": dropped_by,
            "cut_by": cuts,
            "not_asked": not_asked,
        }


def _as_json(found: Preview) -> dict[str, Any]:
    return {
        "sources": {name: source.documents for name, source in found.sources.items()},
        "sampled": {
            name: {"read": source.read, "kept": source.kept, "dropped": source.dropped}
            for name, source in found.sources.items()
        },
        "not_asked": found.not_asked,
        "phases": {name: {"tokenizer": found.tokenizer, **_phase_as_json(each)} for name, each in found.phases.items()},
    }


def _phase_as_json(phase: PhasePreview) -> dict[str, Any]:
    counts = phase.counts
    return {
        "template": phase.options.chat_template,
        "counts": {
            **asdict(counts),
            **{name: getattr(counts, name) for name in ("masked_tokens", "padding_tokens", "fill")},
        },
        "samples": [_sample_as_json(sample) for sample in phase.samples],
        "refused": [asdict(refused) for refused in phase.refused],
        "pairs": [asdict(pair) for pair in phase.pairs],
        "edit_distances": phase.distances and asdict(phase.distances),
    }


def _sample_as_json(sample: Sample) -> dict[str, Any]:
    return {**asdict(sample), "masked_tokens": sample.masked_tokens}


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("preview")
