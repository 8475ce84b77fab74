from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from core.filters.metadata import Metadata, metadata
from tests.filters.conftest import chat, pairs, reasons, table, texts

SOURCES = ["data/CoT/gsm_train.json", "data/CoT/gsm_rft.json", "data/PoT/gsm_gpt4.json"]


def documents(*metas: Any) -> pa.Table:
    return table(*(chat("a", "b") | {"meta": meta if meta is None else json.dumps(meta)} for meta in metas))


def test_only_values_that_are_allowed_stay() -> None:
    options = Metadata(key="source", allow=["data/CoT/gsm_train.json"])
    assert pairs(metadata(documents(*({"source": name} for name in SOURCES)), options)) == [
        (None, None),
        ("metadata_not_allowed", "source: data/CoT/gsm_rft.json"),
        ("metadata_not_allowed", "source: data/PoT/gsm_gpt4.json"),
    ]


def test_values_that_are_denied_go_also_where_they_are_allowed() -> None:
    of_platypus = documents({"data_source": "airoboros"}, {"data_source": "reclor"})
    assert pairs(metadata(of_platypus, Metadata(key="data_source", deny=["airoboros"]))) == [
        ("metadata_denied", "data_source: airoboros"),
        (None, None),
    ]
    both = Metadata(key="source", allow=["data/CoT/*"], deny=["*_rft.json"])
    assert reasons(metadata(documents(*({"source": name} for name in SOURCES)), both)) == [
        None,
        "metadata_denied",
        "metadata_not_allowed",
    ]


def test_only_a_star_stands_for_other_letters_and_the_whole_value_counts() -> None:
    found = documents(*({"k": value} for value in ("a.c", "abc", "xa.c", "a.cx", "a\nc", "")))
    assert reasons(metadata(found, Metadata(key="k", deny=["a.c"]))) == ["metadata_denied", *[None] * 5]
    assert reasons(metadata(found, Metadata(key="k", deny=["a*c"]))) == [
        "metadata_denied",
        "metadata_denied",
        None,
        None,
        "metadata_denied",
        None,
    ]
    assert reasons(metadata(found, Metadata(key="k", deny=["*"]))) == ["metadata_denied"] * 6


def test_values_that_are_no_text_are_compared_as_json_has_them() -> None:
    found = documents({"k": False}, {"k": True}, {"k": 3}, {"k": "3"}, {"k": 0.5})
    assert reasons(metadata(found, Metadata(key="k", allow=[False, 3, 0.5]))) == [
        None,
        "metadata_not_allowed",
        None,
        None,
        None,
    ]


def test_one_item_of_a_list_is_enough() -> None:
    found = documents({"tags": ["math", "code"]}, {"tags": ["prose"]}, {"tags": []})
    assert pairs(metadata(found, Metadata(key="tags", allow=["math", "prose"], deny=["code"]))) == [
        ("metadata_denied", "tags: math, code"),
        (None, None),
        ("metadata_not_allowed", "tags: "),
    ]


def test_document_without_the_value_is_dropped_for_that_unless_it_may_stay() -> None:
    found = documents({"other": 1}, {"k": None}, None, {"k": "a"})
    assert pairs(metadata(found, Metadata(key="k", deny=["b"]))) == [("metadata_missing", "k")] * 3 + [(None, None)]
    assert reasons(metadata(found, Metadata(key="k", allow=["b"], missing="keep"))) == [
        *[None] * 3,
        "metadata_not_allowed",
    ]


def test_only_the_sources_named_are_judged() -> None:
    both = pa.concat_tables([texts("a", source="one"), texts("b", source="two")])
    assert reasons(metadata(both, Metadata(key="k", deny=["x"], sources=["two"]))) == [None, "metadata_missing"]
    assert reasons(metadata(both.slice(0, 0), Metadata(key="k", deny=["x"]))) == []


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"key": "k"}, "give allow"),
        ({"key": "k", "allow": []}, "at least 1 item"),
        ({"key": "", "deny": ["x"]}, "at least 1 character"),
        ({"key": "k", "deny": [""]}, "at least 1 character"),
    ],
)
def test_settings_without_effect_are_refused(declared: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Metadata.model_validate(declared)
