from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from core.filters.phrases import Phrases, phrases
from tests.filters.conftest import chat, pairs, reasons, table, texts


def test_document_that_has_a_phrase_is_dropped_for_it() -> None:
    found = texts("def f():\n    print(x)", "print x", "PRINT(x)", "a [b] print(", "")
    assert pairs(phrases(found, Phrases(deny=["[b]", "print("]))) == [
        ("denied_phrase", "print("),
        (None, None),
        (None, None),
        ("denied_phrase", "[b]"),
        (None, None),
    ]


def test_case_may_be_ignored_in_any_script() -> None:
    found = texts("PRINT(x)", "ÄRGER", "print x")
    assert reasons(phrases(found, Phrases(deny=["print(", "ärger"], ignore_case=True))) == [
        "denied_phrase",
        "denied_phrase",
        None,
    ]


def test_only_the_part_that_is_asked_for_is_looked_at() -> None:
    answered, asked = chat("Sum?", "print(1 + 2)"), chat("What does print(1) do?", "It writes.")
    pair = {"source": "s", "prompt": "a", "chosen": "b", "rejected": "print("}
    documents = table(answered, asked, pair, {"source": "s", "text": "print("})
    wanted: dict[Any, list[bool]] = {
        "assistant": [True, False, False, False],
        "user": [False, True, False, False],
        "rejected": [False, False, True, False],
        "all": [True] * 4,
    }
    for part, dropped in wanted.items():
        verdict = phrases(documents, Phrases(deny=["print("], part=part))
        assert [reason is not None for reason in reasons(verdict)] == dropped
    several = Phrases(deny=["print("], part=["assistant", "rejected"])
    assert reasons(phrases(documents, several)) == ["denied_phrase", None, "denied_phrase", None]


def test_only_the_sources_named_are_judged() -> None:
    both = pa.concat_tables([texts("a", source="one"), texts("a", source="two")])
    assert reasons(phrases(both, Phrases(deny=["a"], sources=["two"]))) == [None, "denied_phrase"]
    assert reasons(phrases(both.slice(0, 0), Phrases(deny=["a"]))) == []


@pytest.mark.parametrize("declared", [{}, {"deny": []}, {"deny": [""]}, {"deny": ["a"], "part": "text"}])
def test_settings_without_effect_are_refused(declared: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Phrases.model_validate(declared)
