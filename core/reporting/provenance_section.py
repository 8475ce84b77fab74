"""What a run's page says of where its numbers come from: the recipe, and each stage's manifest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from core.reporting.formats import count, duration, moment, size
from core.reporting.frame import Block, Cell, Code, Column, Section, Table, Text
from core.reporting.run_files import Manifest, Run

MOST_FILES = 1000


def recipe_section(run: Run) -> Section:
    """The resolved recipe."""
    if run.recipe is None:
        return Section("Recipe", [Text("The run directory holds no recipe.yaml.")], "missing")
    text = Text("As the run obeyed it: the scale and the overrides of the command line are applied.")
    return Section("Recipe", [text, Code(without_passwords(run.recipe), "yaml")])


def provenance_section(run: Run) -> Section:
    """Stages, hardware, packages and files. What all stages share is said once."""
    blocks: list[Block] = [_stages(run)]
    done = {stage: manifest for stage, manifest in run.manifests.items() if manifest}
    if done:
        blocks += [_fingerprints(done)]
        blocks += [_by_stage("Hardware", {s: _hardware(m) for s, m in done.items()}, folded=False)]
        blocks += [_by_stage("Packages", {s: m.packages for s, m in done.items()}, folded=True), _files(done)]
    return Section("Provenance", blocks)


def without_passwords(text: str) -> str:
    """URLs without the name and password that they may carry."""
    return re.sub(r"(?<=://)[^/\s@]*:[^/\s@]*(?=@)", "***", text)


def _stages(run: Run) -> Table:
    columns = [Column("stage"), Column("state"), Column("started"), Column("finished"), Column("time", duration)]
    rows: list[list[Any]] = []
    for stage, manifest in run.manifests.items():
        if manifest is None:
            rows.append([stage, Cell(run.states[stage], "quiet"), None, None, None])
        else:
            moments = [Cell(moment(each), "whole") for each in (manifest.started, manifest.finished)]
            rows.append([stage, run.states[stage], *moments, manifest.seconds])
    return Table("Stages", columns, rows)


def _fingerprints(done: Mapping[str, Manifest]) -> Table:
    columns = [Column("stage"), Column("fingerprint"), Column("code"), Column("git commit"), Column("seed", str)]
    rows = [
        [stage, *(Cell(value, "hash") for value in (m.fingerprint, str(m.code), m.git_commit)), m.seed]
        for stage, m in done.items()
    ]
    note = "A fingerprint is of the recipe's section, the inputs' fingerprints, the seed and the stage's code."
    return Table("Fingerprints", columns, rows, note)


def _hardware(manifest: Manifest) -> dict[str, str]:
    return {
        ("memory" if name == "memory_bytes" else name): size(value) if name == "memory_bytes" else _said(value)
        for name, value in manifest.hardware.items()
    }


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_said, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _by_stage(title: str, values: Mapping[str, Mapping[str, str]], folded: bool) -> Table:
    """A column for each group of stages that have the same; a single one where all have."""
    groups: list[tuple[list[str], Mapping[str, str]]] = []
    for stage, of_stage in values.items():
        alike = next((stages for stages, known in groups if known == of_stage), None)
        if alike is None:
            groups.append(([stage], of_stage))
        else:
            alike.append(stage)
    names = dict.fromkeys(name for _, known in groups for name in known)
    headings = [", ".join(stages) if len(groups) > 1 else "all stages" for stages, _ in groups]
    rows = [[name, *(known.get(name) for _, known in groups)] for name in names]
    return Table(title, [Column(title.lower()), *map(Column, headings)], rows, folded=folded)


def _files(done: Mapping[str, Manifest]) -> Table:
    columns = [Column("file"), Column("stage"), Column("size", size), Column("xxh3_128")]
    rows = [
        [Cell(file.path, "hash"), stage, file.bytes, Cell(file.xxh3_128, "hash")]
        for stage, manifest in done.items()
        for file in manifest.files
    ]
    beyond = len(rows) - MOST_FILES
    note = f"{count(beyond)} more are named in the manifests." if beyond > 0 else ""
    return Table("Files", columns, rows[:MOST_FILES], note, folded=True)
