from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DataError
from core.reporting.chosen_rows import chosen_rows, evenly
from tests.reporting.made_curation import write_dropped

LONG = "r" * 100  # longer than the statistics of a column chunk are sure to hold


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["short", "long", LONG]), max_size=40), st.integers(1, 5), st.integers(1, 6))
def test_rows_are_spread_evenly_over_all_of_their_reason(reasons: list[str], per_reason: int, files: int) -> None:
    ids = [f"{reason}:{number}" for number, reason in enumerate(reasons)]
    with tempfile.TemporaryDirectory() as directory:
        found = chosen_rows(write_dropped(Path(directory), ids, files), per_reason)
    expected = {}
    for reason in set(reasons):
        of_reason = [key for key in ids if key.startswith(f"{reason}:")]
        expected["length", reason] = [of_reason[place] for place in evenly(len(of_reason), per_reason)]
    assert {key: [row["id"] for row in rows] for key, rows in found.items()} == expected


def test_the_same_rows_are_chosen_however_many_files_they_lie_in(tmp_path: Path) -> None:
    ids = [f"{'ab'[number % 3 == 0]}:{number:03d}" for number in range(50)]
    one = chosen_rows(write_dropped(tmp_path / "one", ids, 1), 4)
    assert one == chosen_rows(write_dropped(tmp_path / "several", ids, 7), 4)
    assert [row["id"] for row in one["length", "b"]] == ["b:000", "b:015", "b:033", "b:048"]


def test_a_row_deep_in_a_large_row_group_is_found(tmp_path: Path) -> None:
    rows = {"step": ["length"] * 5000, "reason": ["a", "b"] * 2500, "text": [str(n) for n in range(5000)]}
    pq.write_table(pa.table(rows), tmp_path / "one.parquet")
    found = chosen_rows(tmp_path, 3)
    assert [row["text"] for row in found["length", "a"]] == ["0", "2500", "4998"]
    assert [row["text"] for row in found["length", "b"]] == ["1", "2501", "4999"]


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = write_dropped(tmp_path, ["a:1"], 2) / "001.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"001\.parquet: not readable as what curation keeps aside"):
        chosen_rows(tmp_path, 3)


def test_a_file_without_reasons_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a"], "step": ["length"]}), tmp_path / "part.parquet")
    with pytest.raises(DataError, match=r"part\.parquet.*reason"):
        chosen_rows(tmp_path, 3)


def test_no_files_no_rows_or_none_wanted_give_nothing(tmp_path: Path) -> None:
    assert chosen_rows(tmp_path, 3) == {}
    assert chosen_rows(write_dropped(tmp_path / "empty", [], 1), 3) == {}
    assert chosen_rows(write_dropped(tmp_path / "some", ["a:1"], 1), 0) == {}


def test_evenly_spread_positions_include_both_ends() -> None:
    assert evenly(10, 4) == [0, 3, 6, 9]
    assert evenly(2, 4) == [0, 1]
    assert evenly(0, 4) == evenly(5, 0) == []
