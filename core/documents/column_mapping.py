"""Many rows to documents at once, column by column: what `core.documents.mapping` does row by row.

Nothing is judged here. Whatever is not plainly as it should be (a null, another type, bytes that are no UTF-8, a path
into nested values) gives None, and the rows go one by one, which finds the row and says what is wrong with it. So do
the rarer mappings: templates, what is removed, an instruction in a turn of its own, and lists of questions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from core.documents.columns import Columns
from core.documents.fields import Fields
from core.documents.mapping import ROLES, Misfit, document_id, meta_json
from core.documents.rows import Lines
from core.documents.table import DOCUMENTS, MESSAGES

# What Python's str.strip() takes away, so that both ways call the same texts empty.
WHITE_SPACE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())


Made = dict[str, pa.Array]


class _Irregular(Exception):
    """The columns are not plainly as they should be."""


# What is raised where they are not: JSON that is broken is a ValueError, a row that is no object one of the others.
IRREGULAR = (_Irregular, Misfit, pa.ArrowException, KeyError, TypeError, ValueError, AttributeError, OverflowError)


def many_documents(rows: Columns | Lines, fields: Fields, source: str, file: int) -> pa.Table | None:
    """All the rows as a table of DOCUMENTS; None where any of them is not regular (or a line is blank)."""
    if fields.templates or fields.remove or fields.questions or fields.instruction_role == "system":
        return None
    try:
        made, count = _of_columns(rows, fields) if isinstance(rows, Columns) else _of_lines(rows, fields)
    except IRREGULAR:
        return None
    if not fields.id:
        numbers = pa.array(np.arange(rows.first, rows.first + count)).cast(pa.string())
        made["id"] = pc.binary_join_element_wise(pa.scalar(f"{source}:{file}:"), numbers, "")
    made["source"] = pa.repeat(pa.scalar(source), count)
    arrays = [made[field.name] if field.name in made else pa.nulls(count, field.type) for field in DOCUMENTS]
    return pa.Table.from_arrays(arrays, schema=DOCUMENTS)


def _of_columns(columns: Columns, fields: Fields) -> tuple[Made, int]:
    table = columns.table
    made = _MAKERS[fields.form](table, fields)
    if fields.id:
        made["id"] = _ids(table, fields.id)
    if fields.meta:
        made["meta"] = _metas(table, fields)
    return made, table.num_rows


def _of_lines(block: Lines, fields: Fields) -> tuple[Made, int]:
    kinds = _kinds(fields)
    if not block.lines or not orjson.loads(block.lines[0]).keys() >= kinds.keys():  # soon, before all are parsed
        raise _Irregular
    values = [orjson.loads(line) for line in block.lines]
    table = pa.table({name: pa.array([value[name] for value in values], kind) for name, kind in kinds.items()})
    made = _MAKERS[fields.form](table, fields)
    if fields.id:
        made["id"] = pa.array([document_id(value, fields) for value in values], pa.string())
    if fields.meta:
        made["meta"] = pa.array([meta_json(value, fields) for value in values], pa.large_string())
    return made, len(values)


def _kinds(fields: Fields) -> dict[str, pa.DataType]:
    """The type that each column of the form must have."""
    text = pa.large_string()
    if fields.messages is not None:
        return {fields.messages: pa.list_(pa.struct([(fields.role, text), (fields.content, text)]))}
    names = ("text", "instruction", "input", "output", "prompt", "chosen", "rejected")
    return {name: text for name in (getattr(fields, name) for name in names) if name is not None}


def _text(table: pa.Table, fields: Fields) -> Made:
    return {"text": _strings(_column(table, fields.text))}


def _pair(table: pa.Table, fields: Fields) -> Made:
    return {name: _strings(_column(table, getattr(fields, name))) for name in ("prompt", "chosen", "rejected")}


def _instruction(table: pa.Table, fields: Fields) -> Made:
    user = _strings(_column(table, fields.instruction))
    answer = _strings(_column(table, fields.output))
    if fields.input is not None:
        user = _with_input(user, _column(table, fields.input))
    rows = table.num_rows
    turns = np.arange(2 * rows).reshape(2, rows).T.ravel()  # each question, then its answer
    contents = pa.concat_arrays([user, answer]).take(pa.array(turns))
    roles = pa.array(["user", "assistant"]).take(pa.array(np.tile(np.arange(2), rows)))
    return {"messages": _dialogues(np.arange(0, 2 * rows + 1, 2), roles, contents)}


def _with_input(user: pa.Array, column: pa.Array) -> pa.Array:
    if column.null_count == len(column):  # also a column of the type null
        return user
    more = _strings(pc.fill_null(column, ""))
    both = pc.binary_join_element_wise(user, more, pa.scalar("\n\n", pa.large_string()))
    return pc.case_when(pa.StructArray.from_arrays([_blank(more), _blank(user)], ["0", "1"]), user, more, both)


def _blank(texts: pa.Array) -> pa.Array:
    return pc.equal(pc.binary_length(pc.utf8_ltrim(texts, WHITE_SPACE)), 0)


def _messages(table: pa.Table, fields: Fields) -> Made:
    column = _column(table, fields.messages)
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
        raise _Irregular
    lengths = pc.list_value_length(column)
    messages = pc.list_flatten(column)
    if column.null_count or messages.null_count or pc.any(pc.equal(lengths, 0)).as_py():
        raise _Irregular
    if {fields.role, fields.content} - {field.name for field in kind.value_type}:
        raise _Irregular
    known = fields.roles or ROLES
    roles = _strings(pc.struct_field(messages, fields.role))
    places = pc.index_in(roles, pa.array(list(known), pa.large_string()))
    if places.null_count:
        raise _Irregular
    ends = np.cumsum(lengths.to_numpy(zero_copy_only=False))
    contents = _strings(pc.struct_field(messages, fields.content))
    return {"messages": _dialogues(np.append(0, ends), pa.array(list(known.values())).take(places), contents)}


def _dialogues(offsets: np.ndarray, roles: pa.Array, contents: pa.Array) -> pa.Array:
    turns = pa.StructArray.from_arrays([roles, contents], fields=list(MESSAGES.value_type))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), turns, type=MESSAGES)


def _ids(table: pa.Table, name: str) -> pa.Array:
    column = _column(table, name)
    if column.null_count:
        raise _Irregular
    if pa.types.is_integer(column.type):
        return column.cast(pa.string())
    return _strings(column).cast(pa.string())


def _metas(table: pa.Table, fields: Fields) -> pa.Array:
    if any(table.column_names.count(name) != 1 for name in fields.meta):
        raise _Irregular
    values = table.select(fields.meta).to_pylist()
    return pa.array([meta_json(value, fields) for value in values], pa.large_string())


def _column(table: pa.Table, name: str | None) -> pa.Array:
    """A column of that name, if there is exactly one; paths into nested values go row by row."""
    if table.column_names.count(name) != 1:
        raise _Irregular
    column = table[name]
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _strings(column: pa.Array) -> pa.Array:
    """Strings of any kind as large_string, none of them null and all of them UTF-8."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise _Irregular
    if column.null_count:
        raise _Irregular
    strings = column.cast(pa.large_string())
    if isinstance(strings, pa.ChunkedArray):
        strings = strings.combine_chunks()
    if strings.null_count:  # of a dictionary
        raise _Irregular
    strings.validate(full=True)  # raises ArrowInvalid where they are no UTF-8
    return strings


_MAKERS: dict[str, Callable[[pa.Table, Fields], Made]] = {
    "text": _text,
    "messages": _messages,
    "instruction": _instruction,
    "pair": _pair,
}
