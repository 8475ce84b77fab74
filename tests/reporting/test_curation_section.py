from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.reporting.curation_section import OWN_WATERFALLS, curation_section
from core.reporting.frame import Choice, Quotes, Table, Text
from core.reporting.options import Report
from core.reporting.run_files import read_run
from core.reporting.run_report import write_run_report
from tests.reporting.made_curation import CUTS, MATRIX, ledger_of
from tests.reporting.made_run import SCRIPT
from tests.reporting.page_reader import ReadPage, read_page


@pytest.fixture(scope="module")
def page(page_path: Path) -> ReadPage:
    """The page of the whole run."""
    return read_page(page_path)


def write_ledger(directory: Path, sources: int, steps: dict[str, dict[str, float]]) -> Path:
    (directory / "curate").mkdir(parents=True)
    (directory / "curate" / "ledger.json").write_text(json.dumps(ledger_of(sources, steps)))
    return directory


def test_why_data_left_stands_first(page: ReadPage) -> None:
    section = page.text[page.text.index("Curation\n") :].replace("\u00a0", " ")
    assert "length took 10.0 % of the bytes: too_short 1,416, too_long 31 documents." in section
    assert section.index("length took") < section.index("Documents left after each step")


def test_every_measure_and_source_has_its_charts(page_path: Path) -> None:
    charts = {path.stem for path in (page_path.parent / "charts").glob("*.csv")}
    assert charts == {path.stem for path in (page_path.parent / "charts").glob("*.svg")}
    assert charts >= {
        *(f"{measure}-left-after-each-step" for measure in ("Documents", "Bytes", "Tokens")),
        "What-became-of-each-source",
        "What-became-of-each-source-in-bytes",
        "What-became-of-each-source-in-tokens",
        "What-is-left-of-skills-after-each-step",
        "What-is-left-of-python_library-after-each-step",
        "Duplicates-between-sources-minhash_dedup",
        "Lengths-of-documents-read-and-kept",
        "Labels-given-by-language",
    }


def test_tokens_stand_beside_documents_and_bytes(page: ReadPage, finished_run: Path) -> None:
    sources = json.loads((finished_run / "curate" / "ledger.json").read_text())["sources"]
    for heading, when in (("tokens in", "read"), ("tokens kept", "kept")):
        shown = page.column("Sources", heading)
        assert {name: shown[name].key for name in sources} == {
            name: str(source[when]["tokens"]) for name, source in sources.items()
        }


def test_cuts_are_counted_by_reason_over_all_sources(page: ReadPage) -> None:
    for heading, key in (("documents", "documents"), ("passages", "spans"), ("bytes", "bytes")):
        shown = page.column("Why passages were cut or replaced", heading)
        for reason in ("repeated_span", "e_mail"):
            expected = sum(found[reason][key] for found in CUTS.values() if reason in found)
            assert shown[reason].key == str(expected)


def test_cut_passages_are_quoted_and_replaced_ones_are_not(page: ReadPage) -> None:
    assert "exact_substring: repeated_span, cut 3 of 352 passages" in page.text
    assert f"cut 0 {SCRIPT}" in page.text
    assert page.text.count("What stood there may be personal and is not kept.") == 3


def test_clusters_are_shown_with_the_words_that_differ(page: ReadPage, page_path: Path) -> None:
    html = page_path.read_text("utf-8")
    assert "The quick <del>brown</del><ins>red</ins> fox jumps<ins> over</ins>. &lt;script&gt;" in html
    assert "removed: python_library:3:9 (python_library), Jaccard 0.821" in page.text
    assert page.text.count("(python_library), Jaccard 0.821, the same words as far as kept aside") == 1
    assert html.count("敏捷的") == 2
    assert "the kept one and 2 of 89 removed" in page.facts["shown"]
    assert "4,021 candidate pairs were compared" in page.text


def test_duplication_between_sources_is_told(page: ReadPage) -> None:
    inside = MATRIX[0][0] + MATRIX[1][1]
    assert f"Of 643 documents removed, {inside} repeat one of their own source and 53 one of another." in page.text


