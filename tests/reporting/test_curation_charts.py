from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree

import pyarrow.csv
import pytest

from core.reporting.charts import Chart
from core.reporting.curation_charts import fates, own_waterfall, waterfall
from core.reporting.curation_files import Duplicates, Ledger, Lengths
from core.reporting.histogram_charts import label_histogram, length_histograms
from core.reporting.matrix_chart import brief, duplication_matrix
from tests.reporting.made_curation import EDGES, ledger_of
from tests.reporting.made_run import CONTROLS, HOSTILE

SVG = "{http://www.w3.org/2000/svg}"
STEPS = {"read": {}, "length": {"too_short": 0.25}}


def ledger(sources: int = 2, steps: dict[str, dict[str, float]] = STEPS) -> Ledger:
    return Ledger.model_validate(ledger_of(sources, steps))


def lengths(*sources: str, read: tuple[int, ...] = (0, 4, 6, 2), kept: tuple[int, ...] = (0, 0, 6, 1)) -> Lengths:
    filled = {"read": [*read, *[0] * (len(EDGES) - 4)], "kept": [*kept, *[0] * (len(EDGES) - 4)]}
    return Lengths.model_validate({"unit": "tokens", "edges": EDGES, "sources": dict.fromkeys(sources, filled)})


def matrix_of(size: int, cell: int = 5) -> Duplicates:
    matrix = [[cell + row if column % 2 else 0 for column in range(size)] for row in range(size)]
    sources = [f"source-{number:02d}" for number in range(size)]
    found = {"sources": sources, "matrix": matrix, "removed": sum(map(sum, matrix))}
    return Duplicates.model_validate({"step": "minhash_dedup", "clusters": [], **found})


def texts(chart: Chart, tag: str = "text", page: bool = False) -> list[str]:
    """Texts drawn in the file; page: on the page, in the wide and the narrow drawing."""
    root = ElementTree.fromstring(f"<svgs>{chart.page}</svgs>" if page else chart.svg.encode())
    return [(element.text or "").replace("\u00a0", " ") for element in root.iter(SVG + tag)]


def rows(chart: Chart) -> list[dict[str, object]]:
    found: list[dict[str, object]] = pyarrow.csv.read_csv(io.BytesIO(chart.csv())).to_pylist()
    return found


@pytest.mark.parametrize(
    ("measure", "whole", "note"),
    [
        ("documents", 3000, "2,250 (−750)"),
        ("bytes", 2_700_000, "2.02 MB (−675 kB)"),
        ("tokens", 600_000, "450 k (−150 k)"),
    ],
)
def test_the_waterfall_counts_in_every_measure(measure: str, whole: int, note: str) -> None:
    chart = waterfall(ledger(), measure)
    assert chart.title == f"{measure.capitalize()} left after each step"
    assert note in texts(chart)
    assert sum(row[measure] for row in rows(chart)[:2]) == whole  # type: ignore[misc]


def test_a_source_has_its_own_waterfall_in_shares_of_what_was_read() -> None:
    chart = own_waterfall(ledger(), "source-01")
    assert rows(chart)[1] == {"step": "length", "documents": 1500, "bytes": 1_350_000, "tokens": 300_000}
    assert "source-01, after length: 1,500 documents (75.0 %)" in texts(chart, "title")
    assert {"documents", "bytes", "tokens"} <= set(texts(chart))


def test_steps_beyond_the_colours_are_drawn_together() -> None:
    chart = fates(ledger(1, {f"step_{n}": {"bad": 0.2 / (1 + n)} for n in range(12)}))
    drawn = texts(chart)
    assert "6 other steps" in drawn
    assert "step_0" in drawn
    assert "step_11" not in drawn
    assert len(rows(chart)) == 13


