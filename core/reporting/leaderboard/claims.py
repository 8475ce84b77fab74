"""What the Open LLM Leaderboard Report of 2023 claims, held against the snapshots: the claim, a verdict, the numbers.

https://github.com/dsdanielpark/open-llm-leaderboard-report; a claim's date is that of the report's entry.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.reporting.formats import count
from core.reporting.leaderboard.board import Leaderboard, Ranked
from core.reporting.leaderboard.entries import Benchmark
from core.reporting.leaderboard.statistics import Correlation, pairs
from core.reporting.leaderboard.words import dated, interval, points, score, signed_points

Verdict = Literal["reproduced", "in part", "contradicted", "cannot be tested"]
LLAMA_2 = datetime.date(2023, 7, 18)  # its release
SOON = datetime.timedelta(days=30)
TOP = 10
FALCON_FROM, FALCON_TO = datetime.date(2023, 5, 26), datetime.date(2023, 6, 29)  # of whose lead the report tells
MMLU, TRUTHFUL = Benchmark("MMLU", 5), Benchmark("TruthfulQA", 0)


@dataclass(frozen=True)
class Claim:
    """said: in the report's sense, in one sentence; numbers: what was found, with each number that decides."""

    title: str
    said: str
    dates: str
    verdict: Verdict
    numbers: str


def untested(title: str, said: str, dates: str, why: str) -> Claim:
    """A claim of which the files tell nothing."""
    return Claim(title, said, dates, "cannot be tested", why)


