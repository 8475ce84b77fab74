from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import DataError, RecipeError
from core.evaluation.win_rate import (
    challenge_win_rates,
    final_score,
    helm_win_rates,
    read_metrics,
    stage_score,
    standings,
)
from ray_jobs.win_rate import win_rate

HEADER = "model,stage,scenario,metric,higher_is_better,value\n"
TEAMS = ("Birbal", "Rank-2", "Rank-3")
# Jindal et al. 2024, Birbal, table 2: scenario, metrics with the values of the three teams; "-" is none.
OPEN = {
    "MMLU": ["0.63 0.69 0.64", "0.59 0.64 0.60", "0.60 0.65 0.60"],
    "TruthfulQA": ["0.59 0.52 0.57", "0.54 0.52 0.52", "0.49 0.44 0.46"],
    "BIG-bench": ["0.33 0.38 0.0"],
    "GSM8K": ["0.44 0.57 0.0"],
    "BBQ": ["0.74 0.85 0.93"],
}
CLOSED = {
    "sam_sum": ["0.13 0.03 0.10"],
    "corr2cause": ["0.61 0.47 0.50"],
    "MATH": ["0.12 0.07 0.05"],
    "ethics": [
        "0.68 0.68 0.70", "0.64 0.66 0.65", "0.62 0.58 0.64",
        "0.41 0.52 0.49", "0.33 0.45 0.42", "0.34 0.5 0.45",
        "0.89 0.77 0.74", "0.86 0.70 0.67", "0.86 0.69 0.69",
        "0.63 0.58 0.60", "0.58 0.49 0.52", "0.59 0.53 0.49",
        "0.72 0.55 0.56", "0.60 0.34 0.45", "0.64 0.40 0.52",
    ],
}  # fmt: skip
BIAS = ["0.67 - 0.67", "0.45 0.42 0.34", "0.46 0.62 0.38", "0.01 0.0 0.01"]  # of sam_sum; less is better


def rows(stage: str, scenario: str, metrics: list[str], higher: bool = True, first: int = 0) -> list[str]:
    return [
        f"{team},{stage},{scenario},m{number},{str(higher).lower()},{value.strip('-')}"
        for number, metric in enumerate(metrics, first)
        for team, value in zip(TEAMS, metric.split(), strict=True)
    ]


@pytest.fixture
def table_2(tmp_path) -> Path:
    lines = rows("closed", "sam_sum", BIAS, higher=False, first=1)
    for stage, scenarios in (("open", OPEN), ("closed", CLOSED)):
        for scenario, metrics in scenarios.items():
            lines += rows(stage, scenario, metrics)
    path = tmp_path / "table-2.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("rule", ["challenge", "helm"])
def test_table_2_gives_the_published_ranking(table_2, rule):
    assert [each.model for each in standings(read_metrics(table_2), rule)] == list(TEAMS)


def test_published_win_rates_give_the_published_scores():
    published = {  # win rates of the open and of the closed stage, and scores
        "Birbal": ([0.42, 0.75, 0.75, 0.62, 0.25], [0.38, 0.87, 0.75, 0.55], (0.52, 0.61, 0.58)),
        "Rank-2": ([0.87, 0.28, 0.87, 0.81, 0.56], [0.21, 0.25, 0.5, 0.41], (0.63, 0.32, 0.42)),
        "Rank-3": ([0.46, 0.56, 0.06, 0.03, 0.75], [0.65, 0.62, 0.25, 0.47], (0.21, 0.47, 0.38)),
    }
    for opened, closed, wanted in published.values():
        scores = {"open": stage_score(opened), "closed": stage_score(closed)}
        assert (*scores.values(), final_score(scores)) == pytest.approx(wanted, abs=0.012)  # rates have two places


def test_win_rates_by_hand():
    values = [0.5, 0.7, 0.5, 0.1]
    assert challenge_win_rates(values) == [(1 + 1 / 2) / 4, 1.0, (1 + 1 / 2) / 4, 1 / 4]
    assert helm_win_rates(values) == [(1 + 1 / 2) / 3, 1.0, (1 + 1 / 2) / 3, 0.0]


