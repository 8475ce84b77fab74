"""What a leaderboard's page says of the 2023 report's claims."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.reporting.frame import Block, Cell, Column, OpenQuotes, Part, Quote, Section, Table, Text
from core.reporting.leaderboard.board import Leaderboard
from core.reporting.leaderboard.claims import Claim, Verdict, truthful_against_mmlu
from core.reporting.leaderboard.time_charts import correlation_over_time, spread_over_time

TONES: dict[Verdict, str] = {"reproduced": "good", "contradicted": "bad", "in part": "", "cannot be tested": ""}


def claim_section(board: Leaderboard, claims: Sequence[Claim]) -> Section:
    """Each claim with its verdict and the numbers, and two of them over time."""
    blocks: list[Block] = [
        Text(
            "What the Open LLM Leaderboard Report (dsdanielpark, 2023) says of these months, in its sense, each with "
            f"what the snapshots here show: {tally(claims)}."
        ),
        Table(
            "Verdicts",
            [Column("claim"), Column("verdict"), Column("report of")],
            [
                [claim.title, Cell(claim.verdict, f"{TONES[claim.verdict]} whole"), Cell(claim.dates, "whole")]
                for claim in claims
            ],
        ),
        *(_told(claim) for claim in claims),
    ]
    if len(board.dates) > 1:
        blocks.append(spread_over_time(board))
        found = truthful_against_mmlu(board)
        known = {date: pair for date, pair in found.items() if not np.isnan(pair[0].value)}
        if len(known) > 1:
            blocks.append(correlation_over_time(("MMLU", "TruthfulQA"), known))
    return Section("The report's claims", blocks)


def tally(claims: Sequence[Claim]) -> str:
    """'9 reproduced, 1 in part, 2 contradicted'"""
    verdicts = [claim.verdict for claim in claims]
    return ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in TONES if verdict in verdicts)


def _told(claim: Claim) -> OpenQuotes:
    parts = [Part("the report", claim.said), Part(claim.verdict, claim.numbers, TONES[claim.verdict])]
    return OpenQuotes(claim.title, claim.dates, [Quote([], parts)])