def convergence(board: Leaderboard) -> Claim:
    """Leaders move closer together after Llama 2, and the best rises more slowly."""
    about = (
        "Scores converge after Llama 2",
        "Since the release of Llama 2 the effort to improve scores has largely disappeared, and scores converge.",
        "2023-09-04",
    )
    before = [date for date in board.dates if date < LLAMA_2]
    after = [date for date in board.dates if date >= LLAMA_2]
    if len(after) < 2 or min(len(board.rankings[date]) for date in (after[0], after[-1])) < TOP:
        return untested(*about, f"Fewer than two snapshots after {LLAMA_2} with {TOP} models.")
    if after[0] > LLAMA_2 + SOON:
        return untested(*about, f"No snapshot within {SOON.days} days after {LLAMA_2}, from which on scores converge.")
    first, last = (board.scores(date) for date in (after[0], after[-1]))
    spreads = [float(np.std(of[:TOP], ddof=1)) for of in (first, last)]
    tenths = [of[: max(2, len(of) // 10)] for of in (first, last)]
    closer = spreads[1] < spreads[0]
    found = (
        f"Standard deviation among the {TOP} best: {score(spreads[0])} points on {after[0]}, {score(spreads[1])} on "
        f"{after[-1]}; among the best tenth of all, which is {len(tenths[0])} and {len(tenths[1])} models, "
        f"{score(float(np.std(tenths[0], ddof=1)))} and {score(float(np.std(tenths[1], ddof=1)))}. From the best to "
        f"number {TOP}: {score(first[0] - first[TOP - 1])} and {score(last[0] - last[TOP - 1])} points."
    )
    rates = [_rise(board, dates) for dates in (before, after)]
    if rates[0] is None or rates[1] is None:
        return Claim(*about, "reproduced" if closer else "contradicted", found)
    slower = rates[1] < rates[0]
    found += (
        f" The best rose by {score(rates[0])} points in 30 days from {before[0]} to {before[-1]}, and by "
        f"{score(rates[1])} from {after[0]} to {after[-1]}"
    )
    if before[-1] in board.rankings:
        jump = board.scores(after[0])[0] - board.scores(before[-1])[0]
        found += f", with a jump of {score(jump)} in between, when Llama 2 came"
    verdict: Verdict = "reproduced" if closer and slower else "in part" if closer or slower else "contradicted"
    return Claim(*about, verdict, f"{found}.")


def falcon_leads(board: Leaderboard) -> Claim:
    """Falcon is first in the snapshots from May to June 2023."""
    about = ("Falcon's lead", "Falcon maintains its dominance.", "2023-06-29")
    dates = [date for date in board.dates if FALCON_FROM <= date <= FALCON_TO]
    leads = {date: lead for date in board.dates if (lead := _falcon_lead(board.rankings[date])) is not None}
    if not dates or not any(date in leads for date in dates):
        return untested(*about, f"No snapshot from {FALCON_FROM} to {FALCON_TO} with a Falcon.")
    ahead = [date for date in dates if leads.get(date, -1) > 0]
    told = ", ".join(f"{score(leads[date])} on {date}" for date in dates if date in leads)
    found = (
        f"First in {len(ahead)} of {len(dates)} snapshots of that time; points ahead of the best other model: {told}."
    )
    later = [date for date in leads if date > FALCON_TO]
    if later:
        turn = next((date for date in later if leads[date] <= 0), None)
        found += f" Overtaken by {turn} ({signed_points(leads[turn])})." if turn else " Not overtaken since."
    verdict: Verdict = "reproduced" if len(ahead) == len(dates) else "in part" if ahead else "contradicted"
    return Claim(*about, verdict, found)


def falcon_favoured(board: Leaderboard) -> Claim:
    """When MMLU's implementation was mended, other large models rose and Falcon hardly did."""
    about = (
        "Falcon favoured by how MMLU was measured",
        "Falcon may have had favourable scores through an implementation that differs from the original one.",
        "2023-06-29",
    )
    for before, after in zip(board.dates, board.dates[1:], strict=False):
        old = {each.entry.model: each.entry for each in board.rankings[before]}
        both = [
            (each.entry, float(each.entry.scores[MMLU] - old[each.entry.model].scores[MMLU]))
            for each in board.rankings[after]
            if each.entry.model in old and MMLU in each.entry.scores and MMLU in old[each.entry.model].scores
        ]
        large = [(entry, change) for entry, change in both if (entry.parameters.number or 0) >= 30e9]
        falcons = [change for entry, change in large if _is_falcon(entry.model)]
        others = [change for entry, change in large if not _is_falcon(entry.model)]
        if falcons and len(others) >= 3 and float(np.median(others)) > 2:
            gained, usual = float(np.median(falcons)), float(np.median(others))
            found = (
                f"When MMLU was measured anew, between {before} and {after}, models of 30 B parameters and more "
                f"changed by {signed_points(usual)} in the median of {len(others)}, Falcons by "
                f"{signed_points(gained)} of {len(falcons)}: before, the measurement alone put Falcon "
                f"{points(usual - gained)} ahead of its peers"
            )
            return Claim(*about, "reproduced" if gained < usual else "contradicted", f"{found}.")
    return untested(
        *about, "No two snapshots in a row between which the MMLU of large models, Falcon among them, rose."
    )


def llama_mmlu(board: Leaderboard) -> Claim:
    """LLaMA 65B's MMLU is 0.488 on the leaderboard, 0.637 as published."""
    about = (
        "LLaMA's MMLU was measured too low",
        "LLaMA's published MMLU is 0.637, the leaderboard's 0.488: two implementations.",
        "2023-06-29",
    )
    found = [
        (date, float(ranked.entry.scores[MMLU]))
        for date in board.dates
        for ranked in (board.find("llama-65b", date) or board.find("huggyllama/llama-65b", date),)
        if ranked and MMLU in ranked.entry.scores
    ]
    low = [date for date, value in found if abs(value - 48.8) < 0.5]
    high = [(date, value) for date, value in found if abs(value - 63.7) < 0.5]
    if not found:
        return untested(*about, "No snapshot has llama-65b.")
    told = f"llama-65b: {score(found[0][1])} on {found[0][0]}"
    if low and high:
        return Claim(*about, "reproduced", f"{told}, {score(high[0][1])} from {high[0][0]} on.")
    verdict: Verdict = "in part" if low or high else "contradicted"
    return Claim(*about, verdict, f"{told}, {score(found[-1][1])} on {found[-1][0]}.")


def platypus_first(board: Leaderboard) -> Claim:
    """Platypus is first on 2023-08-17."""
    about = ("Platypus takes the top spot", "Platypus has claimed the top spot of the leaderboard.", "2023-08-17")
    date = datetime.date(2023, 8, 17)
    if date not in board.rankings:
        return untested(*about, f"No snapshot of {date}.")
    first, second = board.rankings[date][0], next(each for each in board.rankings[date] if each.rank > 1)
    found = f"On {date}, {first.entry.model} is first with {score(first.average)}"
    verdict: Verdict = "reproduced" if "platypus" in first.entry.model.lower() else "contradicted"
    return Claim(*about, verdict, f"{found}, {points(first.average - second.average)} ahead of {second.entry.model}.")


def trade_off(board: Leaderboard) -> Claim:
    """TruthfulQA falls where MMLU rises, among the leaders."""
    about = (
        "TruthfulQA against MMLU",
        "There is a trade-off between TruthfulQA and MMLU, as the radar of the leading models shows.",
        "2023-08-01",
    )
    by_date = truthful_against_mmlu(board)
    known = {date: found for date, found in by_date.items() if not np.isnan(found[0].value)}
    if not known:
        return untested(*about, "No snapshot with both benchmarks and enough models.")
    when = min(known, key=lambda date: abs(date - datetime.date(2023, 8, 1)))
    lowest = min(known, key=lambda date: known[date][0].value)
    falls = [date for date, found in known.items() if found[0].falls]
    leaders, everyone = known[when]
    found = (
        f"Among the {leaders.models} leaders of {when} the rank correlation is {interval(leaders)}, among all "
        f"{count(everyone.models)} models {interval(everyone)}. It is lowest on {lowest}: "
        f"{interval(known[lowest][0])}. The interval is below 0 in {len(falls)} of {len(known)} snapshots"
    )
    verdict: Verdict = "reproduced" if when in falls else "in part" if falls else "contradicted"
    return Claim(*about, verdict, f"{found}{f' ({dated(falls)})' if falls else ''}.")


def truthful_against_mmlu(board: Leaderboard) -> dict[datetime.date, tuple[Correlation, Correlation]]:
    """By date: the correlation of the two among the leaders, and among all models."""
    if not {MMLU, TRUTHFUL} <= set(board.benchmarks):
        return {}
    found = {date: pairs(board.rankings[date], (MMLU, TRUTHFUL))[0] for date in board.dates}
    return {date: (pair.leaders, pair.all) for date, pair in found.items()}


def close_together(board: Leaderboard) -> Claim:
    """Neighbours in the ranking differ by tenths of a point."""
    date, shown = datetime.date(2023, 6, 10), 70
    about = (
        "Models differ by decimal points",
        "The models' performance starts to differ by decimal points.",
        str(date),
    )
    if date not in board.rankings or len(board.rankings[date]) < shown:
        return untested(*about, f"No snapshot of {date} with {shown} models.")
    gaps = -np.diff(board.scores(date)[:shown])
    found = (
        f"Among the {shown} best of {date}, neighbours are {points(float(np.median(gaps)))} apart in the median; "
        f"{int((gaps < 1).sum())} of {len(gaps)} gaps are below one point."
    )
    return Claim(*about, "reproduced" if np.median(gaps) < 1 else "contradicted", found)


CLAIMS: Sequence[Callable[[Leaderboard], Claim]] = (
    convergence,
    falcon_leads,
    falcon_favoured,
    trade_off,
    llama_mmlu,
    platypus_first,
    close_together,
)


def _rise(board: Leaderboard, dates: Sequence[datetime.date]) -> float | None:
    """Of the best average, in points per 30 days."""
    if len(dates) < 2:
        return None
    return float(30 * (board.scores(dates[-1])[0] - board.scores(dates[0])[0]) / (dates[-1] - dates[0]).days)


def _falcon_lead(of: Sequence[Ranked]) -> float | None:
    """By how much the best Falcon is ahead of the best other model."""
    falcons = [each.average for each in of if _is_falcon(each.entry.model)]
    others = [each.average for each in of if not _is_falcon(each.entry.model)]
    return float(max(falcons) - max(others)) if falcons and others else None


def _is_falcon(model: str) -> bool:
    return "falcon" in model.lower()
