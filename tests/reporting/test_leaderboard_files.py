"""What files of a leaderboard say, and what is wrong with them."""

from __future__ import annotations

import datetime
import gzip
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from core.errors import DataError
from core.reporting.leaderboard.board import build
from core.reporting.leaderboard.entries import Benchmark, merge
from core.reporting.leaderboard.files import SCHEMA, read_source, tidy_table
from core.reporting.leaderboard.snapshots import BENCHMARKS
from tests.reporting.made_leaderboard import HEADING, row, write_snapshot

ARC, HELLASWAG, MMLU, TRUTHFULQA = BENCHMARKS
GOOD = [row("org/a-7b", 50, 70, 40, 45.5, url="https://example.org/a"), row("b", 51, 71, 41, 46)]


def write_json(path: Path, value: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")
    return path


def refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read_source(path)
    assert str(error.value).startswith(str(path))
    return str(error.value).removeprefix(str(path))


def test_a_csv_snapshot_is_read_as_it_is_written(tmp_path):
    (first, second) = read_source(write_snapshot(tmp_path, "2023-05-23", GOOD)).entries
    assert (first.date, first.model, first.url) == (datetime.date(2023, 5, 23), "org/a-7b", "https://example.org/a")
    assert first.scores == {ARC: 50, HELLASWAG: 70, MMLU: 40, TRUTHFULQA: Decimal("45.5")}
    assert (first.parameters.number, first.parameters.origin) == (7_000_000_000, "name")
    assert (second.parameters.number, second.parameters.origin, second.url) == (None, None, None)
    assert second.place == f"{tmp_path}/20230523.csv:3"


def test_more_benchmarks_than_four_are_read_too(tmp_path):
    heading = [*HEADING[:6], "Winogrande (5-shot)", *HEADING[6:]]
    (only,) = read_source(
        write_snapshot(tmp_path, "2023-11-01", [["a", "50", "50", "50", "50", "50", "50", "", ""]], heading)
    ).entries
    assert only.scores[Benchmark("Winogrande", 5)] == 50


def test_json_rows_have_a_revision_or_none(tmp_path):
    early = write_json(tmp_path / "20230526.json", [["a", "main", 50, 40, 60, 50, 50], ["b", "main", 49, 41, 59, 50]])
    late = write_json(tmp_path / "20230629.json", [["a", 50.0, 40, 60, 50, 50]])
    first, cut = read_source(early).entries
    assert first.scores == read_source(late).entries[0].scores == {ARC: 40, HELLASWAG: 60, MMLU: 50, TRUTHFULQA: 50}
    assert cut.scores == {ARC: 41, HELLASWAG: 59, MMLU: 50}
    assert cut.average(BENCHMARKS) is None


def test_packed_files_and_dates_of_directories_are_understood(tmp_path):
    plain = write_snapshot(tmp_path, "2023-05-23", GOOD)
    packed = tmp_path / "2023-06-01" / "board.csv.gz"
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert read_source(packed).entries[0].date == datetime.date(2023, 6, 1)


@pytest.mark.parametrize(
    ("rows", "heading", "told"),
    [
        (GOOD, [*HEADING[:4], "Mmlu", *HEADING[5:]], ":1: no column MMLU (5-shot); found Model, Average"),
        (GOOD, ["Name", *HEADING[1:]], ":1: no column Model"),
        (GOOD, [*HEADING[:7], "Model"], ":1: the column 'Model' is there twice"),
        ([*GOOD, row("c", 1, 2, 3, 4, average="n/a")], HEADING, ":4: Average: found 'n/a'; expected a number"),
        ([*GOOD, ["c", "50", "50", "5o", "50", "50", "", ""]], HEADING, ":4: HellaSwag (10-shot): found '5o'"),
        ([*GOOD, row("c", 1, 2, 3, 4, average="nan")], HEADING, ":4: Average: found 'nan'; expected a number"),
        ([*GOOD, row("c", 101, 50, 50, 50)], HEADING, ":4: ARC (25-shot): found 101; expected a number from 0 to 100"),
        ([*GOOD, row("c", -1, 50, 50, 50)], HEADING, ":4: ARC (25-shot): found -1; expected a number from 0 to 100"),
        ([*GOOD, row("b", 9, 9, 9, 9)], HEADING, ":4: b is there twice, first in "),
        ([*GOOD, row(" ", 9, 9, 9, 9)], HEADING, ":4: Model: found ''; expected a name"),
        ([*GOOD, ["c", "50"]], HEADING, ":4: 2 values; the heading has 8 columns"),
        ([], HEADING, ":1: no rows"),
    ],
)
def test_what_is_wrong_with_a_csv_snapshot_is_named_by_file_and_line(tmp_path, rows, heading, told):
    assert refused(write_snapshot(tmp_path, "2023-05-23", rows, heading)).startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", ":1: no rows"),
        ("", ":1: the file is empty"),
        ('[["a", 50, 50, 50, 50, 50],\n["b", 50, 50, "50", 50, 50]]', ":2: row 2: HellaSwag (10-shot): found '50'"),
        ('[["a", 50, 50, 50, 50, 50],\n\n["b", 50, 50, NaN, 50, 50]]', ":3: found NaN; expected a number"),
        ('[["a", 50, 50, 50, 50, 50],\n["a", 40, 40, 40, 40, 40]]', ":2: row 2: a is there twice, first in "),
        ('[["a", 50, 50, 50, 50],\n["b", 50, 50, 50, 50]]', ":1: row 1: no row has a score in TruthfulQA (0-shot)"),
        ('[["a", 50, 50, 50, 50, 50],\n["b", 50, 50, 50]]', ":2: row 2 (b): 4 values; expected a model, an average"),
        ('[["a", 50, 50, 50, 50, 50],\n["b", "x", 50, 50, 50, 50]]', ":2: row 2: Average: found 'x'"),
        ('[["a", 50, 50, 50, 50, 50],\n[7, 50, 50, 50, 50, 50]]', ":2: row 2: Model: found '7'; expected a name"),
        ('[["a", 50, 50, 50, 50, 50],\n"b"]', ":2: row 2: found b; expected a list"),
        ('[["a", 50, 50, 50, 50, 50]\n["b"', ":2: not valid JSON: expected ',' or ']' after a row"),
        ('[["a", 50, 50, 50, 50, 50],\n["b", 5', ":2: not valid JSON"),
        ('{"models": 1}', ":1: neither a list of rows (a snapshot), nor"),
        ("<html>", ":1: neither CSV by its name nor valid JSON"),
    ],
)
def test_what_is_wrong_with_a_json_snapshot_is_named_by_file_and_line(tmp_path, text, told):
    path = tmp_path / "20230523.json"
    path.write_text(text, "utf-8")
    assert refused(path).startswith(told)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("20231345.csv", ":1: the date 20231345 in its name does not exist"),
        ("2023-02-30.csv", ":1: the date 2023-02-30 in its name does not exist"),
        ("29990101.csv", ":1: the date 2999-01-01 in its name cannot be that of a snapshot"),
        ("board.csv", ":1: no date in its name; expected one as in 20230523.csv"),
    ],
)
def test_a_wrong_date_is_named(tmp_path, name, told):
    written = write_snapshot(tmp_path, "2023-05-23", GOOD)
    assert refused(written.rename(tmp_path / name)).startswith(told)


