from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.documents.templates import filled, template_columns

TEXT = st.text(st.sampled_from("ab {}\n"), max_size=6)


@given(st.lists(st.tuples(TEXT, st.sampled_from(["a", "b.0", "Question Stem"])), max_size=4), TEXT, TEXT)
def test_what_is_not_in_braces_stays_and_what_is_put_in_is_taken_as_it_is(
    parts: list[tuple[str, str]], end: str, value: str
) -> None:
    def escaped(text: str) -> str:
        return text.replace("{", "{{").replace("}", "}}")

    template = "".join(f"{escaped(text)}{{{name}}}" for text, name in parts) + escaped(end)
    assert template_columns(template) == {name for _, name in parts}
    assert (
        filled(template, lambda name: f"{name}{value}")
        == ("".join(f"{text}{name}{value}" for text, name in parts) + end).strip()
    )
