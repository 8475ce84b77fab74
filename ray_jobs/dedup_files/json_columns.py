"""JSON objects as columns, by one schema for all parts of a job.

A column of one kind of value has its type; null, or a missing key, fits any. Whole numbers up to 2**53 and numbers with
a point make numbers with a point; objects with different keys have them all. A column of other mixtures, with an object
without keys only, or with objects of more than `MOST_KEYS` different keys, is kept as the text of the values in JSON,
and the field's metadata say so.

What a column holds is told by a kind. Kinds are merged in any order with the same result, so that the schema does not
depend on how the input is cut, and rows become columns when the kinds of all of them are known. A kind is a list, which
JSON can have: [NULL], [BOOLEAN], [STRING], [DOUBLE], [JSON], [INTEGER, smallest, largest], [LIST, kind of the items] or
[OBJECT, {key: kind}].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from core.errors import DataError

AS_JSON = {b"raycipe.type": b"json"}
MOST_KEYS = 256  # of the objects of a column
MOST_COLUMNS = 2_000
EXACT = 2**53  # whole numbers up to it are numbers with a point as well

NULL, BOOLEAN, STRING, DOUBLE, JSON = "null", "boolean", "string", "double", "json"
INTEGER, LIST, OBJECT = "integer", "list", "object"
Kind = list[Any]
SIMPLE = {type(None): [NULL], bool: [BOOLEAN], str: [STRING], float: [DOUBLE]}
TYPES = {NULL: pa.null(), BOOLEAN: pa.bool_(), STRING: pa.string(), DOUBLE: pa.float64()}


def add_kinds(kinds: dict[str, Kind], row: Mapping[str, Any], identity: str | None) -> None:
    """Adds what a row holds, in place. identity: the column whose numbers become text where others are text."""
    for name, value in row.items():
        kind = kind_of(value)
        known = kinds.get(name)
        if known != kind:
            kinds[name] = kind if known is None else _merged_column(name, known, kind, identity)


def merge_kinds(kinds: dict[str, Kind], other: Mapping[str, Kind], identity: str | None) -> None:
    """Adds what other rows hold, in place. Raises DataError for more than `MOST_COLUMNS` names."""
    for name, kind in other.items():
        kinds[name] = _merged_column(name, kinds[name], kind, identity) if name in kinds else kind
    require_few(kinds)


def require_few(kinds: Mapping[str, Kind]) -> None:
    """Raises DataError for more than `MOST_COLUMNS` names."""
    if len(kinds) > MOST_COLUMNS:
        raise DataError(
            f"the JSON objects have {len(kinds):,} different keys or more, expected at most {MOST_COLUMNS:,}, since "
            f"each becomes a column (the last: '{list(kinds)[-1][:80]}'). Put varying keys into an object of their own"
        )


def schema_of(kinds: Mapping[str, Kind], text: str) -> pa.Schema:
    """Columns in the order of the names. text: the one that is surely text."""
    fields = []
    for name, kind in kinds.items():
        found = pa.large_string() if name == text else _arrow_type(kind)
        fields.append(pa.field(name, pa.large_string(), metadata=AS_JSON) if found is None else pa.field(name, found))
    return pa.schema(fields)


def table_of(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """The rows with a schema that `schema_of` made of the kinds of these rows and others."""
    columns = []
    for field in schema:
        values = [row.get(field.name) for row in rows]
        if is_json(field):
            values = [None if value is None else orjson.dumps(value).decode() for value in values]
        elif pa.types.is_string(field.type):
            values = [value if value is None or isinstance(value, str) else str(value) for value in values]
        columns.append(pa.array(values, field.type))
    return pa.table(columns, schema=schema)


def is_json(field: pa.Field) -> bool:
    """Whether a column has the text of values in JSON."""
    return bool(field.metadata) and AS_JSON.items() <= field.metadata.items()


def kind_of(value: Any) -> Kind:
    """What a value of JSON is."""
    simple = SIMPLE.get(type(value))
    if simple is not None:
        return simple
    if isinstance(value, int):
        return [INTEGER, value, value]
    if isinstance(value, list):
        inner = [NULL]
        for item in value:
            inner = merged(inner, kind_of(item))
        return [JSON] if inner == [JSON] else [LIST, inner]
    fields = {key: kind_of(item) for key, item in value.items()}
    return _checked(fields)


def merged(one: Kind, other: Kind) -> Kind:
    """The kind of the values of both."""
    if one == other or other == [NULL]:
        return one
    if one == [NULL]:
        return other
    if one[0] == other[0] == INTEGER:
        low, high = min(one[1], other[1]), max(one[2], other[2])
        return [INTEGER, low, high] if low >= 0 or high < 2**63 else [JSON]
    if one[0] == other[0] == LIST:
        inner = merged(one[1], other[1])
        return [JSON] if inner == [JSON] else [LIST, inner]
    if one[0] == other[0] == OBJECT:
        fields = dict(one[1])
        for key, kind in other[1].items():
            fields[key] = merged(fields[key], kind) if key in fields else kind
        return _checked(fields)
    if {one[0], other[0]} == {INTEGER, DOUBLE}:
        _, low, high = one if one[0] == INTEGER else other
        if low >= -EXACT and high <= EXACT:
            return [DOUBLE]
    return [JSON]


def _merged_column(name: str, one: Kind, other: Kind, identity: str | None) -> Kind:
    kind = merged(one, other)
    return [STRING] if name == identity and kind == [JSON] else kind


def _checked(fields: dict[str, Kind]) -> Kind:
    return [JSON] if len(fields) > MOST_KEYS or [JSON] in fields.values() else [OBJECT, fields]


def _arrow_type(kind: Kind) -> pa.DataType | None:
    """None where it must be JSON: Parquet has no object without keys."""
    if kind[0] == INTEGER:
        return pa.uint64() if kind[2] >= 2**63 else pa.int64()
    if kind[0] == LIST:
        inner = _arrow_type(kind[1])
        return None if inner is None else pa.list_(inner)
    if kind[0] == OBJECT:
        types = {key: _arrow_type(inner) for key, inner in kind[1].items()}
        if not types or None in types.values():
            return None
        return pa.struct(list(types.items()))
    return TYPES.get(kind[0])
