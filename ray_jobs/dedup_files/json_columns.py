"""JSON objects as columns of inferred types, and one schema for all parts of a job.

A column of one type keeps it; null, or a missing key, fits any. Whole numbers and numbers with a point make numbers
with a point; objects with different keys have them all. A column whose values fit no common type, in one part or over
all, is kept as the text of the values in JSON, and the field's metadata say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa

AS_JSON = {b"raycipe.type": b"json"}
MISFIT = (pa.ArrowException, TypeError, ValueError, OverflowError)


def columns_of(rows: Sequence[dict[str, Any]], text: str) -> pa.Table:
    """The rows as a table, columns in the order of their first appearance. text: the one that is surely text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    fields, columns = [], []
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            column = pa.array(values, pa.large_string() if name == text else None)
            whole = _can_be_written(column.type)
        except MISFIT:
            whole = False
        field = pa.field(name, column.type) if whole else pa.field(name, pa.large_string(), metadata=AS_JSON)
        fields.append(field)
        columns.append(column if whole else _as_json(values))
    return pa.table(columns, schema=pa.schema(fields))


def unified(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """A schema that all fit, columns in the order of their first appearance."""
    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        for field in schema:
            fields[field.name] = _common(fields[field.name], field) if field.name in fields else field
    return pa.schema(list(fields.values()))


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with a schema that `unified` made of its own and others."""
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
        elif is_json(field) and not is_json(table.schema.field(field.name)):
            columns.append(_as_json(table[field.name].to_pylist()))
        else:
            columns.append(_cast(table[field.name], field.type))
    return pa.table(columns, schema=schema)


def is_json(field: pa.Field) -> bool:
    """Whether a column has the text of values in JSON."""
    return bool(field.metadata) and AS_JSON.items() <= field.metadata.items()


def _common(one: pa.Field, other: pa.Field) -> pa.Field:
    if one.equals(other, check_metadata=True):
        return one
    if not is_json(one) and not is_json(other):
        try:
            schema = pa.unify_schemas([pa.schema([one]), pa.schema([other])], promote_options="permissive")
            return schema.field(0)
        except MISFIT:
            pass
    return pa.field(one.name, pa.large_string(), metadata=AS_JSON)


def _cast(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    if column.type == wanted:
        return column
    try:
        return column.cast(wanted)
    except MISFIT:  # objects that have more keys elsewhere
        return pa.chunked_array([pa.array(column.to_pylist(), wanted)])


def _as_json(values: Sequence[Any]) -> pa.LargeStringArray:
    return pa.array([None if value is None else orjson.dumps(value).decode() for value in values], pa.large_string())


def _can_be_written(kind: pa.DataType) -> bool:
    """Parquet has no object without keys."""
    if pa.types.is_struct(kind):
        return kind.num_fields > 0 and all(_can_be_written(field.type) for field in kind)
    return not pa.types.is_list(kind) or _can_be_written(kind.value_type)