def test_a_file_that_is_no_text_is_named_with_the_line(tmp_path):
    path = write_snapshot(tmp_path, "2023-05-23", GOOD)
    path.write_bytes(path.read_bytes() + b"\xff")
    assert refused(path).startswith(":4: not UTF-8")
    path.write_bytes(gzip.compress(b"Model,Average")[:-9])
    assert refused(path).startswith(": a broken gzip file")


def test_of_many_repeated_models_the_best_row_counts(tmp_path):
    models = [row(f"m{n}", 50, 50, 50, 50) for n in range(60)]
    again = [row(f"m{n}", 40 + 20 * (n % 2), 50, 50, 50) for n in range(5)]
    source = read_source(write_snapshot(tmp_path, "2023-09-04", [*models, *again]))
    assert len(source.entries) == 60
    assert [float(counts.scores[ARC]) for _, counts in source.repeated] == [60, 60, 50, 50, 50]
    assert {entry.model: entry.scores[ARC] for entry in source.entries}["m1"] == 60
    assert "m3 is there twice" in refused(write_snapshot(tmp_path, "2023-09-15", [*models, again[3]]))
    assert "m0 is there twice" in refused(write_snapshot(tmp_path, "2023-09-16", models + models))


def test_a_model_that_the_leaderboard_flags_keeps_its_name_and_carries_the_flag(tmp_path):
    flagged = "org/a-13b has been flagged! See discussion #213"
    (csv,) = read_source(
        write_snapshot(tmp_path, "2023-08-25", [row(flagged, 1, 2, 3, 4, url=f"https://example.org/{flagged}")])
    ).entries
    (rows,) = read_source(write_json(tmp_path / "20230904.json", [[flagged, 2.5, 1, 2, 3, 4]])).entries
    assert csv.model == rows.model == "org/a-13b"
    assert csv.flags == rows.flags == ("flagged: See discussion #213",)
    assert csv.url == "https://example.org/org/a-13b"


