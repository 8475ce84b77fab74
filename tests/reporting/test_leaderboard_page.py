"""The page of a leaderboard, as it is made and as a browser shows it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from core.reporting.frame import PAGE as ROWS_AT_ONCE
from core.reporting.frame import Column, Page, Section, Table, render
from core.reporting.leaderboard.board import Leaderboard, build
from core.reporting.leaderboard.files import read_source
from core.reporting.leaderboard.page import leaderboard_page, write_leaderboard
from core.reporting.leaderboard.size_claims import claims
from tests.reporting.chromium import Chromium
from tests.reporting.made_leaderboard import HOSTILE, row, write_snapshot
from tests.reporting.page_reader import ReadPage, read_page

TABLE = "Array.from(document.querySelectorAll('table')).find(each => each.caption.textContent.startsWith('{title}'))"
ROWS = "Array.from({table}.tBodies[0].rows, row => row.cells[{column}].textContent)"
TITLE = "All models on"


def rows_of(title: str, column: int) -> str:
    return ROWS.format(table=TABLE.format(title=title), column=column)


def click(title: str, what: str) -> str:
    return f"{TABLE.format(title=title)}.closest('.table').querySelector(`{what}`).click()"


@pytest.fixture(scope="module")
def written(report_board: Leaderboard, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that is made of the report's snapshots."""
    out = tmp_path_factory.mktemp("board") / "out"
    write_leaderboard(report_board, claims(report_board), out)
    return out


