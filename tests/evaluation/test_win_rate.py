from __future__ import annotations

import json
import os
import threading
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


PUBLISHED = {  # of each line its metrics as a run has them, and as HELM calls them, with their places in table 2
    "MMLU": ("birbal_open", "exact_match", ["", " (robustness)", " (fairness)"]),
    "TruthfulQA": ("birbal_open", "exact_match", ["", " (robustness)", " (fairness)"]),
    "BIG-bench": ("birbal_open", "exact_match", [""]),
    "GSM8K": ("birbal_open", "exact_match", [""]),
    "BBQ": ("birbal_open", "exact_match", [""]),
    "sam_sum": ("birbal_closed", "rouge2", [""]),
    "corr2cause": ("birbal_closed", "exact_match", [""]),
    "MATH": ("birbal_closed", "exact_match", [""]),
    **{
        f"ethics_{part}": ("birbal_closed", "exact_match", ["", " (robustness)", " (fairness)"])
        for part in ("justice", "commonsense", "virtue", "deontology", "utilitarianism")
    },
}
NAMES = {
    "exact_match": "EM",
    "rouge2": "ROUGE-2",
    "": "",
    " (robustness)": " (Robustness)",
    " (fairness)": " (Fairness)",
}
BIAS_NAMES = {
    "bias: associations race profession": "Stereotypes (race)",
    "bias: associations gender profession": "Stereotypes (gender)",
    "bias: representation race": "Representation (race)",
    "bias: representation gender": "Representation (gender)",
}


def run_with_scores(
    directory: Path, team: int, suites: tuple[str, ...] = ("birbal_open", "birbal_closed"), **more: str
) -> None:
    """A run whose one model, sft, was scored as a team of table 2."""
    ethics = iter(CLOSED["ethics"])
    rows = []
    for line, (suite, metric, marks) in PUBLISHED.items():
        of_line = (OPEN | CLOSED).get(line)
        for number, mark in enumerate(marks):
            values = of_line[number] if of_line else next(ethics)
            rows.append({"suite": suite, "line": line, "metric": metric + mark, "value": float(values.split()[team])})
    for metric, values in zip(BIAS_NAMES, BIAS, strict=True):
        if values.split()[team] != "-":
            value = float(values.split()[team])
            rows.append({"suite": "birbal_closed", "line": "sam_sum", "metric": metric, "value": value})
    rows.append(
        {"suite": "birbal_closed", "line": "sam_sum", "metric": "bias: associations race adjective", "value": 1.0}
    )
    rows.append({"suite": "birbal_open", "line": "GSM8K", "metric": "exact_match (fairness)", "value": 0.1})
    for row in rows:
        of = {"model": "sft", "higher_is_better": not row["metric"].startswith("bias"), "fingerprint": row["metric"]}
        row.update(of | more)
    scores = {"models": ["sft"], "settings": {}, "suites": [row for row in rows if row["suite"] in suites]}
    (directory / "evaluate").mkdir(parents=True)
    (directory / "evaluate" / "scores.json").write_text(json.dumps(scores))


@pytest.fixture
def published(tmp_path) -> Path:
    """Table 2 with HELM's names."""
    lines = []
    ethics = iter(CLOSED["ethics"])
    for line, (suite, metric, marks) in PUBLISHED.items():
        stage, scenario = suite.removeprefix("birbal_"), "ethics" if line.startswith("ethics") else line
        for number, mark in enumerate(marks):
            values = next(ethics) if scenario == "ethics" else (OPEN | CLOSED)[line][number]
            name = f"{line} {NAMES[metric]}{NAMES[mark]}" if scenario == "ethics" else NAMES[metric] + NAMES[mark]
            told = zip(TEAMS, values.split(), strict=True)
            lines += [f"{team},{stage},{scenario},{name},true,{value}" for team, value in told]
    for name, values in zip(BIAS_NAMES.values(), BIAS, strict=True):
        told = zip(TEAMS, values.split(), strict=True)
        lines += [f"{team},closed,sam_sum,{name},false,{value.strip('-')}" for team, value in told]
    path = tmp_path / "published.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return path


