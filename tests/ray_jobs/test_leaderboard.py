"""`raycipe leaderboard` as a user gives it."""

from __future__ import annotations

import json

import pyarrow.parquet as pq

from tests.ray_jobs.conftest import raycipe
from tests.reporting.made_leaderboard import row, write_snapshot

ROWS = [row(f"org/m{n}-7b", 70 - n, 80 - n, 60 - n, 50 + n) for n in range(12)]


def test_files_become_a_table_and_a_page(tmp_path):
    paths = [write_snapshot(tmp_path, date, ROWS) for date in ("2023-05-23", "2023-06-01")]
    answer = raycipe("leaderboard", *paths, "--out", tmp_path / "board", "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert [each["models"] for each in told["snapshots"]] == [12, 12]
    assert told["top_10"][0] == {"rank": 1, "model": "org/m0-7b", "average": 65.0}
    assert [pq.read_table(told["table"]).column_names] == [
        ["date", "model", "benchmark", "shots", "score", "parameters", "parameters_from", "url"]
    ]
    written = {path.name for path in (tmp_path / "board").iterdir()}
    charts = {f"{chart}.{ending}" for chart in told["charts"] for ending in ("svg", "csv")}
    assert written == {"index.html", "leaderboard.parquet", *charts}


def test_what_is_wrong_is_named_and_nothing_is_written(tmp_path):
    good = write_snapshot(tmp_path, "2023-05-23", ROWS)
    bad = write_snapshot(tmp_path, "2023-06-01", [*ROWS, row("b", 1, 2, 3, 4, average="n/a")])
    answer = raycipe("leaderboard", good, bad, "--out", tmp_path / "board")
    assert answer.code == 2
    assert answer.err.strip() == f"error: {bad}:14: Average: found 'n/a'; expected a number"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["20230523.csv", "20230601.csv"]


def test_an_earlier_board_stays_whole_where_a_later_one_fails_and_is_replaced_where_it_does_not(tmp_path):
    board, kept = tmp_path / "board", tmp_path / "board" / "notes.txt"
    first = write_snapshot(tmp_path, "2023-05-23", ROWS)
    answer = raycipe("leaderboard", first, "--out", board)
    assert answer.code == 0, answer.err
    lines = answer.out.splitlines()
    assert lines[0] == "12 models on 2023-05-23"
    assert lines[2].split() == ["1", "org/m0-7b", "65.00", "70.00", "80.00", "60.00", "50.00"]
    assert lines[-1] == f"table: {board}/leaderboard.parquet"
    kept.write_text("mine")
    before = {path.name: path.read_bytes() for path in board.iterdir()}
    bad = write_snapshot(tmp_path, "2023-06-01", [])
    assert raycipe("leaderboard", first, bad, "--out", board).code == 2
    assert {path.name: path.read_bytes() for path in board.iterdir()} == before
    good = write_snapshot(tmp_path, "2023-06-01", ROWS[1:])
    assert raycipe("leaderboard", good, "--out", board).code == 0
    assert kept.read_text() == "mine"
    assert pq.read_table(board / "leaderboard.parquet").num_rows == 4 * 11


def test_out_that_is_a_file_is_refused(tmp_path):
    path = write_snapshot(tmp_path, "2023-05-23", ROWS)
    answer = raycipe("leaderboard", path, "--out", path)
    assert answer.code == 2
    assert f"--out {path}: a file; expected a directory" in answer.err