def test_a_source_that_was_drawn_several_times_stays_within_the_chart() -> None:
    account = ledger_of(1, {"mixture": {}})
    step = account["sources"]["source-00"]["steps"][0]
    step["documents_kept"] = account["sources"]["source-00"]["kept"]["documents"] = 3000
    drawn = Ledger.model_validate(account)
    assert "300.0 % kept" in texts(fates(drawn))
    assert "3,000" in texts(waterfall(drawn))


def test_lengths_are_drawn_for_all_sources_and_each() -> None:
    chart = length_histograms(lengths("web", "books"), ["books", "web"])
    assert [text for text in texts(chart) if text in ("all sources", "books", "web")] == ["all sources", "books", "web"]
    assert texts(chart).count("median 2–3") == 3
    assert rows(chart)[0] == {"source": "books", "when": "read", "from tokens": 1, "documents": 4}
    assert [row["documents"] for row in rows(chart)] == [4, 6, 2, 0, 6, 1] * 2


def test_a_median_that_moved_is_told() -> None:
    chart = length_histograms(lengths("web", read=(9, 1, 1, 0), kept=(0, 0, 0, 1)), ["web"])
    assert "median 0 → 4–7" in texts(chart)


def test_lengths_of_nothing_can_be_drawn() -> None:
    assert "median none" in texts(length_histograms(lengths("web", read=(0,) * 4, kept=(0,) * 4), ["web"]))


@pytest.mark.parametrize(("labels", "others"), [(1, None), (21, None), (60, "40 others")])
def test_labels_are_counted_the_rare_ones_together(labels: int, others: str | None) -> None:
    found = {f"l{n:02d}": 100 - n for n in range(labels)}
    chart = label_histogram("language", {"web": found, "books": {"l00": 50}})
    drawn = texts(chart)
    assert "150 (" in " ".join(drawn)
    assert [text for text in drawn if text.endswith("others")] == ([others] if others else [])
    assert len(rows(chart)) == labels + 1


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_a_matrix_of_any_size_can_be_drawn(size: int) -> None:
    chart = duplication_matrix(matrix_of(size))
    assert len(rows(chart)) == size * size
    assert ("The 20 sources with most of them, of 40." in chart.alt) == (size == 40)


def test_the_matrix_says_who_repeats_whom_wide_and_narrow() -> None:
    chart = duplication_matrix(matrix_of(2, 1234))
    assert "1.2k" in texts(chart)
    assert "1,235 documents of source-01 repeat one of source-01" in texts(chart, "title")
    assert "source-00 → source-01" in texts(chart, page=True)
    assert chart.alt.startswith("Of 2,469 documents removed, 1,235 repeat one of their own source and 1,234 one of")


def test_numbers_in_cells_are_brief() -> None:
    shown = ["999", "1.0k", "12k", "1.0M", "2.5B"]
    assert [brief(n) for n in (999, 1000, 12_345, 999_999, 2_500_000_000)] == shown


@pytest.mark.filterwarnings("error")
def test_every_colour_follows_the_theme_and_every_name_stays_text() -> None:
    names = [HOSTILE, CONTROLS, "$x_1$ 漢字"]
    found = {"sources": names, "matrix": [[1, 2, 0]] * 3, "removed": 9, "step": HOSTILE, "clusters": []}
    labels = {name: {HOSTILE: 3, CONTROLS: 1} for name in names}
    account = ledger_of(1, {HOSTILE: {"bad": 0.5}})
    account["sources"] = {HOSTILE: account["sources"]["source-00"]}
    hostile = Ledger.model_validate(account)
    charts = [waterfall(hostile, "tokens"), fates(hostile, "bytes"), own_waterfall(hostile, HOSTILE)]
    charts += [label_histogram(HOSTILE, labels), length_histograms(lengths(*names), names)]
    for chart in [*charts, duplication_matrix(Duplicates.model_validate(found))]:
        assert not re.search(r"#[0-9a-f]{6}[;\"]", chart.page)
        assert "<script" not in chart.page
        assert chart.csv()
