from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from core.documents.fields import Fields

ASKED = {"questions": "q", "answers": "a"}


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({}, "found none"),
        ({"text": "a", "messages": "b"}, "found text and messages"),
        ({"instruction": "a"}, "also need output"),
        ({"prompt": "a"}, "also need chosen and rejected"),
        ({"questions": "a", "instruction": "b"}, "also need answers"),
        ({**ASKED, "instruction": "b", "output": "c"}, "found instruction/output and questions/answers"),
        ({"text": "a", "input": "b"}, "fields.input goes with instruction/output, not with text"),
        ({"text": "a", "roles": {"human": "user"}}, "fields.roles goes with messages, not with text"),
        ({"messages": "a", "context": "b"}, "fields.context goes with questions/answers, not with messages"),
        ({"instruction": "a", "output": "b", "history": "text"}, "fields.history goes with questions/answers"),
        ({"text": "a", "instruction_role": "system"}, "goes with instruction/output or questions/answers"),
        ({"instruction": "a", "output": "b", "instruction_role": "system"}, "system goes with input"),
        ({**ASKED, "instruction_role": "system"}, "system goes with instruction"),
        ({"messages": "a", "roles": {"human": "boss"}}, "'system', 'user' or 'assistant'"),
        ({"text": ""}, "at least 1 character"),
        ({"text": "a", "templates": {"b": "{c}"}}, "fields.templates.b is made for nothing"),
        ({"text": "a", "remove": {"b": ["x"]}}, "fields.remove.b: no other key of fields, and no template, names"),
        ({"text": "a", "remove": {"a": [""]}}, "at least 1 character"),
        ({"text": "a", "templates": {"a": "{b"}}, "a brace stands alone in '{b'"),
        ({"text": "a", "templates": {"a": "{}"}}, "a brace stands alone in '{}'"),
        ({"text": "a", "templates": {"a": "b}"}}, "a brace stands alone in 'b}'"),
    ],
)
def test_mapping_has_exactly_one_whole_form_and_no_key_without_effect(declared: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(says)):
        Fields.model_validate(declared)


@pytest.mark.parametrize(
    ("declared", "form"),
    [
        ({"text": "a"}, "text"),
        ({"messages": "a", "role": "from", "content": "value"}, "messages"),
        ({"instruction": "a", "input": "b", "output": "c", "instruction_role": "system"}, "instruction"),
        ({**ASKED, "context": "b", "history": "text"}, "questions"),
        ({**ASKED, "instruction": "b", "instruction_role": "system"}, "questions"),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, "pair"),
    ],
)
def test_form_of_a_mapping(declared: dict[str, Any], form: str) -> None:
    assert Fields.model_validate(declared).form == form


def test_columns_of_templates_are_needed_and_what_they_make_is_not() -> None:
    templates = {"asked": "{title}: {choices.text.0}", "rule": "Answer.", "body": "{body} {{x}}"}
    fields = Fields(
        instruction="rule",
        input="asked",
        output="body",
        id="key",
        meta=["url"],
        templates=templates,
        remove={"body": ["x"]},
    )
    assert fields.needed == {"title", "choices.text.0", "body", "key", "url"}
