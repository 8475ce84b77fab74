"""What a run's page says of tokens and of training."""

from __future__ import annotations

import math
from collections.abc import Callable

from core.reporting.formats import by_reason, count, decimal, duration, percent, signed, size
from core.reporting.frame import Block, Cell, Column, Facts, Section, Table, Text
from core.reporting.preference_charts import completion_logps, preferred_reward, rewards
from core.reporting.run_files import Run
from core.reporting.throughput_chart import throughput
from core.reporting.training_charts import gradient_norms, learning_curves
from core.reporting.training_files import Phase, TrainingSummary

MOST_EVENTS = 200  # rows of a table
UNFOLDED_EVENTS = 12
MOST_DOCUMENTS = 6  # named of a step


def token_section(run: Run) -> Section:
    """Rows, how full they are, and what was truncated or refused."""
    if run.tokens is None:
        return Section("Tokens", [Text("Nothing has been tokenized.")], run.remark("tokenize"))
    tokenizer = run.tokens.tokenizer
    made = "trained on the curated documents" if tokenizer.kind == "trained" else tokenizer.kind
    columns = [
        Column("phase"),
        Column("split"),
        Column("documents", count),
        Column("samples", count),
        Column("rows", count),
        Column("row length", count, "tokens in a row"),
        Column("tokens", count),
        Column("with loss", count, "tokens that the loss is taken on"),
        Column("fill", percent, "share of the rows' places that hold a token"),
        Column("truncated", count, "tokens cut off at a row's end"),
        Column("refused"),
    ]
    rows = [
        [
            phase,
            name,
            split.documents,
            split.samples,
            split.rows,
            split.sequence_length,
            split.tokens,
            split.target_tokens,
            split.fill,
            split.truncated_tokens,
            by_reason(split.refused),
        ]
        for phase, splits in run.tokens.phases.items()
        for name, split in splits.items()
    ]
    text = Text(f"Tokenizer: {made}, with a vocabulary of {count(tokenizer.vocabulary)}.")
    return Section("Tokens", [text, Table("Rows of tokens", columns, rows)], run.remark("tokenize"))


def training_sections(run: Run) -> list[Section]:
    """One for each phase."""
    if not run.phases:
        return [Section("Training", [Text("No phase has been trained.")], "not run")]
    return [
        Section(f"Training: {phase.name}", _blocks(phase), run.remark(f"train/{phase.name}")) for phase in run.phases
    ]


def _blocks(phase: Phase) -> list[Block]:
    blocks: list[Block] = []
    unknown = sum(not math.isfinite(line.loss) for line in phase.log)
    if unknown:
        blocks.append(Text(f"{count(unknown)} logged losses are not a number; the curves leave them out.", "bad"))
    if phase.summary:
        blocks += [Text(f"A checkpoint was refused: {why}", "bad") for why in phase.summary.refused_checkpoints]
        blocks.append(_figures(phase.summary))
    elif phase.log:
        blocks.append(Text(f"Step {count(phase.log[-1].step)} was the last one logged.", "note"))
    if phase.log:
        blocks.append(learning_curves(phase))
    if phase.preference:
        blocks += [rewards(phase), _preferred(phase), completion_logps(phase)]
    if any(math.isfinite(line.gradient_norm) for line in phase.log):
        blocks.append(gradient_norms(phase))
    if phase.events:
        blocks.append(_events(phase))
    if phase.log:
        blocks.append(throughput(phase))
    return blocks or [Text("This phase has not been trained.")]


