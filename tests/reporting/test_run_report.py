from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from core.errors import DataError
from core.reporting.options import Report
from core.reporting.run_report import write_run_report
from tests.reporting.made_run import DROPS, MODEL, PLANTED, READ, SCRIPT
from tests.reporting.page_reader import ReadPage, read_page


@pytest.fixture(scope="module")
def page(page_path: Path) -> ReadPage:
    """The page of the whole run."""
    return read_page(page_path)


def load(run: Path, name: str) -> Any:
    return json.loads((run / name).read_text())


def number(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-").replace("%", "").strip())


def test_documents_and_bytes_are_the_ledgers(page: ReadPage, finished_run: Path) -> None:
    sources = load(finished_run, "curate/ledger.json")["sources"]
    for heading, where, unit in (
        ("documents in", "read", "documents"),
        ("kept", "kept", "documents"),
        ("bytes in", "read", "bytes"),
        ("bytes kept", "kept", "bytes"),
    ):
        shown = {name: float(cell.key or "nan") for name, cell in page.column("Sources", heading).items()}
        expected = {name: source[where][unit] for name, source in sources.items()}
        assert shown == {**expected, "all sources": sum(expected.values())}
    assert page.column("Sources", "documents in")["skills"].text == f"{READ['skills']:,}"


def test_each_step_of_each_source_is_the_ledgers(page: ReadPage, finished_run: Path) -> None:
    ledger = load(finished_run, "curate/ledger.json")
    expected = [
        [step["step"], name, step["documents_in"], step["documents_kept"], step["bytes_in"], step["bytes_kept"]]
        for name, source in ledger["sources"].items()
        for step in source["steps"]
    ]
    rows = page.tables["Each step, source by source"][1:]
    assert [[row[0].text, row[1].text, *(float(row[n].key or "nan") for n in (2, 3, 6, 7))] for row in rows] == expected
    assert rows[10][10].text == "too_short 1,204, too_long 31"


def test_every_reason_is_counted_over_all_sources(page: ReadPage) -> None:
    expected: dict[str, int] = {}
    for by_step in DROPS.values():
        for reasons in by_step.values():
            for reason, amount in reasons.items():
                expected[reason] = expected.get(reason, 0) + amount
    shown = page.column("Why documents were dropped", "documents")
    assert {reason: float(cell.key or "nan") for reason, cell in shown.items()} == expected


def test_planted_is_held_against_found(page: ReadPage) -> None:
    for heading, key in (("planted", "planted"), ("kept", "kept")):
        shown = page.column("Planted against found", heading)
        for label, truth in PLANTED.items():
            assert shown["nothing planted" if label == "none" else label].key == str(truth[key])
    assert page.column("Planted against found", "dropped by")["near_duplicate"].text == "minhash_dedup 236, length 1"


def test_tokens_are_the_summarys(page: ReadPage, finished_run: Path) -> None:
    phases = load(finished_run, "tokenize/summary.json")["phases"]
    names = ["documents", "samples", "rows", "sequence_length", "tokens", "target_tokens", "fill", "truncated_tokens"]
    expected = [
        [phase, split, *(counts[name] for name in names)]
        for phase, splits in phases.items()
        for split, counts in splits.items()
    ]
    rows = page.tables["Rows of tokens"][1:]
    assert [[row[0].text, row[1].text, *(float(cell.key or "nan") for cell in row[2:10])] for row in rows] == expected
    assert rows[2][10].text == "nothing_to_learn 3"
    assert "vocabulary of 4,096" in page.text


@pytest.mark.parametrize(("place", "phase"), [(0, "pretrain"), (1, "sft"), (2, "dpop")])
def test_training_figures_are_the_summarys(page: ReadPage, finished_run: Path, place: int, phase: str) -> None:
    summary = load(finished_run, f"train/{phase}/summary.json")
    shown = {name: values[place] for name, values in page.facts.items() if len(values) == 3}
    for name, key in (
        ("parameters", "parameters"),
        ("optimiser steps", "steps"),
        ("tokens", "tokens"),
        ("tokens with loss", "target_tokens"),
        ("workers", "workers"),
    ):
        assert number(shown[name]) == summary[key]
    assert shown["method"] == summary["method"] + (", ZeRO stage 2" if phase == "pretrain" else "")
    assert number(shown["tokens per second"]) == round(summary["tokens_per_second"])
    assert number(shown["loss at the last step"]) == pytest.approx(summary["last_loss"], abs=0.0005)
    assert shown["best validation loss"].endswith(f"at step {summary['best_step']}")
    assert shown["trainable parameters"].startswith(f"{summary['trainable_parameters']:,} (")


def test_scores_are_the_files(page: ReadPage, finished_run: Path) -> None:
    title = "Scores with their standard errors"
    for score in load(finished_run, "evaluate/scores.json")["scores"]:
        filtered = "" if score["filter"] == "none" else f" ({score['filter']})"
        row = f"{score['task']} · {score['metric']}{filtered}"
        cell = page.column(title, score["model"])[row]
        assert float(cell.key or "nan") == score["value"]
        assert number(cell.text) == pytest.approx(score["value"], abs=0.00051)
    assert page.column(title, "±")["skills_choice · acc"].key == "0.0216"


def test_differences_are_judged_by_their_error(page: ReadPage) -> None:
    verdicts = {name: cell.text for name, cell in page.column("Scores with their standard errors", "verdict").items()}
    assert verdicts == {
        "skills_choice · acc": "better",
        "skills_choice · acc_norm": "better",
        "skills_write · exact_match (strict)": "better",
        "arc_easy · acc": "within noise",
        "library · word_perplexity": "no error known",
    }
    difference = page.column("Scores with their standard errors", "difference")["skills_choice · acc"]
    assert difference.text == "+0.685"
    assert float(difference.key or "nan") == pytest.approx(0.685)


def test_the_story_is_told_at_the_top(page: ReadPage) -> None:
    mean_base, mean_sft = (0.2475 + 0 + 0.2551) / 3, (0.9325 + 0.645 + 0.2614) / 3
    score = page.facts[f"base → {MODEL}"]
    assert score[0] == f"{mean_base:.3f} → {mean_sft:.3f}"
    read = sum(READ.values())
    kept = read - sum(sum(reasons.values()) for by_step in DROPS.values() for reasons in by_step.values())
    assert page.facts["Documents kept"][0] == f"{kept:,}"
    assert f"of {read:,} read" in page.facts["Documents kept"][1]
    assert [text.replace("\u00a0", " ") for text in page.facts["Tokens trained on"]] == ["3.93 M", "1.63 M with loss"]
    assert [text.replace("\u00a0", " ") for text in page.facts["Time"]] == ["4 min 10 s", "6 of 6 stages"]


def test_provenance_names_every_stage_package_and_file(page: ReadPage, finished_run: Path) -> None:
    for stage in ("curate", "tokenize", "train/pretrain", "train/sft", "train/dpop", "evaluate"):
        manifest = load(finished_run, f"{stage}/manifest.json")
        assert page.column("Fingerprints", "fingerprint")[stage].text == manifest["fingerprint"]
        assert page.column("Fingerprints", "git commit")[stage].text == manifest["git_commit"]
        assert float(page.column("Stages", "time")[stage].key or "nan") == manifest["seconds"]
        sizes = {row[0].text: row[2].key for row in page.tables["Files"][1:] if row[1].text == stage}
        assert sizes == {file["path"]: str(file["bytes"]) for file in manifest["files"]}
    assert page.column("Packages", "all stages")["ray"].text == "2.60.0"
    assert page.column("Hardware", "all stages")["memory"].text.replace("\u00a0", " ") == "25.2 GB"


def test_stages_on_different_machines_are_shown_side_by_side(run_without_logs: Path) -> None:
    path = run_without_logs / "train" / "sft" / "manifest.json"
    path.write_text(path.read_text().replace('"gpus": []', '"gpus": ["NVIDIA H200"]'))
    shown = read_page(write_run_report(run_without_logs, Report()))
    assert shown.column("Hardware", "train/sft")["gpus"].text == "NVIDIA H200"
    assert shown.column("Hardware", "curate, tokenize, train/pretrain, train/dpop, evaluate")["gpus"].text == "none"


def test_the_recipe_is_shown_without_passwords(page: ReadPage) -> None:
    assert "method: lora, learning_rate: 3.0e-4" in page.text
    assert "s3://***@bucket/part.jsonl" in page.text
    assert "hunter2" not in page.text


def test_what_data_says_stays_text(page: ReadPage) -> None:
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert page.text.count(SCRIPT) > 10  # in documents, answers, choices and the recipe
    assert MODEL in page.text


def test_examples_carry_reason_evidence_and_text(page: ReadPage) -> None:
    assert "decontaminate: in_evaluation" in page.text
    assert "3 of 60" in page.text
    assert "skills:0:7" in page.facts["evidence"]
    assert any("more characters]" in line for line in page.text.splitlines())


@pytest.mark.parametrize(
    ("stage", "section", "said"),
    [
        ("curate", "Curation", "No documents have been curated."),
        ("tokenize", "Tokens", "Nothing has been tokenized."),
        ("train", "Training: pretrain", "This phase has not been trained."),
        ("evaluate", "Scores", "No model has been scored."),
    ],
)
def test_a_stage_that_has_not_run_is_said_so(run_without_logs: Path, stage: str, section: str, said: str) -> None:
    shutil.rmtree(run_without_logs / stage)
    text = read_page(write_run_report(run_without_logs, Report())).text
    assert f"{section} not run" in text
    assert said in text


def test_an_empty_run_directory_has_a_page(tmp_path: Path) -> None:
    run = tmp_path / "begun"
    run.mkdir()
    shown = read_page(write_run_report(run, Report()))
    assert "begun" in shown.text
    assert shown.facts["Time"] == ["–", "no stage is finished"]
    assert not any(" chart" in value for _, name, value in shown.attributes if name == "class")


def test_a_phase_at_work_is_shown_as_far_as_it_has_come(run_copy: Path) -> None:
    for name in ("summary.json", "manifest.json"):
        (run_copy / "train" / "sft" / name).unlink()
    shown = read_page(write_run_report(run_copy, Report()))
    assert "Step 240 was the last one logged." in shown.text
    assert "unfinished" in shown.text
    assert "Learning curves: sft" in shown.text


def test_a_ledger_that_does_not_add_up_is_said_so(run_without_logs: Path) -> None:
    path = run_without_logs / "curate" / "ledger.json"
    path.write_text(path.read_text().replace('"too_short": 212', '"too_short": 211'))
    assert "does not add up: skills, length" in read_page(write_run_report(run_without_logs, Report())).text


def test_a_broken_file_leaves_the_earlier_page_alone(run_without_logs: Path) -> None:
    page = write_run_report(run_without_logs, Report())
    before = page.read_bytes()
    (run_without_logs / "evaluate" / "samples" / "base" / "skills_choice.jsonl").write_text("{\n")
    with pytest.raises(DataError, match=r"skills_choice\.jsonl:1"):
        write_run_report(run_without_logs, Report())
    assert page.read_bytes() == before


def test_the_same_run_gives_the_same_page_of_less_than_two_megabytes(finished_run: Path, page_path: Path) -> None:
    before = page_path.read_bytes()
    assert write_run_report(finished_run, Report()).read_bytes() == before
    assert len(before) < 2_000_000


def test_charts_lie_beside_the_page_and_earlier_ones_are_taken_away(run_copy: Path) -> None:
    charts = write_run_report(run_copy, Report()).parent / "charts"
    assert {"Learning-curves-sft.svg", "Learning-curves-sft.csv", "Scores-of-each-model.svg"} <= {
        path.name for path in charts.iterdir()
    }
    shutil.rmtree(run_copy / "train" / "sft")
    write_run_report(run_copy, Report())
    assert not (charts / "Learning-curves-sft.svg").exists()


def test_options_of_the_report_are_obeyed(run_without_logs: Path) -> None:
    options = Report(title="Five skills", examples_per_reason=1, questions_per_task=2, longest_example=100)
    shown = read_page(write_run_report(run_without_logs, options))
    assert "Five skills" in shown.text
    assert "1 of 60" in shown.text
    assert shown.text.count("2 questions") == 2
    assert "more characters]" in shown.text
    nothing = read_page(write_run_report(run_without_logs, Report(examples_per_reason=0, questions_per_task=0))).text
    assert "in_evaluation3" not in nothing
    assert "Questions with the models' answers" not in nothing
