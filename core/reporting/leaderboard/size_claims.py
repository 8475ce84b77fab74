"""The report's claims on a model's size, its base model, and the sequence length that it was trained with."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from core.reporting.formats import NBSP, percent
from core.reporting.leaderboard.board import Leaderboard, Ranked
from core.reporting.leaderboard.claims import CLAIMS, Claim, Verdict, untested
from core.reporting.leaderboard.statistics import difference_of_medians
from core.reporting.leaderboard.words import score, signed_points

# Sizes that models of that time come in: name, and the smallest and the first larger number of parameters.
SIZE_CLASSES = (
    ("below 2 B", 0.0, 2e9),
    ("3 B", 2e9, 5e9),
    ("7 B", 5e9, 10e9),
    ("13 B", 10e9, 20e9),
    ("20 B", 20e9, 28e9),
    ("30 B", 28e9, 36e9),
    ("40 B", 36e9, 60e9),
    ("65 B and more", 60e9, float("inf")),
)
THIRTY, LARGE = "30 B", "65 B and more"
COMPARED = datetime.date(2023, 7, 24)  # when the report compares sizes and sequence lengths
FEWEST = 5  # models of a size, to be compared
# The pairs of base models that the report's readers had: LLaMA, Llama 2.
BASES = (
    (("llama-7b", "huggyllama/llama-7b"), "meta-llama/Llama-2-7b-hf"),
    (("llama-13b", "huggyllama/llama-13b"), "meta-llama/Llama-2-13b-hf"),
    (("llama-65b", "huggyllama/llama-65b"), "meta-llama/Llama-2-70b-hf"),
)
_LENGTH = re.compile(r"[-_](1024|2048|4096|8192)(?=[-_]|$)")


@dataclass(frozen=True)
class LengthPair:
    """Two models of one snapshot whose names differ in nothing but a sequence length; the first has the longer one."""

    date: datetime.date
    longer: Ranked
    shorter: Ranked

    @property
    def same(self) -> bool:
        """Whether all scores are equal: then they are one model."""
        return self.longer.entry.scores == self.shorter.entry.scores


def by_size(of: Sequence[Ranked]) -> dict[str, list[Ranked]]:
    """Models by size class; those of unknown size are left out, and so are classes without a model."""
    found: dict[str, list[Ranked]] = {}
    for name, low, high in SIZE_CLASSES:
        if inside := [
            each for each in of if each.entry.parameters.number and low <= each.entry.parameters.number < high
        ]:
            found[name] = inside
    return found


def size_pays(board: Leaderboard) -> Claim:
    """Models of 65 B and more are better than those of 30 B, which give more for their size."""
    about = (
        "30 B against 65 B and more",
        "Models of around 30 B parameters are cost-effective, and those of 65 B or more perform better.",
        "2023-07-24",
    )
    usable = [date for date in board.dates if _enough(board.rankings[date])]
    if not usable:
        return untested(*about, f"No snapshot with {FEWEST} models of either size.")
    told, better, cheaper = [], [], []
    for date in dict.fromkeys((min(usable, key=lambda each: abs(each - COMPARED)), usable[-1])):
        classes = by_size(board.rankings[date])
        thirty, large = (np.array([each.average for each in classes[name]], float) for name in (THIRTY, LARGE))
        rise, low, high = difference_of_medians(thirty, large)
        per = [_best_per_billion(classes[name]) for name in (THIRTY, LARGE)]
        better.append(low > 0)
        cheaper.append(per[0] > per[1])
        told.append(
            f"On {date}: median {score(float(np.median(thirty)))} of {len(thirty)} models of 30{NBSP}B, "
            f"{score(float(np.median(large)))} of {len(large)} of 65{NBSP}B and more, {signed_points(rise)} "
            f"(95{NBSP}% interval {score(low)} to {score(high)}); best "
            f"{score(thirty.max())} and {score(large.max())}, which is {score(per[0])} and "
            f"{score(per[1])} points for each billion parameters."
        )
    whole = all(better) and all(cheaper)
    verdict: Verdict = "reproduced" if whole else "in part" if any(better) or any(cheaper) else "contradicted"
    return Claim(*about, verdict, " ".join(told))


def longer_is_better(board: Leaderboard) -> Claim:
    """LLaMA 30B: 2048 beats 1024."""
    about = (
        "LLaMA 30B: sequences of 2048 against 1024",
        "llama-30b-instruct-2048 is better than llama-30b-instruct, which was trained with 1024.",
        "2023-07-24",
    )
    pair = _pair(board, "llama-30b-instruct")
    if pair is None:
        return untested(*about, "No snapshot has both.")
    longer, shorter = pair.longer, pair.shorter
    told = ", ".join(
        f"{name.name} {signed_points(longer.entry.scores[name] - shorter.entry.scores[name])}"
        for name in board.benchmarks
    )
    verdict: Verdict = "reproduced" if longer.average > shorter.average else "contradicted"
    return Claim(
        *about,
        verdict,
        f"On {pair.date}: {score(longer.average)} with 2048, {score(shorter.average)} with 1024, "
        f"{signed_points(longer.average - shorter.average)} ({told}).",
    )


def shorter_is_better(board: Leaderboard) -> Claim:
    """Llama 2 70B: 1024 beats 2048, as its makers say."""
    about = (
        "Llama 2 70B: sequences of 1024 against 2048",
        "Llama-2-70b-instruct is better with sequences of 1024 than of 2048.",
        "2023-08-01",
    )
    pair = _pair(board, "llama-2-70b-instruct")
    if pair is None:
        return untested(*about, "No snapshot has two models that differ in it.")
    longer, shorter = pair.longer, pair.shorter
    names = f"{longer.entry.model} and {shorter.entry.model}"
    if pair.same:
        return untested(
            *about,
            f"On {pair.date}, {names} both have {score(longer.average)} and equal scores on all benchmarks: they are "
            "one model. The one trained with 2048 was not submitted.",
        )
    verdict: Verdict = "reproduced" if shorter.average > longer.average else "contradicted"
    return Claim(*about, verdict, f"On {pair.date}, {names}: {score(longer.average)} and {score(shorter.average)}.")


def llama_2_is_better(board: Leaderboard) -> Claim:
    """Of each size, Llama 2's base model is better than LLaMA's."""
    about = ("Llama 2 against LLaMA", "As a base model Llama 2 performs better than LLaMA.", "2023-07-24")
    told, better = [], []
    for firsts, second in BASES:
        for date in board.dates:
            one = next((found for name in firsts if (found := board.find(name, date))), None)
            other = board.find(second, date)
            if one and other:
                told.append(
                    f"{one.entry.model} {score(one.average)}, {other.entry.model} {score(other.average)}, "
                    f"{signed_points(other.average - one.average)} ({date})"
                )
                better.append(other.average > one.average)
                break
    if not told:
        return untested(*about, "No snapshot has the base models of both.")
    verdict: Verdict = "reproduced" if all(better) else "in part" if any(better) else "contradicted"
    return Claim(*about, verdict, f"{'; '.join(told)}.")


def large_are_tuned(board: Leaderboard) -> Claim:
    """Most new models are of 65 B and more."""
    about = (
        "Most fine-tuning is done on 70 B",
        "Interest is in fine-tuning the 70 B model, compared to those of 7 B or 13 B; most fine-tuning is done on it.",
        "2023-09-04, 2023-09-15",
    )
    new = [
        found
        for turnover in board.turnovers
        if datetime.date(2023, 8, 25) < turnover.date <= datetime.date(2023, 9, 15)
        for found in board.rankings[turnover.date]
        if found.entry.model in set(turnover.new)
    ]
    classes = by_size(new)
    total = sum(map(len, classes.values()))
    if total < FEWEST:
        return untested(*about, "No new models of known size from 2023-08-25 to 2023-09-15.")
    shares = {name: len(of) / total for name, of in classes.items()}
    large = shares.get(LARGE, 0.0)
    told = ", ".join(f"{percent(share)} of {name}" for name, share in sorted(shares.items(), key=lambda item: -item[1]))
    verdict: Verdict = "reproduced" if large == max(shares.values()) else "contradicted"
    return Claim(*about, verdict, f"Of {total} new models of known size from 2023-08-25 to 2023-09-15, {told}.")


def claims(board: Leaderboard) -> list[Claim]:
    """Every claim with its verdict, the best known ones first."""
    ours: Sequence[Callable[[Leaderboard], Claim]] = (
        size_pays,
        longer_is_better,
        shorter_is_better,
        llama_2_is_better,
        large_are_tuned,
    )
    first, *others = CLAIMS
    return [claim(board) for claim in (first, *ours[:3], *others, *ours[3:])]


def length_pairs(of: Sequence[Ranked], date: datetime.date) -> list[LengthPair]:
    """The pairs in a snapshot; a name without a length is that of the other length, of 1024 and 2048."""
    found: dict[str, dict[int | None, Ranked]] = {}
    for each in of:
        length = _LENGTH.search(each.entry.model)
        name = _LENGTH.sub("", each.entry.model).lower()
        found.setdefault(name, {})[int(length[1]) if length else None] = each
    pairs = []
    for lengths in found.values():
        if len(lengths) != 2:
            continue
        (one, first), (other, second) = lengths.items()
        one, other = one or _other_length(other), other or _other_length(one)
        pairs.append(LengthPair(date, *((first, second) if one > other else (second, first))))
    return pairs


def _other_length(length: int | None) -> int:
    return 2048 if length == 1024 else 1024


def _pair(board: Leaderboard, name: str) -> LengthPair | None:
    """The first snapshot's pair of that name, without its owner."""
    for date in board.dates:
        for pair in length_pairs(board.rankings[date], date):
            if _LENGTH.sub("", pair.longer.entry.model).lower().rsplit("/", 1)[-1] == name:
                return pair
    return None


def _enough(of: Sequence[Ranked]) -> bool:
    classes = by_size(of)
    return min(len(classes.get(name, [])) for name in (THIRTY, LARGE)) >= FEWEST


def _best_per_billion(of: Sequence[Ranked]) -> float:
    best = max(of, key=lambda each: each.average)
    return float(best.average) / ((best.entry.parameters.number or 0) / 1e9)