def _figures(summary: TrainingSummary) -> Facts:
    share = summary.trainable_parameters / summary.parameters if summary.parameters else math.nan
    best = _loss(summary.best_validation_loss)
    at = f", at step {count(summary.best_step)}" if summary.best_step is not None else ""
    rows = [
        ("method", summary.method + (f", ZeRO stage {summary.zero_stage}" if summary.zero_stage else "")),
        ("optimiser", summary.optimizer),
        ("parameters", count(summary.parameters)),
        ("trainable parameters", f"{count(summary.trainable_parameters)} ({percent(share)})"),
        ("optimiser steps", count(summary.steps)),
        ("epochs", f"{summary.epochs:.4g}"),
        ("tokens", count(summary.tokens)),
        ("tokens with loss", count(summary.target_tokens)),
        ("loss at the first step", _loss(summary.first_loss)),
        ("loss at the last step", _loss(summary.last_loss)),
        ("best validation loss", best + at),
        *_preference_figures(summary),
        ("time in training", duration(summary.seconds)),
        ("tokens per second", count(summary.tokens_per_second)),
        ("tokens per second and device", _known(summary.tokens_per_second_per_device, count)),
        ("tokens with loss per second", _known(summary.target_tokens_per_second, count)),
        ("MFU", _mfu(summary)),
        ("waiting for data", _known(summary.data_wait, percent)),
        ("peak memory of a worker", _known(summary.peak_memory_bytes, size)),
        ("workers", count(summary.workers)),
        ("device", summary.device),
        ("skipped steps", _known(summary.skipped_steps, count)),
        ("loss spikes", _known(summary.spikes, count)),
        ("restarts", _known(summary.restarts, count)),
    ]
    return Facts([(name, value) for name, value in rows if value is not None])


def _preference_figures(summary: TrainingSummary) -> list[tuple[str, str]]:
    if summary.preference is None:
        return []
    first, last = summary.preference.first, summary.preference.last
    return [
        ("reward margin", f"{signed(first.reward_margin)} → {signed(last.reward_margin)}"),
        ("reward accuracy", f"{percent(first.reward_accuracy)} → {percent(last.reward_accuracy)}"),
    ]


def _mfu(summary: TrainingSummary) -> str | None:
    """Model FLOPs utilisation, and what it is a share of."""
    if summary.mfu is None:
        return None
    peak = f" of {summary.peak_flops / 1e12:,.4g} TFLOP/s a device" if summary.peak_flops else ""
    return percent(summary.mfu) + peak


def _preferred(phase: Phase) -> Text:
    """What to look for in the log-probability of the preferred completion, and whether it is there."""
    known = (
        "A preferred completion that becomes less likely while the margin grows is DPO's known failure, on pairs that "
        "differ in little (Pal et al. 2024); DPO-Positive holds it up."
    )
    reward = preferred_reward(phase)
    if round(reward, 3) < 0:
        return Text(f"{known} It is so here: at the end the preferred completion's reward is {signed(reward)}.", "bad")
    end = f" Not so here: its reward at the end is {signed(reward)}." if math.isfinite(reward) else ""
    return Text(known + end, "note")


def _events(phase: Phase) -> Table:
    columns = [
        Column("step", count),
        Column("what", hint="skipped: loss or gradient not finite, weights as before; spike: a loss that stands out"),
        Column("loss", decimal),
        Column("usual loss", decimal, "mean of the steps before"),
        Column("gradient norm", decimal),
        Column("documents", hint="ids of what the step was trained on"),
    ]
    shown = phase.events[:MOST_EVENTS]
    rows = [
        [event.step, event.kind, event.loss, event.usual, event.gradient_norm, Cell(_ids(event.documents), "wordy")]
        for event in shown
    ]
    more = len(phase.events) - len(shown)
    note = f"The first {count(len(shown))} of {count(len(phase.events))}. " if more else ""
    note += f"All, with every document, are in train/{phase.name}/events.jsonl."
    return Table(f"Skipped steps and spikes: {phase.name}", columns, rows, note, folded=len(rows) > UNFOLDED_EVENTS)


def _ids(documents: list[str]) -> str:
    shown = ", ".join(documents[:MOST_DOCUMENTS])
    more = len(documents) - MOST_DOCUMENTS
    return f"{shown} and {count(more)} more" if more > 0 else shown or "–"


def _loss(value: float | None) -> str:
    return "–" if value is None else decimal(value)


def _known(value: float | None, write: Callable[[float], str]) -> str | None:
    return None if value is None else write(value)