@pytest.fixture(scope="module")
def read(written: Path) -> ReadPage:
    return read_page(written / "index.html")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A leaderboard of models whose names and addresses attack the page, more of them than it shows at once."""
    directory = tmp_path_factory.mktemp("hostile")
    names = [HOSTILE, f"last {HOSTILE}", *(f"org/$m_{{{n}}}$-7b" for n in range(ROWS_AT_ONCE + 20))]
    urls = ["javascript:document.title='ran'", "", *["https://example.org/a?b=1&c=\"'<"] * (ROWS_AT_ONCE + 20)]
    scores = [99, 1, *(70 - n / 2 for n in range(ROWS_AT_ONCE + 20))]
    rows = [row(name, *[value] * 4, url=url) for name, value, url in zip(names, scores, urls, strict=True)]
    board = build([read_source(write_snapshot(directory, "2023-05-23", rows))])
    write_leaderboard(board, claims(board), directory / "out")
    return directory / "out" / "index.html"


def test_every_chart_is_there_as_svg_and_csv_beside_page_and_table(written, read, report_board):
    charts = {path.stem for path in written.glob("*.svg")}
    assert charts == {path.stem for path in written.glob("*.csv")}
    assert {"Score-over-time-Average", "Radar-of-the-top-5", "Ranking-Average", "Top-10", "Total-plot"} <= charts
    assert {"Correlation-between-benchmarks", "Trade-offs-among-the-leading-models", "Size-against-score"} <= charts
    assert len(charts) == read.tags.count("figure") == 20
    assert pq.read_table(written / "leaderboard.parquet").num_rows == sum(len(e.scores) for e in report_board.entries)


def test_a_models_scores_stay_with_the_model(written, report_board):
    scores = {each.entry.model: each for each in report_board.latest}
    for name in ("Radar-of-the-top-5", "Top-10", "Total-plot"):
        lines = list(csv.DictReader(io.StringIO((written / f"{name}.csv").read_text("utf-8"))))
        assert [line["model"] for line in lines] == [each.entry.model for each in report_board.latest][: len(lines)]
        for line in lines:
            for benchmark, value in scores[line["model"]].entry.scores.items():
                assert float(line[benchmark.title]) == float(value)


def test_the_radar_is_scaled_over_the_forty_best(written, report_board):
    lines = list(csv.DictReader(io.StringIO((written / "Radar-of-the-top-5.csv").read_text("utf-8"))))
    for benchmark in report_board.benchmarks:
        leaders = np.array([float(each.entry.scores[benchmark]) for each in report_board.latest[:40]])
        for line in lines:
            expected = 1 + 4 * (float(line[benchmark.title]) - leaders.min()) / np.ptp(leaders)
            assert float(line[f"{benchmark.title}, scaled"]) == pytest.approx(expected)


def test_the_page_tells_what_a_reader_looks_for(read):
    assert read.column("The top 5, raw and scaled", "ARC")["AIDC-ai-business/Marcoroni-70B"].text == "72.95"
    assert read.column("The leader of each date", "best model")["2023-06-10"].text == "tiiuae/falcon-40b-instruct"
    assert read.column("Renamed", "now")["stabilityai/FreeWilly2"].text == "stabilityai/StableBeluga2"
    flags = read.column("Flagged models", "flag")
    assert flags["Aspik101/trurl-2-13b-pl-instruct_unload"].text == "flagged: See discussion #213"
    assert (
        read.column("Averages that disagree with their scores", "recomputed")["xhyi/PT_GPTNEO350_ATG"].text == "29.20"
    )
    assert read.column("Verdicts", "verdict")["TruthfulQA against MMLU"].text == "contradicted"
    assert read.column("When the measure changed, and not the models", "changed")["2023-07-14"].text == "101"


def test_shared_ranks_and_sizes_are_marked(read):
    title = "All models on 2023-09-15"
    places, sizes = read.column(title, "place"), read.column(title, "parameters")
    assert places["psmathur/orca_mini_v3_70b"].text == places["yeontaek/llama-2-70B-ensemble-v4"].text == "= 14"
    assert places["ehartford/Samantha-1.11-70b"].text == "16"
    assert sizes["AIDC-ai-business/Marcoroni-70B"].text == "70\u00a0B*"
    assert (sizes["uni-tianyan/Uni-TianYan"].text, sizes["uni-tianyan/Uni-TianYan"].key) == ("–", None)


def test_every_chart_has_an_alternative_text(read):
    assert read.tags.count("desc") == 2 * read.tags.count("figure")
    assert ("svg", "role", "img") in read.attributes


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_is_rendered_asks_for_nothing_and_fits_the_window(browser: Chromium, written, width, dark):
    browser.open(written / "index.html", width, dark)
    assert browser.evaluate("'ready' in document.documentElement.dataset")
    assert browser.requests() == [(written / "index.html").as_uri()]
    assert browser.complaints() == []
    browser.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    assert browser.evaluate("document.documentElement.scrollWidth") == width
    kind = "narrow" if width < 600 else "wide"
    assert browser.evaluate(f"document.querySelector('figure svg.{kind}').clientHeight") > 50


def test_a_long_table_shows_one_page_of_rows_and_leafs_through_all(browser: Chromium, written):
    browser.open(written / "index.html", 1280)
    models, status = rows_of(TITLE, 0), f"{TABLE.format(title=TITLE)}.closest('.table').querySelector('.pages span')"
    first = browser.evaluate(models)
    assert (len(first), first[0]) == (ROWS_AT_ONCE, "AIDC-ai-business/Marcoroni-70B")
    assert browser.evaluate(f"{status}.textContent") == "1–50 of 1,159"
    browser.evaluate(click(TITLE, ".pages button:last-child"))
    assert browser.evaluate(f"{status}.textContent") == "51–100 of 1,159"
    assert not set(browser.evaluate(models)) & set(first)
    browser.evaluate(click(TITLE, ".pages button:first-child"))
    assert browser.evaluate(models) == first
    assert browser.evaluate(f"{TABLE.format(title=TITLE)}.closest('.table').querySelector('.pages button').disabled")


def test_it_sorts_all_rows_and_not_only_those_that_are_shown(browser: Chromium, written, report_board):
    browser.open(written / "index.html", 1280)
    mmlu = sorted((float(each.entry.scores[report_board.benchmarks[2]]) for each in report_board.latest), reverse=True)
    browser.evaluate(click(TITLE, "th:nth-child(6) button"))
    assert list(map(float, browser.evaluate(rows_of(TITLE, 5)))) == mmlu[:ROWS_AT_ONCE]
    assert browser.evaluate(f"{TABLE.format(title=TITLE)}.querySelector('th[aria-sort]').ariaSort") == "descending"
    browser.evaluate(click(TITLE, "th:nth-child(6) button"))
    assert list(map(float, browser.evaluate(rows_of(TITLE, 5)))) == mmlu[: -ROWS_AT_ONCE - 1 : -1]
    browser.evaluate(click(TITLE, "th:nth-child(8) button"))  # parameters: unknown ones last, whichever way
    assert browser.evaluate(rows_of(TITLE, 7))[0] == "180\u00a0B*" or "–" not in browser.evaluate(rows_of(TITLE, 7))
    browser.evaluate(click(TITLE, "th:nth-child(8) button"))
    assert "–" not in browser.evaluate(rows_of(TITLE, 7))


def test_it_filters_all_rows(browser: Chromium, written, report_board):
    browser.open(written / "index.html", 1280)
    wanted = [
        each.entry.model for each in report_board.latest if "pythia" in each.entry.model and "12b" in each.entry.model
    ]
    holder = f"{TABLE.format(title=TITLE)}.closest('.table')"
    browser.evaluate(
        f"(() => {{ const input = {holder}.querySelector('input'); input.value = 'PYTHIA 12b';"
        " input.dispatchEvent(new Event('input')); })()"
    )
    assert len(wanted) > 1
    assert set(wanted) <= set(browser.evaluate(rows_of(TITLE, 0)))
    assert browser.evaluate(f"{holder}.querySelector('.filter span').textContent").endswith(" of 1159")


def test_the_keyboard_reaches_everything(browser: Chromium, written):
    browser.open(written / "index.html", 1280)
    controls = "document.querySelectorAll('button:not(:disabled), summary, input, select, a[href]')"
    assert browser.evaluate(f"Array.from({controls}).every(control => control.tabIndex === 0)")
    button = f"{TABLE.format(title=TITLE)}.closest('.table').querySelector('.pages button:last-child')"
    browser.evaluate(f"{button}.focus()")
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
        )
    assert browser.evaluate(f"{button}.parentElement.querySelector('span').textContent") == "51–100 of 1,159"


def test_on_paper_there_are_no_buttons(browser: Chromium, written):
    browser.open(written / "index.html", 1280)
    browser.call("Emulation.setEmulatedMedia", media="print")
    shown = "Array.from(document.querySelectorAll('.pages button, .filter, .choose')).filter(each => each.offsetHeight)"
    assert browser.evaluate(f"{shown}.length") == 0
    assert browser.evaluate("document.querySelector('figure svg.wide').clientHeight") > 50


def test_a_script_in_a_models_name_stays_text(browser: Chromium, hostile):
    assert "<script>document" not in hostile.read_text("utf-8")
    browser.open(hostile, 1280)
    assert browser.evaluate(rows_of(TITLE, 0))[0] == HOSTILE
    browser.evaluate(click(TITLE, "th:nth-child(3) button"))
    browser.evaluate(click(TITLE, "th:nth-child(3) button"))
    assert browser.evaluate(rows_of(TITLE, 0))[0] == f"last {HOSTILE}"
    assert browser.evaluate("document.title") == "Leaderboard – 2023-05-23"
    assert browser.evaluate("document.images.length") == 0
    assert browser.complaints() == []
    assert browser.requests() == [hostile.as_uri()]


def test_only_addresses_of_the_web_are_followed(browser: Chromium, hostile):
    browser.open(hostile, 1280)
    addresses = set(browser.evaluate("Array.from(document.querySelectorAll('tbody a'), link => link.href)"))
    assert addresses == {"https://example.org/a?b=1&c=%22%27%3C"}
    browser.evaluate(click(TITLE, ".pages button:last-child"))
    assert set(browser.evaluate("Array.from(document.querySelectorAll('tbody a'), link => link.href)")) == addresses


def test_a_short_table_has_no_pages_and_a_long_one_keeps_its_rows_as_data(tmp_path):
    def page(rows: int) -> ReadPage:
        table: list[list[Any]] = [[f"r{n}", n] for n in range(rows)]
        section = Section("s", [Table("t", [Column("name"), Column("n", str)], table, paged=True)])
        (tmp_path / "page.html").write_bytes(render(Page("p", "k", "l", [section])))
        return read_page(tmp_path / "page.html")

    assert page(ROWS_AT_ONCE).tags.count("script") == 1
    assert page(ROWS_AT_ONCE + 1).tags.count("script") == 2
    assert len(page(ROWS_AT_ONCE + 1).tables["t"]) == 1 + ROWS_AT_ONCE


def test_a_leaderboard_of_one_model_and_one_date_has_its_page_and_the_same_each_time(tmp_path):
    board = build([read_source(write_snapshot(tmp_path, "2023-05-23", [row("m", 50, 60, 40, 50)]))])
    write_leaderboard(board, claims(board), tmp_path / "out")
    read = read_page(tmp_path / "out" / "index.html")
    assert "There is one date only" in read.text
    assert read.column("All models on 2023-05-23", "place")["m"].text == "1"
    assert render(leaderboard_page(board, claims(board))) == (tmp_path / "out" / "index.html").read_bytes()
