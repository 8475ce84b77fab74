"""JSON as columns: whatever the values are, they come back, however the rows are cut into parts."""

from __future__ import annotations

import io
import json
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import DataError
from ray_jobs.dedup_files.json_columns import (
    MOST_COLUMNS,
    MOST_KEYS,
    Kind,
    add_kinds,
    is_json,
    merge_kinds,
    schema_of,
    table_of,
)

NUMBERS = (
    st.integers(-(2**63), 2**64 - 1)
    | st.integers(-5, 5)
    | st.sampled_from([2**53, 2**53 + 1, -(2**53), -(2**53) - 1, 2**63])
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text("ab é2020-1", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(
    st.fixed_dictionaries({"text": st.text("ab", max_size=3)}, optional={"x": VALUES, "y": VALUES}), min_size=1
)


def schema_of_parts(parts: list[list[dict[str, Any]]], identity: str | None = None) -> pa.Schema:
    together: dict[str, Kind] = {}
    for part in parts:
        kinds: dict[str, Kind] = {}
        for row in part:
            add_kinds(kinds, row, identity)
        merge_kinds(together, orjson.loads(orjson.dumps(kinds)), identity)
    return schema_of(together, "text")


def columns(*parts: list[dict[str, Any]], identity: str | None = None) -> pa.Table:
    """Of parts that are given without their texts."""
    whole = [[{"text": "a", **row} for row in part] for part in parts]
    schema = schema_of_parts(whole, identity)
    return pa.concat_tables([table_of(part, schema) for part in whole])


def filled(value: Any) -> Any:
    """Without what a type adds: keys of null."""
    if isinstance(value, dict):
        return {key: filled(inner) for key, inner in value.items() if filled(inner) not in (None, {})} or None
    return [filled(inner) for inner in value] if isinstance(value, list) else value


@settings(deadline=None, max_examples=300)
@given(st.lists(ROWS, min_size=1, max_size=3))
def test_the_values_of_all_parts_come_back_through_one_schema_and_parquet(parts: list[list[dict[str, Any]]]) -> None:
    schema = schema_of_parts(parts)
    assert schema.equals(schema_of_parts([[row for part in parts for row in part]]), check_metadata=True)
    assert schema.equals(schema_of_parts([[row] for part in parts for row in part]), check_metadata=True)
    for part in parts:
        file = io.BytesIO()
        pq.write_table(table_of(part, schema), file)
        found = pq.read_table(file)
        assert found.schema.names == schema.names
        for row, given_row in zip(found.to_pylist(), part, strict=True):
            for field in schema:
                value, expected = row[field.name], given_row.get(field.name)
                if is_json(field):
                    assert value is None or value == orjson.dumps(expected).decode()
                    assert (value is None) == (expected is None)
                else:
                    assert filled(value) == filled(expected)


def test_numbers_that_no_type_holds_together_are_kept_as_text() -> None:
    table = columns([{"n": 2**64 - 1}, {"n": -1}])
    assert table["n"].to_pylist() == [str(2**64 - 1), "-1"]
    assert is_json(table.schema.field("n"))


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"a": [value]}])
def test_large_whole_numbers_and_numbers_with_a_point_are_kept_as_they_were_written(wrap) -> None:
    rows = [{"n": wrap(2**53 + 1)}, {"n": wrap(1)}, {"n": wrap(0.5)}]
    for parts in ([rows], [rows[:1], rows[1:]], [rows[2:], rows[:2]]):
        assert set(columns(*parts)["n"].to_pylist()) == {json.dumps(row["n"], separators=(",", ":")) for row in rows}
    assert columns([{"n": 2**53}], [{"n": 0.5}])["n"].to_pylist() == [2.0**53, 0.5]


def test_whole_numbers_of_64_bits_without_a_sign_are_numbers() -> None:
    for parts in ([[{"n": 2**64 - 1}, {"n": 3}]], [[{"n": 3}], [{"n": 2**64 - 1}]]):
        table = columns(*parts)
        assert table.schema.field("n").type == pa.uint64()
        assert sorted(table["n"].to_pylist()) == [3, 2**64 - 1]


def test_json_text_has_no_keys_and_numbers_of_other_rows() -> None:
    found = columns([{"x": {"a": 1}}, {"x": {"b": 1.5}}], [{"x": "text"}])["x"].to_pylist()
    assert found == ['{"a":1}', '{"b":1.5}', '"text"']


def test_objects_of_ever_other_keys_are_kept_as_text() -> None:
    rows = [{"x": {f"k{number}": number}} for number in range(MOST_KEYS + 1)]
    assert not is_json(columns(rows[1:]).schema.field("x"))
    for parts in ([rows], [rows[:100], rows[100:]]):
        table = columns(*parts)
        assert is_json(table.schema.field("x"))
        assert table["x"][-1].as_py() == f'{{"k{MOST_KEYS}":{MOST_KEYS}}}'


def test_too_many_columns_are_refused_with_their_number() -> None:
    rows = [{f"k{number}": number} for number in range(MOST_COLUMNS)]
    with pytest.raises(DataError, match=f"{MOST_COLUMNS + 1:,} different keys"):
        columns(rows[:900], rows[900:])


def test_ids_of_several_types_are_text_without_quotation_marks() -> None:
    for parts in ([[{"id": "x"}, {"id": 7}]], [[{"id": 7}], [{"id": "x"}]]):
        table = columns(*parts, identity="id")
        assert sorted(table["id"].to_pylist()) == ["7", "x"]
        assert not is_json(table.schema.field("id"))


def test_text_that_looks_like_a_date_stays_text() -> None:
    assert columns([{"text": "2020-01-01", "day": "2020-01-01"}]).schema.types == [pa.large_string(), pa.string()]
