from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.documents.parts import SIDES, Parts, edited_part, part_of
from core.documents.table import DOCUMENTS, content

TEXT = st.text(st.sampled_from("aBÉ \n"), max_size=4)
ROLES = ("system", "user", "assistant")
TURN = st.fixed_dictionaries({"role": st.sampled_from([*ROLES, None]), "content": TEXT | st.none()})
DOCUMENT = st.one_of(
    st.fixed_dictionaries({"text": TEXT}),
    st.fixed_dictionaries({"messages": st.lists(TURN, max_size=4)}),
    st.fixed_dictionaries(dict.fromkeys(SIDES, TEXT)),
)
NAMES = st.sampled_from([*ROLES, *SIDES])
PARTS: st.SearchStrategy[Any] = st.just("all") | NAMES | st.lists(NAMES, min_size=1, max_size=3)


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([{"id": "x", "source": "s", **row} for row in rows], DOCUMENTS)


def expected(document: dict[str, Any], parts: Parts) -> str | None:
    names = [parts] if isinstance(parts, str) else parts
    turns = [turn["content"] or "" for turn in document.get("messages", []) if turn["role"] in names]
    sides = [document[name] for name in SIDES if name in names and name in document]
    return "\n".join(turns or sides) if turns or sides else None


@settings(deadline=None)
@given(st.lists(DOCUMENT, max_size=5), PARTS, st.integers(0, 2))
def test_part_is_the_turns_and_sides_of_those_names_or_null(
    rows: list[dict[str, Any]], parts: Parts, skipped: int
) -> None:
    documents = pa.concat_tables([table(*rows[:2]), table(*rows[2:])]).slice(skipped)
    found = part_of(documents, parts)
    assert found.type == pa.large_string()
    if parts == "all":
        assert found.equals(content(documents))
    else:
        assert found.to_pylist() == [expected(row, parts) for row in rows[skipped:]]


def upper(document: dict[str, Any], parts: Parts) -> dict[str, Any]:
    names = {*ROLES, *SIDES, "text"} if parts == "all" else {parts} if isinstance(parts, str) else set(parts)
    new = {name: text.upper() if name in names else text for name, text in document.items() if name != "messages"}
    if "messages" in document:
        new["messages"] = [
            turn | {"content": turn["content"] and turn["content"].upper()} if turn["role"] in names else turn
            for turn in document["messages"]
        ]
    return new


@settings(deadline=None)
@given(st.lists(st.tuples(DOCUMENT, st.booleans()), max_size=5), PARTS, st.integers(0, 2))
def test_only_the_part_of_the_chosen_documents_is_edited(
    rows: list[tuple[dict[str, Any], bool]], parts: Parts, skipped: int
) -> None:
    documents = pa.concat_tables([table(*(row for row, _ in part)) for part in (rows[:2], rows[2:])])
    chosen = pa.array([choice for _, choice in rows[skipped:]], pa.bool_())
    found = edited_part(documents.slice(skipped), parts, chosen, pc.utf8_upper)
    found.validate(full=True)
    assert found.equals(table(*(upper(row, parts) if choice else row for row, choice in rows)).slice(skipped))


@pytest.mark.parametrize("parts", ["all", "user", ["user", "prompt"]])
def test_an_empty_table_has_empty_parts(parts: Parts) -> None:
    documents = DOCUMENTS.empty_table()
    assert len(part_of(documents, parts)) == 0
    assert edited_part(documents, parts, pa.array([], pa.bool_()), pc.utf8_upper).equals(documents)
