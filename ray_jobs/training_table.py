"""What training tells in a terminal: a line of how it stands while it runs, a table of its phases at the end."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from core.reporting.formats import NBSP, count, decimal, duration, percent, short_count, size, visible
from ray_jobs.progress import Reporter

# In the names of devices: what does not tell one from another.
WORDY = r"NVIDIA |AMD Instinct |GeForce |Generation|\((R|TM|tm)\)| CPU\b| \d+-Core| Processor\b| @.*"


def training_table(summaries: Mapping[str, Mapping[str, Any]], *, upright: bool = False) -> Table:
    """A row for each phase, from its summary; only columns that have a value in some row. upright: a column for each
    phase in place of a row, which needs less width."""
    rows = _rows(summaries)
    headings = [heading for heading in COLUMNS if any(heading in row for row in rows.values())]
    cells = [["phase", *map(visible, rows)]]
    cells += [[heading, *(row.get(heading, "–") for row in rows.values())] for heading in headings]
    heads, *body = cells if upright else zip(*cells, strict=True)
    table = Table(box=None, header_style="bold")
    for number, head in enumerate(heads):
        left = number == 0 or (not upright and head in ("method", "workers"))
        table.add_column(Text(head), justify="left" if left else "right", no_wrap=True)
    for row in body:
        table.add_row(*map(Text, row))
    return table


def training_lines(summaries: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The same as a line for each phase, for logs and for terminals that are too narrow for the table."""
    told = {
        name: ", ".join(f"{heading} {value}" for heading, value in row.items())
        for name, row in _rows(summaries).items()
    }
    return [f"trained {visible(name)}: {line}".replace(NBSP, " ") for name, line in told.items()]


def show(reporter: Reporter, summaries: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints the table on a terminal where it fits, or else upright; the lines elsewhere."""
    console = reporter.console
    boundless = console.options.update(width=10_000)
    for upright in (False, True):
        table = training_table(summaries, upright=upright)
        if console.is_terminal and console.measure(table, options=boundless).maximum <= console.width:
            console.print(table)
            return
    for line in training_lines(summaries):
        reporter.say(line)


def told(line: Mapping[str, Any]) -> str:
    """How training stands, from a line of its log: loss, speed, share of the peak, waiting, memory, time left."""
    parts = [f"loss {decimal(_number(line['loss']))}"]
    if "reward_accuracy" in line:
        parts.append(f"accuracy {percent(_number(line['reward_accuracy']))}")
        parts.append(f"margin {decimal(_number(line['reward_margin']))}")
    parts.append(f"{count(line['tokens_per_second'])} tokens/s")
    if "mfu" in line:
        parts.append(f"MFU {percent(line['mfu'])}")
    parts.append(f"data wait {percent(line['data_wait'])}")
    parts.append(size(line["memory_bytes"]))
    if line["seconds_left"]:
        parts.append(f"{duration(line['seconds_left'])} left")
    return ", ".join(parts).replace(NBSP, " ")


def _rows(summaries: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    return {
        name: {heading: value for heading, write in COLUMNS.items() if (value := write(summary))}
        for name, summary in summaries.items()
    }


def _of(key: str, write: Callable[[float], str]) -> Callable[[Mapping[str, Any]], str | None]:
    """A figure of the summary; none where it is not there, or a count of nothing."""
    return lambda summary: write(summary[key]) if summary.get(key) else None


def _method(summary: Mapping[str, Any]) -> str:
    stage = summary.get("zero_stage")
    return f"{summary['method']}, ZeRO-{stage}" if stage else str(summary["method"])


def _workers(summary: Mapping[str, Any]) -> str:
    device = summary.get("device")
    named = f" × {' '.join(re.sub(WORDY, ' ', visible(device)).split())}" if device else ""
    return f"{summary['workers']}{named}"


def _loss(summary: Mapping[str, Any]) -> str | None:
    first, last = summary.get("first_loss"), summary.get("last_loss")
    return _from_to(first, last, decimal)


def _validation(summary: Mapping[str, Any]) -> str | None:
    best = summary.get("best_validation_loss")
    return None if best is None else f"{decimal(best)} @ {count(summary['best_step'])}"


def _preference(key: str, write: Callable[[float], str]) -> Callable[[Mapping[str, Any]], str | None]:
    def written(summary: Mapping[str, Any]) -> str | None:
        told = summary.get("preference") or {}
        return _from_to(told.get("first", {}).get(key), told.get("last", {}).get(key), write)

    return written


def _from_to(first: float | None, last: float | None, write: Callable[[float], str]) -> str | None:
    return None if first is None and last is None else f"{write(_number(first))} → {write(_number(last))}"


def _number(value: float | None) -> float:
    return math.nan if value is None else value


COLUMNS: dict[str, Callable[[Mapping[str, Any]], str | None]] = {
    "method": _method,
    "workers": _workers,
    "steps": _of("steps", count),
    "tokens": _of("tokens", short_count),
    "loss": _loss,
    "validation loss": _validation,
    "accuracy": _preference("reward_accuracy", percent),
    "log p preferred": _preference("chosen_logps", lambda value: f"{value:,.1f}".replace("-", "−")),
    "tokens/s": _of("tokens_per_second", count),
    "per device": _of("tokens_per_second_per_device", count),
    "MFU": _of("mfu", percent),
    "data wait": _of("data_wait", percent),
    "memory": _of("peak_memory_bytes", size),
    "time": _of("seconds", duration),
    "skipped": _of("skipped_steps", count),
    "spikes": _of("spikes", count),
    "restarts": _of("restarts", count),
}
