"""`raycipe preview`: what the sources hold and what the row-wise steps say of it, before anything is run."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.markup import escape
from rich.rule import Rule

from core.documents.reading import read_shard, shards
from core.documents.table import content
from core.errors import DataError
from core.recipe.resolve import Resolved, load_recipe
from ray_jobs.curate import step_labels
from ray_jobs.curation.barriers.kinds import looks_at_all
from ray_jobs.curation.prepare import PREPARED, located
from ray_jobs.curation.shard import judge

PAIR = ("prompt", "chosen", "rejected")
SHOWN = 600  # characters of a document on the terminal


def preview(name: str, scale: str | None, overrides: list[str] | None, documents: int, as_json: bool) -> None:
    """Prints the first documents of every source, each with the row-wise steps that would drop it."""
    resolved = load_recipe(name, scale, overrides)
    found = {source: _first(resolved, source, documents) for source in resolved.recipe.data.sources}
    if as_json:
        print(json.dumps({source: list(_described(resolved, table)) for source, table in found.items()}))
        return
    console = Console()
    for source, table in found.items():
        console.print(Rule(f"[bold]{escape(source)}", align="left"))
        for document in _described(resolved, table):
            drops = ", ".join(f"{drop['step']}: {drop['reason']}" for drop in document["dropped_by"])
            cuts = Counter(f"{cut['step']}: {cut['reason']}" for cut in document["cut_by"])
            trimmed = ", ".join(f"{what} ({times} times)" for what, times in cuts.items())
            fate = f"[red]{escape(drops)}[/]" if drops else "[green]kept[/]"
            unasked = (
                f"[dim](not asked: {escape(', '.join(document['not_asked']))})[/]" if document["not_asked"] else ""
            )
            console.print(f"[dim]{escape(document['id'])}[/]  {fate}  [yellow]{escape(trimmed)}[/] {unasked}")
            for message in document["messages"] or _pair(document):
                console.print(f"[bold]{escape(message['role'])}[/]: {escape(_cut(message['content']))}")
            if document["messages"] is None and document["prompt"] is None:
                console.print(escape(_cut(document["content"])))
            console.print()


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


def _described(resolved: Resolved, table: pa.Table) -> Any:
    data = resolved.recipe.data
    verdicts = {
        label: judge(located(step, resolved.directory), table)[0]
        for label, step in zip(step_labels(data), data.steps, strict=True)
        if not looks_at_all(step) and step.kind not in PREPARED
    }
    contents = content(table).to_pylist()
    for row, document in enumerate(table.to_pylist()):
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
            "not_asked": [label for label in step_labels(data) if label not in verdicts],
        }


def _pair(document: dict[str, Any]) -> list[dict[str, str]]:
    """A preference pair's parts, shown as a dialogue's turns are."""
    return [{"role": name, "content": document[name]} for name in PAIR if document[name] is not None]


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text):,} characters)"


if __name__ == "__main__":
    from ray_jobs.cli import job_main

    job_main("preview")
