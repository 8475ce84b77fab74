"""What a run's page says of tokens and of training."""

from __future__ import annotations

import math

from core.reporting.formats import by_reason, count, decimal, duration, percent
from core.reporting.frame import Block, Column, Facts, Section, Table, Text
from core.reporting.run_files import Phase, Run, TrainingSummary
from core.reporting.training_charts import learning_curves, throughput


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
        blocks.append(_figures(phase.summary))
    elif phase.log:
        blocks.append(Text(f"Step {count(phase.log[-1].step)} was the last one logged.", "note"))
    if phase.log:
        blocks += [learning_curves(phase), throughput(phase)]
    return blocks or [Text("This phase has not been trained.")]


def _figures(summary: TrainingSummary) -> Facts:
    share = summary.trainable_parameters / summary.parameters if summary.parameters else math.nan
    best = _loss(summary.best_validation_loss)
    at = f", at step {count(summary.best_step)}" if summary.best_step is not None else ""
    rows = [
        ("method", summary.method),
        ("parameters", count(summary.parameters)),
        ("trainable parameters", f"{count(summary.trainable_parameters)} ({percent(share)})"),
        ("optimiser steps", count(summary.steps)),
        ("epochs", f"{summary.epochs:.4g}"),
        ("tokens", count(summary.tokens)),
        ("tokens with loss", count(summary.target_tokens)),
        ("loss at the first step", _loss(summary.first_loss)),
        ("loss at the last step", _loss(summary.last_loss)),
        ("best validation loss", best + at),
        ("time in training", duration(summary.seconds)),
        ("tokens per second", count(summary.tokens_per_second)),
        ("workers", count(summary.workers)),
    ]
    return Facts(rows)


def _loss(value: float | None) -> str:
    return "–" if value is None else decimal(value)
