from __future__ import annotations

import io
import math
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from core.reporting.charts import COLOURS, Canvas, Chart, colour, draw, slug
from core.reporting.curation_charts import fates, waterfall
from core.reporting.curation_files import Ledger
from core.reporting.run_files import Score
from core.reporting.score_charts import score_bars
from core.reporting.throughput_chart import throughput
from core.reporting.training_charts import DRAWN_POINTS, learning_curves, smoothed, thinned
from core.reporting.training_files import Phase, TrainingLine, ValidationLine
from tests.reporting.made_run import CONTROLS, HOSTILE

SVG = "{http://www.w3.org/2000/svg}"


def bars(title: str = "Bars", names: tuple[str, ...] = ("a", "b")) -> Chart:
    def paint(canvas: Canvas) -> None:
        axes = canvas.figure.add_subplot()
        for bar, name in zip(
            axes.barh(range(len(names)), range(1, len(names) + 1), color=colour("accent")), names, strict=True
        ):
            canvas.tip(bar, f"tip of {name}")
        axes.set_yticks(range(len(names)), names)

    return draw(title, "Two bars.", pa.table({"name": names}), paint, lambda narrow: 200)


def ledger(sources: int = 2, documents: int = 1000) -> Ledger:
    return Ledger.model_validate(
        {
            "steps": ["read", "length"],
            "sources": {
                f"source{n}": {
                    "read": {"documents": documents, "bytes": 10 * documents},
                    "steps": [
                        {
                            "step": "length",
                            "documents_in": documents,
                            "documents_kept": documents - documents // 4,
                            "bytes_in": 10 * documents,
                            "bytes_kept": 8 * documents,
                            "dropped": {"short": documents // 4},
                        }
                    ],
                    "kept": {"documents": documents - documents // 4, "bytes": 8 * documents},
                }
                for n in range(sources)
            },
        }
    )


def phase(steps: int, loss: float = 2.0) -> Phase:
    log = [
        TrainingLine(step=n, loss=loss, learning_rate=1e-3, tokens=n, tokens_per_second=1000.0, seconds=float(n))
        for n in range(1, steps + 1)
    ]
    return Phase("sft", None, log, [ValidationLine(step=steps, validation_loss=2.5)])


def texts(svg: str, tag: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg.encode()).iter(SVG + tag)]


def test_every_light_colour_has_one_role() -> None:
    lights = [light for light, _ in COLOURS.values()]
    assert len(set(lights)) == len(lights)
    assert all(re.fullmatch("#[0-9a-f]{6}", shade) for pair in COLOURS.values() for shade in pair)


def test_the_same_data_give_the_same_bytes() -> None:
    assert bars() == bars()


def test_a_page_gets_variables_and_a_file_gets_colours() -> None:
    chart = bars()
    assert "var(--accent)" in chart.page
    assert not re.search(r"#[0-9a-f]{6}[;\"]", chart.page)
    assert colour("accent") in chart.svg
    assert "var(" not in chart.svg


def test_every_colour_of_the_runs_charts_follows_the_theme() -> None:
    measured = [Score(model=model, task="arc", metric="acc", value=0.5, stderr=0.01) for model in ("base", "sft")]
    charts = [waterfall(ledger(9)), fates(ledger()), learning_curves(phase(30)), throughput(phase(30))]
    for chart in [*charts, score_bars(["base", "sft"], measured)]:
        assert not re.search(r"#[0-9a-f]{6}[;\"]", chart.page)


def test_a_chart_has_a_role_a_title_and_a_description() -> None:
    root = ElementTree.fromstring(bars().svg.encode())
    assert root.get("role") == "img"
    assert [(child.tag, child.text) for child in root][:2] == [(SVG + "title", "Bars"), (SVG + "desc", "Two bars.")]


def test_bars_show_their_tip() -> None:
    assert {"tip of a", "tip of b"} <= set(texts(bars().svg, "title"))


def test_charts_on_one_page_share_no_id() -> None:
    page = bars("One").page + bars("Two").page + learning_curves(phase(30)).page + throughput(phase(30)).page
    ids = re.findall(r' id="([^"]+)"', page)
    assert ids
    assert len(set(ids)) == len(ids)


def test_a_chart_brings_no_style_sheet_and_no_reference_outside() -> None:
    page = bars().page
    assert "<style" not in page
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]+)"', page))


