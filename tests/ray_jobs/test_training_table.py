"""What `raycipe train` prints: how it stands, and what came of each phase."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
from rich.console import Console

from ray_jobs.progress import Reporter
from ray_jobs.training_table import show, told, training_lines, training_table

PRETRAIN: dict[str, Any] = {
    "method": "full",
    "zero_stage": 3,
    "workers": 8,
    "device": "NVIDIA H100 80GB HBM3",
    "steps": 12_000,
    "tokens": 2_500_000_000,
    "first_loss": 11.2,
    "last_loss": 2.123,
    "best_validation_loss": 2.2,
    "best_step": 11_500,
    "tokens_per_second": 81_234.1,
    "tokens_per_second_per_device": 10_154.1,
    "mfu": 0.4412,
    "data_wait": 0.002,
    "peak_memory_bytes": 62_100_000_000,
    "seconds": 30_775.1,
    "skipped_steps": 0,
    "spikes": 2,
}
DPOP: dict[str, Any] = {
    "method": "lora",
    "zero_stage": 0,
    "workers": 2,
    "device": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
    "steps": 300,
    "tokens": 98_000,
    "first_loss": 0.693,
    "last_loss": None,
    "best_validation_loss": None,
    "best_step": None,
    "tokens_per_second": 5_900.2,
    "seconds": 61.0,
    "skipped_steps": 1,
    "preference": {
        "first": {"reward_accuracy": 0.5, "chosen_logps": -120.44},
        "last": {"reward_accuracy": 0.91, "chosen_logps": -118.12},
    },
}


def printed(summaries: dict[str, Any], width: int, terminal: bool = True) -> str:
    reporter = Reporter()
    stream = io.StringIO()
    reporter.console = Console(file=stream, force_terminal=terminal, width=width, color_system=None)
    show(reporter, summaries)
    return stream.getvalue().replace("\u00a0", " ")


def cells(summaries: dict[str, Any]) -> dict[str, list[str]]:
    columns = training_table(summaries).columns
    return {str(column.header): [str(cell).replace("\u00a0", " ") for cell in column.cells] for column in columns}


def test_the_table_has_a_row_for_each_phase_and_every_figure_of_its_summary() -> None:
    assert cells({"pretrain": PRETRAIN, "dpop": DPOP}) == {
        "phase": ["pretrain", "dpop"],
        "method": ["full, ZeRO-3", "lora"],
        "workers": ["8 × H100 80GB HBM3", "2 × Intel Xeon Platinum 8481C"],
        "steps": ["12,000", "300"],
        "tokens": ["2.5 B", "98,000"],
        "loss": ["11.200 → 2.123", "0.693 → not a number"],
        "validation loss": ["2.200 @ 11,500", "–"],
        "accuracy": ["–", "50.0 % → 91.0 %"],
        "log p preferred": ["–", "−120.4 → −118.1"],
        "tokens/s": ["81,234", "5,900"],
        "per device": ["10,154", "–"],
        "MFU": ["44.1 %", "–"],
        "data wait": ["0.2 %", "–"],
        "memory": ["62.1 GB", "–"],
        "time": ["8 h 32 min", "1 min 01 s"],
        "skipped": ["–", "1"],
        "spikes": ["2", "–"],
    }


def test_only_columns_with_a_value_are_there() -> None:
    assert "accuracy" not in cells({"pretrain": PRETRAIN})
    assert not {"MFU", "memory", "spikes", "validation loss"} & set(cells({"dpop": DPOP}))


def test_a_summary_of_an_earlier_version_has_a_row() -> None:
    old = {"method": "lora", "workers": 1, "steps": 8, "tokens": 9_000, "seconds": 4.0, "tokens_per_second": 2_250.0}
    assert cells({"sft": old})["workers"] == ["1"]


@pytest.mark.parametrize(("width", "lines"), [(240, 3), (79, 17)])
def test_on_a_terminal_the_table_stands_so_that_nothing_is_cut(width: int, lines: int) -> None:
    shown = printed({"pretrain": PRETRAIN, "dpop": DPOP}, width).splitlines()
    assert len(shown) == lines
    assert all(len(line) <= width for line in shown)
    assert "…" not in "".join(shown)
    assert shown[0].split()[:2] == ["phase", "method" if width == 240 else "pretrain"]


@pytest.mark.parametrize(("width", "terminal"), [(40, True), (220, False)])
def test_elsewhere_each_phase_is_one_plain_line(width: int, terminal: bool) -> None:
    shown = printed({"pretrain": PRETRAIN, "dpop": DPOP}, width, terminal)
    assert shown.splitlines() == training_lines({"pretrain": PRETRAIN, "dpop": DPOP})
    assert shown.splitlines()[1] == (
        "trained dpop: method lora, workers 2 × Intel Xeon Platinum 8481C, steps 300, tokens 98,000, "
        "loss 0.693 → not a number, accuracy 50.0 % → 91.0 %, log p preferred −120.4 → −118.1, tokens/s 5,900, "
        "time 1 min 01 s, skipped 1"
    )


def test_a_phases_name_is_no_markup() -> None:
    assert cells({"[red]sft\x1b[31m": DPOP})["phase"] == ["[red]sft[U+001B][31m"]


def test_while_it_runs_speed_share_of_the_peak_wait_memory_and_time_left_are_told() -> None:
    line = {"loss": 2.1034, "tokens_per_second": 81_234.1, "mfu": 0.4412, "data_wait": 0.002, "memory_bytes": 62.1e9}
    assert told({**line, "seconds_left": 5025.0}) == (
        "loss 2.103, 81,234 tokens/s, MFU 44.1 %, data wait 0.2 %, 62.1 GB, 1 h 23 min left"
    )
    del line["mfu"]
    assert told({**line, "seconds_left": 0.0}) == "loss 2.103, 81,234 tokens/s, data wait 0.2 %, 62.1 GB"


def test_of_preference_pairs_accuracy_and_margin_are_told() -> None:
    line = {"loss": None, "reward_accuracy": 0.75, "reward_margin": math.nan, "tokens_per_second": 900.0}
    said = told({**line, "data_wait": 0.0, "memory_bytes": 1e9, "seconds_left": 60.0})
    assert said.startswith("loss not a number, accuracy 75.0 %, margin not a number, 900 tokens/s")