def test_scores_by_hand_where_a_value_is_missing_and_where_less_is_better(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(
        HEADER + "a,open,s,up,true,0.4\nb,open,s,up,true,\nc,open,s,up,true,0\n"  # b and c tie at 0
        "a,open,s,down,false,2\nb,open,s,down,false,1\n"  # c has no row: 1000
        "a,closed,t,up,true,1\nb,closed,t,up,true,1\nc,closed,t,up,true,1\n"
    )
    found = {each.model: each for each in standings(read_metrics(path))}
    third = 1 / 3
    assert found["a"].win_rates == {"open": {"s": pytest.approx((1 + 2 * third) / 2)}, "closed": {"t": third / 3}}
    assert found["b"].win_rates["open"]["s"] == pytest.approx((third / 2 + 1) / 2)
    assert found["c"].win_rates["open"]["s"] == pytest.approx((third / 2 + third) / 2)
    assert found["a"].final == pytest.approx((1 + 2 * third) / 2 / 3 + 2 * third / 9)
    by_helm = {each.model: each.win_rates for each in standings(read_metrics(path), "helm")}
    assert by_helm["c"] == {"open": {"s": pytest.approx((0.25 + 0) / 2)}, "closed": {"t": 0.5}}


def test_a_scenario_without_a_win_makes_the_stage_almost_nothing(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(HEADER + "a,open,s,m,true,1\nb,open,s,m,true,0\n")
    best, last = standings(read_metrics(path), "helm")
    assert (best.scores["open"], best.final) == (1.0, None)
    assert 0 < last.scores["open"] < 1e-300


def test_the_command_prints_a_table_or_json(table_2, capsys):
    win_rate([str(table_2)], "challenge", as_json=False)
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["model", "open", "closed", "final", "score"]
    assert [line.split()[:2] for line in said[1:4]] == [["1", "Birbal"], ["2", "Rank-2"], ["3", "Rank-3"]]
    assert any("MMLU" in line and line.strip().startswith("win rates, open") for line in said)
    win_rate([str(table_2)], "challenge", as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["rule"] == "challenge"
    first = printed["models"][0]
    assert (first["rank"], first["model"]) == (1, "Birbal")
    assert first["final"] == pytest.approx(first["scores"]["open"] / 3 + 2 * first["scores"]["closed"] / 3)
    assert set(first["win_rates"]["open"]) == set(OPEN)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model,stage\n", ":1: no column scenario; expected model, stage"),
        (HEADER, "no rows below the header"),
        (HEADER + "a,opened,s,m,true,1\n", ":2: stage is 'opened'; expected open or closed"),
        (HEADER + "a,open,s,m,yes,1\n", ":2: higher_is_better is 'yes'; expected true or false"),
        (HEADER + "a,open,s,m,true,1\nb,open,s,m,true,n/a\n", ":3: value is 'n/a'; expected a number, or nothing"),
        (HEADER + "a,open,s,m,true,nan\n", ":2: value is 'nan'"),
        (HEADER + "a,open,,m,true,1\n", ":2: scenario is empty"),
        (HEADER + "a,open,s,m,true,1\nb,open,s,m,true,0,63\n", ":3: more fields than the header has: 63"),
        (HEADER.strip() + ",value\na,open,s,m,true,1,2\n", ":1: 2 columns value"),
        (HEADER + 'a,open,"s"x,m,true,1\n', ": below line 1: not CSV"),
        (HEADER + "a,open,s,m,true,1\na,open,s,m,true,1\n", ":3: a second value of a for open, s, m"),
        (HEADER + "a,open,s,m,true,1\nb,open,s,m,false,1\n", ":3: higher_is_better is false, and an earlier row"),
        (HEADER + "a,open,s,m,true\n", ""),
    ],
)
def test_a_wrong_table_is_told_with_its_line(tmp_path, text, said):
    path = tmp_path / "results.csv"
    path.write_text(text)
    if not said:  # a row that ends early has no value
        assert read_metrics(path)[0].values == {"a": None}
        return
    with pytest.raises(DataError, match=said.replace("(", r"\(")) as raised:
        read_metrics(path)
    assert str(raised.value).startswith(str(path))


def test_equal_scores_share_a_rank(tmp_path, capsys):
    path = tmp_path / "results.csv"
    path.write_text(HEADER + "a,open,s,m,true,1\nb,open,s,m,true,2\nc,open,s,m,true,2\n")
    win_rate([str(path)], "challenge", as_json=True)
    assert [each["rank"] for each in json.loads(capsys.readouterr().out)["models"]] == [1, 1, 3]


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_metrics(tmp_path / "nowhere.csv")
    (tmp_path / "broken.csv").write_bytes(HEADER.encode() + b"a,open,\xff,m,true,1\n")
    with pytest.raises(DataError, match="cannot be read as CSV in UTF-8"):
        read_metrics(tmp_path / "broken.csv")


def test_one_model_alone_has_nothing_to_be_compared_with_by_helms_rule(tmp_path):
    path = tmp_path / "results.csv"
    path.write_text(HEADER + "a,open,s,m,true,1\n")
    assert standings(read_metrics(path))[0].scores == {"open": 1.0}
    with pytest.raises(DataError, match="two or more"):
        standings(read_metrics(path), "helm")


def run_with_scores(directory: Path, values: dict[str, float], **more: object) -> None:
    """A run's scores of the challenge's lines, for base and sft, of which sft has a tenth more."""
    lines = {"MMLU": ("birbal_open", "exact_match"), "sam_sum": ("birbal_closed", "rouge2")}
    lines |= {"ethics_virtue": ("birbal_closed", "exact_match (fairness)")}
    suites = [
        {"model": model, "suite": lines[line][0], "line": line, "metric": lines[line][1], "value": value + better}
        | {"higher_is_better": True, "fingerprint": f"of {line}", **more}
        for model, better in (("base", 0.0), ("sft", 0.1))
        for line, value in values.items()
    ]
    (directory / "evaluate").mkdir(parents=True)
    (directory / "evaluate" / "scores.json").write_text(json.dumps({"models": ["base", "sft"], "suites": suites}))


def test_runs_are_scored_among_published_models_and_written_as_a_table(table_2, tmp_path, capsys):
    runs = tmp_path / "runs"
    run_with_scores(runs / "mine", {"MMLU": 0.6, "sam_sum": 0.2, "ethics_virtue": 0.1})
    out = tmp_path / "all.csv"
    win_rate([str(table_2), "mine"], "challenge", as_json=True, runs_dir=runs, out=out)
    models = {each["model"]: each for each in json.loads(capsys.readouterr().out)["models"]}
    assert models.keys() == {*TEAMS, "mine:base", "mine:sft"}
    assert models["mine:sft"]["win_rates"]["closed"].keys() == {"sam_sum", "corr2cause", "MATH", "ethics"}
    assert models["mine:sft"]["final"] > models["mine:base"]["final"]
    win_rate([str(out)], "challenge", as_json=True)
    again = {each["model"]: each for each in json.loads(capsys.readouterr().out)["models"]}
    assert again == models
    assert "mine:sft,closed,ethics,ethics_virtue exact_match (fairness),true,0.2" in out.read_text().splitlines()


def test_runs_that_were_asked_differently_are_not_compared(tmp_path, capsys):
    values = {"MMLU": 0.6, "sam_sum": 0.2}
    run_with_scores(tmp_path / "one", values)
    run_with_scores(tmp_path / "other", values, fingerprint="another")
    with pytest.raises(RecipeError, match="one:base and other:base on MMLU, exact_match were scored in different"):
        win_rate(["one", "other"], "challenge", as_json=True, runs_dir=tmp_path)
    win_rate(["one", "other"], "challenge", as_json=True, runs_dir=tmp_path, force=True)
    assert len(json.loads(capsys.readouterr().out)["models"]) == 4


def test_what_is_neither_a_table_nor_a_run_with_the_challenges_suites_is_told(tmp_path):
    run_with_scores(tmp_path / "plain", {})
    with pytest.raises(DataError, match="plain: was not scored on birbal_open or birbal_closed"):
        win_rate(["plain"], "challenge", as_json=True, runs_dir=tmp_path)
    with pytest.raises(DataError, match="nowhere: no run with scores"):
        win_rate(["nowhere"], "challenge", as_json=True, runs_dir=tmp_path)