@pytest.mark.filterwarnings("error")
def test_hostile_names_stay_text() -> None:
    names = (HOSTILE, CONTROLS, "$x_1$ 漢字", "_hidden")
    chart = score_bars(names, [Score(model=name, task=name, metric="acc", value=0.5) for name in names])
    assert "<script" not in chart.page
    drawn = texts(chart.svg, "text")
    assert "<script>document.title = 'p…" in drawn
    assert {"$x_1$ 漢字", "_hidden"} <= set(drawn)
    assert any("[U+202E]" in text for text in texts(chart.svg, "title"))


def test_csv_holds_the_numbers_drawn() -> None:
    chart = waterfall(ledger())
    assert pyarrow.csv.read_csv(io.BytesIO(chart.csv())).to_pylist() == [
        {"step": "read", "source": "source0", "documents": 1000},
        {"step": "read", "source": "source1", "documents": 1000},
        {"step": "length", "source": "source0", "documents": 750},
        {"step": "length", "source": "source1", "documents": 750},
    ]


def test_what_each_step_dropped_is_written_beside_its_bar() -> None:
    assert "1,500 (−500)" in texts(waterfall(ledger()).svg, "text")


@pytest.mark.parametrize("sources", [1, 8, 9, 40])
def test_any_number_of_sources_can_be_drawn(sources: int) -> None:
    drawn = texts(waterfall(ledger(sources)).svg, "text")
    assert ("33 other sources" in drawn) == (sources == 40)
    assert fates(ledger(sources)).data.num_rows == 2 * sources


def test_a_source_without_documents_is_drawn() -> None:
    assert "0.0 % kept" in [text.replace("\u00a0", " ") for text in texts(fates(ledger(1, 0)).svg, "text")]


def test_a_long_curve_is_thinned_and_keeps_its_spikes() -> None:
    losses = np.ones(100_000)
    losses[54_321] = 9.0
    drawn = thinned(losses)
    assert len(drawn) <= DRAWN_POINTS + 2
    assert 54_321 in drawn
    assert {0, 99_999} <= set(drawn.tolist())


def test_smoothing_does_not_lag_behind_a_straight_fall() -> None:
    fall = np.linspace(5, 1, 400)
    assert smoothed(fall) == pytest.approx(fall)


def test_smoothing_takes_what_is_not_a_number_as_missing() -> None:
    values = np.full(400, 2.0)
    values[[0, 200, 399]] = math.nan
    assert smoothed(values) == pytest.approx(np.full(400, 2.0))
    assert np.isnan(smoothed(np.full(400, math.nan))).all()


def test_smoothing_holds_at_the_ends_of_a_noisy_curve() -> None:
    noise = np.random.default_rng(7).normal(0, 0.1, 2000)
    assert np.abs(smoothed(1 + noise) - 1).max() < 0.05


@pytest.mark.parametrize("steps", [1, 2, 5000])
def test_phases_of_any_length_can_be_drawn(steps: int) -> None:
    chart = learning_curves(phase(steps))
    assert chart.data["validation_loss"].to_pylist()[-1] == 2.5
    assert throughput(phase(steps)).data["tokens_per_second"][0].as_py() == 1000.0


@pytest.mark.filterwarnings("error")
def test_a_phase_without_one_finite_loss_can_be_drawn() -> None:
    assert "Training loss over 20 steps." in learning_curves(phase(20, math.nan)).alt


def test_scores_are_drawn_with_value_and_error() -> None:
    measured = [
        Score(model="base", task="arc", metric="acc", value=0.25, stderr=0.01),
        Score(model="sft", task="arc", metric="acc", value=0.75, stderr=None),
    ]
    chart = score_bars(["base", "sft"], measured)
    assert {"0.250", "0.750"} <= set(texts(chart.svg, "text"))
    titles = [title.replace("\u00a0", " ") for title in texts(chart.svg, "title")]
    assert {"base, arc · acc: 0.250 ± 0.010", "sft, arc · acc: 0.750"} <= set(titles)
    assert chart.data["stderr"].to_pylist() == [0.01, None]


def test_names_of_charts_tell_phases_apart() -> None:
    assert slug("Learning curves: sft") == "Learning-curves-sft"
    assert len({slug(f"Curves: {name}") for name in ("a-b", "a_b", "A_b", "模型")}) == 4
    assert slug("../../etc/passwd") == "etc-passwd"