def test_test_items_are_listed_with_an_example(page: ReadPage) -> None:
    assert "looked for 400 test items, 12 of which are too short" in page.text
    assert "3 of the items stand in 60 documents" in page.text
    title = "Test items found by decontaminate"
    assert {name: cell.key for name, cell in page.column(title, "documents").items()} == {
        "quiz:0": "30",
        "quiz:1": "21",
        "quiz:2": "12",
    }
    assert page.column(title, "words in common")["quiz:0"].text.startswith(f"which colour is grass {SCRIPT}")


def test_more_test_items_than_are_listed_are_counted(run_without_logs: Path) -> None:
    path = run_without_logs / "curate" / "contamination" / "decontaminate.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"matched_items": 250}))
    blocks = curation_section(read_run(run_without_logs), Report(examples_per_reason=0)).blocks
    (said,) = (block.text for block in blocks if isinstance(block, Text) and "test items" in block.text)
    assert said.endswith("250 of the items stand in 60 documents; the 3 in the most documents are listed.")


def test_labels_are_listed_for_each_source(page: ReadPage) -> None:
    rows = page.tables["Labels given by language, source by source"][1:]
    assert [[cell.text for cell in row[:3]] for row in rows][:2] == [["skills", "en", "6,500"], ["skills", "de", "88"]]


def test_a_run_of_an_earlier_version_says_nothing_of_what_it_lacks(run_without_logs: Path) -> None:
    for path in run_without_logs.glob("curate/*/*.json"):
        path.unlink()
    (run_without_logs / "curate" / "statistics.json").unlink()
    for path in run_without_logs.glob("curate/cut/*"):
        path.unlink()
    text = read_page(write_run_report(run_without_logs, Report())).text
    for word in ("Duplicates between", "test items", "Lengths of documents", "Labels given", "was cut out of"):
        assert word not in text


def test_one_source_from_which_nothing_left(tmp_path: Path) -> None:
    section = curation_section(read_run(write_ledger(tmp_path / "run", 1, {"read": {}, "length": {}})), Report())
    assert Text("No step took anything.") in section.blocks
    assert [block.title for block in section.blocks if isinstance(block, Table)] == [
        "Sources",
        "Each step, source by source",
    ]
    assert [len(block.options) for block in section.blocks if isinstance(block, Choice)] == [3, 3]


def test_forty_sources_and_thirty_reasons(tmp_path: Path) -> None:
    steps = {f"step_{n}": {f"reason_{n}_{m}": 0.01 for m in range(3)} for n in range(10)}
    section = curation_section(read_run(write_ledger(tmp_path / "run", 40, steps)), Report())
    tables = {block.title: len(block.rows) for block in section.blocks if isinstance(block, Table)}
    assert tables == {"Sources": 41, "Why documents were dropped": 30, "Each step, source by source": 400}
    assert [len(each.options) for each in section.blocks if isinstance(each, Choice)] == [3, 3, OWN_WATERFALLS]
    assert not any(isinstance(block, Text) and block.tone == "bad" for block in section.blocks)


def test_what_took_more_than_half_is_marked_in_the_table_of_steps(tmp_path: Path) -> None:
    section = curation_section(read_run(write_ledger(tmp_path / "run", 1, {"length": {"short": 0.9}})), Report())
    (steps,) = (block for block in section.blocks if isinstance(block, Table) and block.folded)
    assert steps.cells()[0][5] == ("90.0\u00a0%", "0.9", "bad number")


def test_documents_drawn_twice_by_the_mixture_are_no_contradiction(tmp_path: Path) -> None:
    for step, contradiction in (("mixture", False), ("length", True)):
        run = write_ledger(tmp_path / step, 1, {step: {}})
        path = run / "curate" / "ledger.json"
        ledger = json.loads(path.read_text())
        source = ledger["sources"]["source-00"]
        source["steps"][0]["documents_kept"] = source["kept"]["documents"] = 2000
        path.write_text(json.dumps(ledger))
        blocks = curation_section(read_run(run), Report()).blocks
        said = [block.text for block in blocks if isinstance(block, Text) and block.tone == "bad"]
        assert any("does not add up" in text for text in said) == contradiction


def test_examples_wanted_of_none_are_not_read(run_without_logs: Path) -> None:
    section = curation_section(read_run(run_without_logs), Report(examples_per_reason=0))
    titles = [block.title for block in section.blocks if isinstance(block, Quotes)]
    assert titles == ["minhash_dedup: the largest clusters of duplicates"]