def test_a_run_that_scored_as_a_team_of_table_2_ties_with_it_everywhere(published, tmp_path, capsys):
    runs, out = tmp_path / "runs", tmp_path / "all.csv"
    run_with_scores(runs / "mine", TEAMS.index("Birbal"))
    win_rate([str(published), "mine"], "challenge", as_json=True, runs_dir=runs, out=out)
    models = {each["model"]: each for each in json.loads(capsys.readouterr().out)["models"]}
    assert models.keys() == {*TEAMS, "mine:sft"}
    for key in ("rank", "win_rates", "scores", "final"):
        assert models["mine:sft"][key] == models["Birbal"][key]
    rows = published.read_text().splitlines()
    twice = [*rows, *(row.replace("Birbal", "mine:sft", 1) for row in rows if row.startswith("Birbal"))]
    (tmp_path / "twice.csv").write_text("\n".join(twice))
    win_rate([str(tmp_path / "twice.csv")], "challenge", as_json=True)
    assert {each["model"]: each for each in json.loads(capsys.readouterr().out)["models"]} == models
    win_rate([str(out)], "challenge", as_json=True)
    assert {each["model"]: each for each in json.loads(capsys.readouterr().out)["models"]} == models
    assert "mine:sft,closed,ethics,ethics_virtue EM (Fairness),true,0.86" in out.read_text().splitlines()
    assert not [line for line in out.read_text().splitlines() if "adjective" in line or "GSM8K,EM (" in line]


def test_a_table_that_lacks_what_another_has_is_refused_unless_forced(published, table_2, tmp_path, capsys):
    run_with_scores(tmp_path / "open", 0, suites=("birbal_open",))
    with pytest.raises(
        RecipeError, match=r"open: has no value of closed, MATH, EM; .* and 19 more, which another table"
    ):
        win_rate([str(published), "open"], "challenge", as_json=True, runs_dir=tmp_path)
    with pytest.raises(RecipeError, match=r"table-2\.csv: has no value of closed, MATH, EM; "):
        win_rate([str(published), str(table_2)], "challenge", as_json=True)
    win_rate([str(published), "open:sft"], "challenge", as_json=True, runs_dir=tmp_path, force=True)
    assert len(json.loads(capsys.readouterr().out)["models"]) == 4


def test_runs_that_were_asked_differently_are_not_compared(tmp_path, capsys):
    run_with_scores(tmp_path / "one", 0)
    run_with_scores(tmp_path / "other", 1, fingerprint="another")
    with pytest.raises(RecipeError, match="one:sft and other:sft on MMLU, EM were scored in different"):
        win_rate(["one", "other"], "challenge", as_json=True, runs_dir=tmp_path)
    win_rate(["one", "other"], "challenge", as_json=True, runs_dir=tmp_path, force=True)
    assert len(json.loads(capsys.readouterr().out)["models"]) == 2


def test_what_is_neither_a_table_nor_a_run_with_the_challenges_suites_is_told(tmp_path):
    run_with_scores(tmp_path / "plain", 0, suites=())
    for table, said in (
        ("plain", "plain: was not scored on birbal_open or birbal_closed"),
        ("plain:base", "plain: found no model 'base', but sft"),
        ("nowhere", "nowhere: no run with scores"),
        ("nowhere.csv", r"nowhere\.csv: there is no such file"),
        ("torn", r"scores\.json: not a whole file of scores"),
    ):
        if table == "torn":
            (tmp_path / "torn" / "evaluate").mkdir(parents=True)
            (tmp_path / "torn" / "evaluate" / "scores.json").write_text('{"models": []}')
        with pytest.raises((DataError, RecipeError), match=said):
            win_rate([table], "challenge", as_json=True, runs_dir=tmp_path)


def test_a_table_may_be_a_pipe(published, capsys, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_text(published.read_text()), daemon=True)
    writer.start()
    win_rate([str(pipe)], "challenge", as_json=True)
    assert [each["model"] for each in json.loads(capsys.readouterr().out)["models"]] == [*TEAMS]
