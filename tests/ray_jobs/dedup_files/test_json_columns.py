"""JSON as columns: whatever the values are, they come back."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_jobs.dedup_files.json_columns import columns_of, conformed, is_json, unified

NUMBERS = (
    st.integers(-(2**63), 2**64 - 1) | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False, width=32)
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text("ab é2020-1", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.lists(
    st.fixed_dictionaries({"text": st.text("ab", max_size=3)}, optional={"x": VALUES, "y": VALUES}), min_size=1
)


def filled(value: Any) -> Any:
    """Without what a common type adds or takes away: keys of null, and the point of whole numbers."""
    if isinstance(value, dict):
        return {key: filled(inner) for key, inner in value.items() if filled(inner) not in (None, {})} or None
    if isinstance(value, list):
        return [filled(inner) for inner in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@settings(deadline=None, max_examples=300)
@given(st.lists(ROWS, min_size=1, max_size=3))
def test_the_values_of_all_parts_come_back_through_one_schema_and_parquet(parts: list[list[dict[str, Any]]]) -> None:
    tables = [columns_of(part, "text") for part in parts]
    schema = unified([table.schema for table in tables])
    for part, table in zip(parts, tables, strict=True):
        file = io.BytesIO()
        pq.write_table(conformed(table, schema), file)
        found = pq.read_table(file)
        assert found.schema.names == schema.names
        for row, given_row in zip(found.to_pylist(), part, strict=True):
            for field in schema:
                value = row[field.name]
                if is_json(field) and value is not None:
                    value = json.loads(value)
                assert filled(value) == filled(given_row.get(field.name))


def test_numbers_that_no_type_holds_together_are_kept_as_text() -> None:
    table = columns_of([{"text": "a", "n": 2**64 - 1}, {"text": "b", "n": -1}], "text")
    assert table["n"].to_pylist() == [str(2**64 - 1), "-1"]
    assert is_json(table.schema.field("n"))


def test_text_that_looks_like_a_date_stays_text() -> None:
    assert columns_of([{"text": "2020-01-01", "day": "2020-01-01"}], "text").schema.types == [
        pa.large_string(),
        pa.string(),
    ]
