"""The report's claims, on its own snapshots and on made ones that say otherwise."""

from __future__ import annotations

import numpy as np

from core.reporting.leaderboard.board import Leaderboard, build
from core.reporting.leaderboard.claims import convergence, falcon_leads, trade_off
from core.reporting.leaderboard.files import read_source
from core.reporting.leaderboard.size_claims import claims, length_pairs, longer_is_better, shorter_is_better, size_pays
from tests.reporting.made_leaderboard import row, write_snapshot


def made(tmp_path, **snapshots) -> Leaderboard:
    """A leaderboard from rows by date, as d20230523."""
    paths = [write_snapshot(tmp_path, f"{date[1:5]}-{date[5:7]}-{date[7:]}", rows) for date, rows in snapshots.items()]
    return build([read_source(path) for path in paths])


def leaders(best: float, step: float, name: str = "m") -> list[list[str]]:
    return [row(f"{name}{n}", *[round(best - step * n, 2)] * 4) for n in range(12)]


def test_every_claim_of_the_report_has_its_verdict(report_board):
    verdicts = {claim.title: claim.verdict for claim in claims(report_board)}
    assert verdicts == {
        "Scores converge after Llama 2": "reproduced",
        "30 B against 65 B and more": "in part",
        "LLaMA 30B: sequences of 2048 against 1024": "reproduced",
        "Llama 2 70B: sequences of 1024 against 2048": "cannot be tested",
        "Falcon's lead": "reproduced",
        "Falcon favoured by how MMLU was measured": "reproduced",
        "TruthfulQA against MMLU": "contradicted",
        "LLaMA's MMLU was measured too low": "reproduced",
        "Platypus takes the top spot": "reproduced",
        "Models differ by decimal points": "reproduced",
        "Llama 2 against LLaMA": "reproduced",
        "Most fine-tuning is done on 70 B": "contradicted",
    }


def test_the_numbers_are_those_of_the_snapshots(report_board):
    numbers = {claim.title: claim.numbers.replace("\u00a0", " ") for claim in claims(report_board)}
    assert "67.00 with 2048, 65.23 with 1024, +1.78 points" in numbers["LLaMA 30B: sequences of 2048 against 1024"]
    assert "0.58 on 2023-05-26, 3.33 on 2023-05-31" in numbers["Falcon's lead"]
    assert "48.80 on 2023-05-23, 63.40 from 2023-07-14 on" in numbers["LLaMA's MMLU was measured too low"]
    assert "1.84 points on 2023-07-24, 0.38 on 2023-09-15" in numbers["Scores converge after Llama 2"]
    assert "equal scores on all benchmarks" in numbers["Llama 2 70B: sequences of 1024 against 2048"]


def test_of_a_leaderboard_without_the_models_nothing_is_claimed(tmp_path):
    found = claims(made(tmp_path, d20230523=[row("a", 50, 50, 50, 50), row("b", 40, 40, 40, 40)]))
    assert {claim.verdict for claim in found} == {"cannot be tested"}
    assert all(claim.numbers for claim in found)


def test_scores_that_move_apart_contradict_convergence(tmp_path):
    board = made(
        tmp_path,
        d20230523=leaders(60, 0.5),
        d20230623=leaders(60.5, 0.5),
        d20230723=leaders(70, 0.5),
        d20230823=leaders(80, 1.5),
    )
    assert convergence(board).verdict == "contradicted"
    closer = made(tmp_path, d20230723=leaders(70, 0.5), d20230823=leaders(71, 0.1))
    assert convergence(closer).verdict == "reproduced"
    late = made(tmp_path, d20230904=leaders(70, 0.5), d20230915=leaders(71, 0.6))
    assert convergence(late).verdict == "cannot be tested"


def test_a_falcon_that_is_overtaken_leads_in_part(tmp_path):
    falcon, other = row("tiiuae/falcon-40b", 60, 60, 60, 60), row("llama-65b", 58, 58, 58, 58)
    board = made(tmp_path, d20230526=[falcon, other], d20230610=[falcon, row("x", 70, 70, 70, 70)])
    found = falcon_leads(board)
    assert found.verdict == "in part"
    assert "First in 1 of 2" in found.numbers


def test_truthful_models_that_know_less_make_the_trade_off(tmp_path):
    random = np.random.default_rng(1)
    lean = random.normal(0, 6, 60)
    rows = [row(f"m{n}", 50, 70, round(45 + each, 1), round(50 - each, 1)) for n, each in enumerate(lean)]
    assert trade_off(made(tmp_path, d20230801=rows)).verdict == "reproduced"


def test_large_models_that_are_worse_contradict_the_claim_on_size(tmp_path):
    rows = [row(f"m{n}-30b", *[60 + n / 10] * 4) for n in range(6)] + [
        row(f"m{n}-70b", *[50 + n / 10] * 4) for n in range(6)
    ]
    found = size_pays(made(tmp_path, d20230724=rows))
    assert found.verdict == "in part"  # still cheaper, but not worse than the large ones
    assert "−10.00 points" in found.numbers.replace("\u00a0", " ")


def test_pairs_of_sequence_lengths_are_told_by_their_names(tmp_path):
    rows = [
        row("u/llama-30b-instruct", 60, 60, 60, 60),
        row("u/llama-30b-instruct-2048", 59, 59, 59, 59),
        row("u/Llama-2-70b-instruct", 70, 70, 70, 70),
        row("u/Llama-2-70b-instruct-1024", 71, 71, 71, 71),
        row("v/other-4096-chat", 50, 50, 50, 50),
    ]
    board = made(tmp_path, d20230801=rows)
    found = length_pairs(board.latest, board.dates[0])
    assert {(pair.longer.entry.model, pair.shorter.entry.model) for pair in found} == {
        ("u/llama-30b-instruct-2048", "u/llama-30b-instruct"),
        ("u/Llama-2-70b-instruct", "u/Llama-2-70b-instruct-1024"),
    }
    assert longer_is_better(board).verdict == "contradicted"
    assert shorter_is_better(board).verdict == "reproduced"