def test_a_column_of_flags_is_taken_over(tmp_path):
    rows = [[*row("a", 1, 2, 3, 4), "true"], [*row("b", 1, 2, 3, 4), "False"], [*row("c", 1, 2, 3, 4), ""]]
    entries = read_source(write_snapshot(tmp_path, "2023-05-23", rows, [*HEADING, "Contaminated"])).entries
    assert [entry.flags for entry in entries] == [("contaminated: true",), (), ()]


def test_of_two_files_of_a_day_the_finer_score_counts_and_nothing_is_there_twice(tmp_path):
    coarse = write_snapshot(tmp_path, "2023-08-09", [row("a-7b", 71.1, 87.9, 70.6, 62.2, url="https://example.org/a")])
    fine = write_json(tmp_path / "20230809.json", [["a-7b", 72.95, 71.08, 87.89, 70.58, 62.25]])
    for order in ((coarse, fine), (fine, coarse)):
        (entry,) = merge(entry for path in order for entry in read_source(path).entries)
        assert entry.scores[ARC] == Decimal("71.08")
        assert entry.url == "https://example.org/a"
    table = tidy_table([entry])
    assert table.num_rows == 4


def test_files_of_a_day_that_contradict_each_other_are_both_named(tmp_path):
    one = write_snapshot(tmp_path, "2023-08-09", [row("a", 71.1, 87.9, 70.6, 62.2)])
    other = write_json(tmp_path / "20230809.json", [["a", 72.95, 61.08, 87.89, 70.58, 62.25]])
    with pytest.raises(DataError, match=r"20230809.json:1: row 1: a has 61.08 in ARC .* but 71.1 in .*20230809.csv:2"):
        build([read_source(one), read_source(other)])


def test_the_table_has_a_row_for_each_score_and_unknown_stays_unknown(tmp_path):
    rows = [*GOOD, ["c", "40", "40", "40", "40", "", "0.0", ""]]
    table = tidy_table(read_source(write_snapshot(tmp_path, "2023-05-23", rows)).entries)
    assert table.schema == SCHEMA
    assert table.schema.field("date").type == pa.date32()
    assert table.num_rows == 11
    first, *_, last = table.to_pylist()
    assert first == {
        "date": datetime.date(2023, 5, 23),
        "model": "org/a-7b",
        "benchmark": "ARC",
        "shots": 25,
        "score": 50.0,
        "parameters": 7_000_000_000,
        "parameters_from": "name",
        "url": "https://example.org/a",
    }
    assert (last["model"], last["parameters"], last["parameters_from"], last["url"]) == ("c", None, None, None)


def test_every_snapshot_of_the_report_is_read(shared_data):
    sources = [read_source(path) for path in sorted((shared_data / "leaderboard_report").glob("*/*"))]
    entries = merge(entry for source in sources for entry in source.entries)
    assert len({entry.date for entry in entries}) == 15
    assert len(entries) == len({(entry.date, entry.model) for entry in entries})
    best = {(entry.date, entry.model): entry for entry in entries}[
        datetime.date(2023, 9, 15), "uni-tianyan/Uni-TianYan"
    ]
    assert [float(score) for score in best.scores.values()] == [72.1, 87.4, 69.91, 65.81]
    assert best.parameters == (None, None)
    assert all(entry.parameters.number is None or entry.parameters.number > 0 for entry in entries)
