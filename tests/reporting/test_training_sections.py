"""What a run's page says of a phase beside its learning curves."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from core.errors import DataError
from core.reporting.charts import Chart
from core.reporting.frame import Table, Text
from core.reporting.options import Report
from core.reporting.preference_charts import completion_logps, preferred_reward, rewards
from core.reporting.run_files import read_run
from core.reporting.run_report import write_run_report
from core.reporting.throughput_chart import throughput
from core.reporting.training_charts import gradient_norms
from core.reporting.training_files import Event, Phase, PreferenceFigures, TrainingLine, ValidationLine, read_phase
from core.reporting.training_sections import MOST_DOCUMENTS, MOST_EVENTS, training_sections
from core.training.objectives import PreferencePairs
from tests.reporting.made_run import CPU, EVENTS, SCRIPT
from tests.reporting.page_reader import ReadPage, read_page
from tests.reporting.test_charts import texts

OLD = {"step", "loss", "learning_rate", "tokens", "tokens_per_second", "seconds", "validation_loss"}


@pytest.fixture(scope="module")
def page(page_path: Path) -> ReadPage:
    """The page of the whole run."""
    return read_page(page_path)


def phase_of(**figures: list[float]) -> Phase:
    """A phase of as many steps as there are figures."""
    steps = range(len(next(iter(figures.values()))))
    log = [
        TrainingLine(
            step=n + 1,
            loss=2.0,
            learning_rate=1e-3,
            tokens=n,
            tokens_per_second=1000.0,
            seconds=float(n),
            **{name: values[n] for name, values in figures.items()},
        )
        for n in steps
    ]
    return Phase("sft", None, log, [])


def blocks(run: Path, phase: str, kind: type) -> list[Any]:
    (section,) = [each for each in training_sections(read_run(run)) if each.title == f"Training: {phase}"]
    return [block for block in section.blocks if isinstance(block, kind)]


@pytest.fixture
def run_log() -> str:
    """A few log lines of preference pairs."""
    figures = dict.fromkeys(PreferenceFigures.model_fields, 0.5) | {"reward_chosen": 0.75}
    lines = [line.model_dump() | figures for line in phase_of(gradient_norm=[1.0] * 3).log]
    return "".join(json.dumps(line) + "\n" for line in lines)


def rewrite(path: Path, change: Any) -> None:
    """Changes every line of a JSON Lines file."""
    lines = [change(json.loads(line)) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def said(texts: list[str]) -> list[str]:
    return [text.replace("\u00a0", " ") for text in texts]


def test_speed_peak_wait_memory_and_device_are_the_summarys(page: ReadPage) -> None:
    assert said(page.facts["MFU"]) == ["43.1 % of 989.4 TFLOP/s a device"]
    assert said(page.facts["waiting for data"]) == ["1.2 %"] * 3
    assert said(page.facts["peak memory of a worker"]) == ["702 MB", "31.4 GB", "702 MB"]
    assert page.facts["tokens per second and device"] == ["12,962"] * 3
    assert page.facts["device"] == [CPU["device"], "NVIDIA H100 80GB HBM3", CPU["device"]]
    assert page.facts["skipped steps"] == ["1"] * 3
    assert page.facts["loss spikes"] == ["2"] * 3


def test_a_preference_phase_tells_margin_and_accuracy(page: ReadPage, finished_run: Path) -> None:
    told = json.loads((finished_run / "train" / "dpop" / "summary.json").read_text())["preference"]
    first, last = told["first"], told["last"]
    assert page.facts["reward margin"] == [f"{first['reward_margin']:+.3f} → {last['reward_margin']:+.3f}"]
    assert said(page.facts["reward accuracy"]) == [
        f"{100 * first['reward_accuracy']:.1f} % → {100 * last['reward_accuracy']:.1f} %"
    ]


def test_figures_of_the_page_are_those_that_training_writes() -> None:
    written = {*PreferencePairs.figures, "reward_margin"} - {"loss"}
    assert set(PreferenceFigures.model_fields) == written
    assert {f"validation_{name}" for name in written} <= set(ValidationLine.model_fields)


def test_skipped_steps_and_spikes_stand_in_a_table_with_their_documents(page: ReadPage) -> None:
    rows = page.tables["Skipped steps and spikes: sft"][1:]
    assert [[cell.text for cell in row[:5]] for row in rows] == [
        ["61", "spike", "9.250", "1.204", "14.500"],
        ["140", "skipped", "–", "0.410", "–"],
        ["201", "spike", "3.500", "0.200", "6.000"],
    ]
    assert rows[0][5].text == "skills:0:1"
    assert rows[1][5].text.startswith(SCRIPT)
    assert rows[1][5].text.endswith(f"and {len(EVENTS[1]['documents']) - MOST_DOCUMENTS:,} more")
    assert "Skipped steps and spikes: pretrain" not in page.tables


def test_of_very_many_events_the_first_are_shown_and_the_rest_is_said(run_without_logs: Path) -> None:
    events = [{"step": n, "kind": "skipped", "documents": ["a"]} for n in range(MOST_EVENTS + 7)]
    path = run_without_logs / "train" / "sft" / "events.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    (table,) = blocks(run_without_logs, "sft", Table)
    assert len(table.rows) == MOST_EVENTS
    assert table.folded
    assert table.note.startswith(f"The first {MOST_EVENTS} of {MOST_EVENTS + 7}. ")


def test_events_of_a_step_done_again_count_once(run_copy: Path) -> None:
    path = run_copy / "train" / "sft" / "events.jsonl"
    before = read_phase(path.parent).events
    path.write_text(path.read_text() + path.read_text() + '{"step": 300, "ki')
    assert read_phase(path.parent).events == before
    assert len(before) == len(EVENTS)


def test_an_event_of_an_unknown_kind_is_named_with_its_place(run_copy: Path) -> None:
    (run_copy / "train" / "sft" / "events.jsonl").write_text('{"step": 1, "kind": "odd"}\n')
    with pytest.raises(DataError, match=r"sft/events\.jsonl:1: kind: .*'odd'"):
        read_run(run_copy)


def test_a_run_of_an_earlier_version_has_its_curves_and_nothing_made_up(run_copy: Path) -> None:
    for phase in ("pretrain", "dpop"):
        directory = run_copy / "train" / phase
        directory.joinpath("manifest.json").unlink()
        for name in ("log.jsonl", "summary.json"):
            directory.joinpath(name).unlink()
    rewrite(run_copy / "train" / "sft" / "log.jsonl", lambda line: {k: v for k, v in line.items() if k in OLD})
    (run_copy / "train" / "sft" / "events.jsonl").unlink()
    path = run_copy / "train" / "sft" / "summary.json"
    new = {"optimizer", "zero_stage", "device", "devices", "tokens_per_second_per_device", "target_tokens_per_second"}
    new |= {"mfu", "peak_flops", "data_wait", "peak_memory_bytes", "skipped_steps", "spikes", "refused_checkpoints"}
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k not in new}))
    shown = read_page(write_run_report(run_copy, Report()))
    assert len(shown.facts["tokens per second"]) == 1
    assert not {"MFU", "device", "skipped steps", "waiting for data", "optimiser"} & set(shown.facts)
    charts = {path.stem for path in (run_copy / "report" / "charts").glob("*sft*.svg")}
    assert charts == {"Learning-curves-sft", "Throughput-sft"}
    columns = (run_copy / "report" / "charts" / "Throughput-sft.csv").read_text().splitlines()[0]
    assert columns == '"step","seconds","tokens_per_second"'


def test_throughput_tells_the_share_of_the_peak_only_where_it_is_known(finished_run: Path) -> None:
    phases = {phase.name: phase for phase in read_run(finished_run).phases}
    known, unknown = throughput(phases["sft"]), throughput(phases["pretrain"])
    names = ["step", "seconds", "tokens_per_second", "mfu", "data_wait", "memory_bytes"]
    assert known.data.column_names == names
    assert unknown.data.column_names == [name for name in names if name != "mfu"]
    assert "MFU" in known.alt
    assert "MFU" not in unknown.alt
    assert any(re.search(r"MFU 4\d\.\d %", text) for text in said(texts(known.svg, "title")))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mfu", [[math.nan, 0.4], [math.nan] * 3, [0.0], [0.4, math.inf]])
def test_a_figure_that_some_lines_lack_can_be_drawn(mfu: list[float]) -> None:
    known = [value for value in mfu if math.isfinite(value)]
    chart = throughput(phase_of(mfu=mfu))
    assert ("mfu" in chart.data.column_names) == bool(known)
    assert sum("MFU" in text for text in texts(chart.svg, "title")) == len(known)


def test_gradient_norms_are_drawn_with_where_they_are_clipped(finished_run: Path) -> None:
    phases = {phase.name: phase for phase in read_run(finished_run).phases}
    assert phases["sft"].max_gradient_norm == 1.5
    over = sum(line.gradient_norm > 1.5 for line in phases["sft"].log) / len(phases["sft"].log)
    chart = gradient_norms(phases["sft"])
    assert f"Above 1.5 it is clipped: {100 * over:.1f} % of these." in chart.alt.replace("\u00a0", " ")
    assert {"clipped above 1.5", "skipped", "spike"} <= set(texts(chart.svg, "text"))
    assert {"step 61: spike", "step 140: skipped"} <= set(texts(chart.svg, "title"))
    assert "clipped" not in gradient_norms(phases["pretrain"]).alt
    seldom = gradient_norms(dataclasses.replace(phases["sft"], max_gradient_norm=100.0))
    assert "Above 100 it is clipped: 0.0 % of these." in seldom.alt.replace("\u00a0", " ")
    assert "clipped above 100" not in texts(seldom.svg, "text")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("norms", [[1.0], [0.0, 0.0], [0.1, 2e4, 0.3], [math.nan, 1.0], [math.inf, 1.0, 1.0]])
def test_any_gradient_norms_can_be_drawn(norms: list[float]) -> None:
    assert gradient_norms(phase_of(gradient_norm=norms)).data.num_rows == sum(map(math.isfinite, norms))


def test_rewards_and_log_probabilities_are_drawn_with_validation(finished_run: Path) -> None:
    (phase,) = [phase for phase in read_run(finished_run).phases if phase.preference]
    for chart, names in (
        (rewards(phase), ["reward_chosen", "reward_rejected", "reward_margin", "reward_accuracy"]),
        (completion_logps(phase), ["chosen_logps", "rejected_logps"]),
    ):
        assert chart.data.column_names == ["step", *names, *(f"validation_{name}" for name in names)]
        rows = chart.data.to_pylist()
        logged = {line.step: line for line in phase.log}
        assert len(rows) == len(phase.log) + len(phase.validation)
        assert all(getattr(logged[row["step"]], name) == row[name] for row in rows[: len(logged)] for name in names)
        assert rows[-1][f"validation_{names[0]}"] == getattr(phase.validation[-1], f"validation_{names[0]}")
        assert not re.search(r"#[0-9a-f]{6}[;\"]", chart.page)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("steps", [1, 2, 5000])
def test_preference_phases_of_any_length_can_be_drawn(steps: int) -> None:
    figures = {name: [0.25] * steps for name in PreferenceFigures.model_fields}
    figures["reward_margin"][0] = math.nan
    for chart in (rewards(phase_of(**figures)), completion_logps(phase_of(**figures))):
        assert 0 < chart.data.num_rows <= 1000


def test_a_fallen_preferred_completion_is_said_to_be_dpos_known_failure(run_without_logs: Path, run_log: str) -> None:
    log = run_without_logs / "train" / "dpop" / "log.jsonl"
    log.write_text(run_log)
    (text,) = [block for block in blocks(run_without_logs, "dpop", Text) if "known failure" in block.text]
    assert text.tone == "note"
    assert text.text.endswith("Not so here: its reward at the end is +0.750.")
    log.write_text(run_log.replace('"reward_chosen": 0.75', '"reward_chosen": -0.75'))
    (text,) = [block for block in blocks(run_without_logs, "dpop", Text) if "known failure" in block.text]
    assert text.tone == "bad"
    assert text.text.endswith("It is so here: at the end the preferred completion's reward is −0.750.")


def test_the_preferred_reward_is_that_on_the_validation_data_where_there_are_any(finished_run: Path) -> None:
    phase = read_phase(finished_run / "train" / "dpop")
    assert preferred_reward(phase) == phase.validation[-1].validation_reward_chosen
    alone = preferred_reward(dataclasses.replace(phase, validation=[]))
    assert alone == pytest.approx(phase.log[-1].reward_chosen, abs=0.1)
    assert math.isnan(preferred_reward(Phase("dpop", None, [], [])))


def test_refused_checkpoints_and_restarts_are_said(run_without_logs: Path) -> None:
    path = run_without_logs / "train" / "sft" / "summary.json"
    more = {"refused_checkpoints": [f"{SCRIPT}: truncated"], "restarts": 3}
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    shown = read_page(write_run_report(run_without_logs, Report()))
    assert f"A checkpoint was refused: {SCRIPT}: truncated" in shown.text
    assert shown.facts["restarts"] == ["3"]


def test_charts_of_phases_share_no_id(finished_run: Path) -> None:
    sections = training_sections(read_run(finished_run))[1:]
    charts = [block for section in sections for block in section.blocks if isinstance(block, Chart)]
    assert len(charts) == 8
    ids = [found for chart in charts for found in re.findall(r' id="([^"]+)"', chart.page)]
    assert ids
    assert len(set(ids)) == len(ids)


def test_an_event_needs_only_its_step_and_kind() -> None:
    assert Event(step=3, kind="spike").documents == []
