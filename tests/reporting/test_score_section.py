from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from core.reporting.frame import Table
from core.reporting.options import Report
from core.reporting.run_files import read_run
from core.reporting.score_section import score_section
from tests.reporting.made_run import MODEL, write_json


def write_contamination(run: Path, asked_then: str | None = None) -> None:
    evaluated = json.loads((run / "evaluate" / "manifest.json").read_text())
    scores = [
        {"model": model, "task": "skills_choice", "metric": "acc", "filter": "none"}
        | {"clean": {"items": 300, "value": value}, "dirty": {"items": 1250, "value": 1.0}}
        for model, value in (("base", 0.125), (MODEL, 0.375))
    ]
    write_json(run / "contamination" / "contamination.json", {"scores": scores})
    inputs = {"evaluate": asked_then or evaluated["fingerprint"]}
    write_json(run / "contamination" / "manifest.json", {**evaluated, "inputs": inputs})


def score_table(run: Path) -> tuple[list[str], dict[str, list[str]], str]:
    """Column titles, the texts of each row by its name, and the note."""
    [table] = [block for block in score_section(read_run(run), Report()).blocks if isinstance(block, Table)]
    rows: dict[str, Any] = {cells[0][0]: [text for text, _, _ in cells] for cells in table.cells()}
    return [column.title for column in table.columns], rows, table.note


def test_clean_questions_have_a_column_beside_each_models_score(run_copy: Path) -> None:
    titles, before, _ = score_table(run_copy)
    assert "clean" not in titles
    write_contamination(run_copy)
    titles, rows, note = score_table(run_copy)
    assert titles[2:8] == ["base", "±", "clean", MODEL, "±", "clean"]
    row = rows["skills_choice · acc"]
    assert (row[4], row[7]) == ("0.125", "0.375")
    assert [text for place, text in enumerate(row) if place not in (4, 7)] == before["skills_choice · acc"]
    assert rows["arc_easy · acc"][4] == before["library · word_perplexity"][3]  # a dash, as for a missing error
    assert "four fifths or more: 1,250 in skills_choice." in note


def test_what_was_found_of_an_earlier_evaluation_is_not_shown(run_copy: Path) -> None:
    write_contamination(run_copy, asked_then="another")
    titles, _, note = score_table(run_copy)
    assert "clean" not in titles
    assert "Dirty" not in note


def test_suites_refused_comparisons_and_truncated_requests_are_told(run_copy: Path) -> None:
    path = run_copy / "evaluate" / "scores.json"
    scores = json.loads(path.read_text())
    scores["scores"][0]["truncated"] = 7
    scores["suites"] = [
        {"model": model, "suite": "goat", "line": line, "metric": "acc", "value": value, "stderr": 0.01}
        for model, value in (("base", 0.25), (MODEL, 0.375))
        for line in ("MMLU", None)
    ]
    scores["comparison"] = {"models": ["base", MODEL], "differences": [], "refused": {"boolq": {"few_shot": [0, 5]}}}
    write_json(path, scores)
    tables = [block for block in score_section(read_run(run_copy), Report()).blocks if isinstance(block, Table)]
    rows = [[text for text, _, _ in cells] for cells in tables[1].cells()]
    assert rows == [
        ["goat", "MMLU", "acc", "0.250", "0.010", "0.375", "0.010"],
        ["goat", "mean", "", "0.250", "0.010", "0.375", "0.010"],
    ]
    assert "boolq: few_shot 0 and 5" in tables[0].note
    assert f"cut from the left: 7 in {scores['scores'][0]['task']}" in tables[0].note
