from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.documents.editing import edited
from core.documents.table import content
from core.filters.personal_data import PersonalData, personal_data
from tests.filters.conftest import chat, reasons, table, texts

MARKS = {"email": "<MAIL>", "ip_address": "<IP4>", "ipv6_address": "<IP6>", "phone_number": "<PHONE>"}


def masked(*contents: str, **declared: Any) -> list[str]:
    documents = texts(*contents)
    verdict = personal_data(documents, PersonalData.model_validate(MARKS | declared))
    assert reasons(verdict) == [None] * len(contents)
    assert verdict.spans is not None
    assert verdict.spans["evidence"].null_count == verdict.spans.num_rows
    return list(edited(documents, verdict.spans)["text"].to_pylist())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b+c@mail.example.co.uk", "<MAIL>"),
        ("邮箱：o'neil@example.org。", "邮箱：<MAIL>。"),
        ("<x@example.com>,y@example.com;", "<<MAIL>>,<MAIL>;"),
        ("mailto:x-y@sub-domain.example.museum.", "mailto:<MAIL>."),
        ("x@localhost react@18.2.0 @property a@b", "x@localhost react@18.2.0 @property a@b"),
        ("x@b.com@c.com", "<MAIL>@c.com"),
        ("x@@b.com user@.com", "x@@b.com user@.com"),
    ],
)
def test_email_addresses(text: str, expected: str) -> None:
    assert masked(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ping 8.8.8.8.", "ping <IP4>."),
        ("http://1.1.1.1:80/x 地址8.8.4.4", "http://<IP4>:80/x 地址<IP4>"),
        ("127.0.0.1 10.1.2.3 192.168.0.1 192.0.2.1 0.0.0.0", "127.0.0.1 10.1.2.3 192.168.0.1 192.0.2.1 0.0.0.0"),
        (
            "1.2.3.4.5 256.8.8.8 08.8.8.8 8.8.8 v8.8.8.8 8.8.8.8rc",
            "1.2.3.4.5 256.8.8.8 08.8.8.8 8.8.8 v8.8.8.8 8.8.8.8rc",
        ),
        ("2606:4700:4700::1111, [2001:4860:4860::8888]:53", "<IP6>, [<IP6>]:53"),
        ("::1 fe80::1 2001:db8::1 std::dead a::b 12:30:45", "::1 fe80::1 2001:db8::1 std::dead a::b 12:30:45"),
        ("2606:4700:4700::1111:", "<IP6>:"),
    ],
)
def test_public_ip_addresses(text: str, expected: str) -> None:
    assert masked(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+44 20 7946 0958, +1 (212) 555-0123, +8613800138000", "<PHONE>, <PHONE>, <PHONE>"),
        ("(212) 555-0123 or 212-555-0123, 1-212-555-0123; 212.555.0123", "<PHONE> or <PHONE>, <PHONE>; <PHONE>"),
        ("2125550123 2020-01-02 12.12.2012 1 234 567 8901", "2125550123 2020-01-02 12.12.2012 1 234 567 8901"),
        (
            "123-456-7890 212-555-01234 5-212-555-0123-4 x212-555-0123",
            "123-456-7890 212-555-01234 5-212-555-0123-4 x212-555-0123",
        ),
        ("a +1 b + 2 (3) - 4.5 6 7 8 9", "a +1 b + 2 (3) - 4.5 6 7 8 9"),
    ],
)
def test_phone_numbers_of_the_forms_named(text: str, expected: str) -> None:
    assert masked(text) == [expected]


@pytest.mark.parametrize("kind", MARKS)
def test_each_kind_is_left_alone_if_its_replacement_is_null(kind: str) -> None:
    text = "x@example.org 8.8.8.8 2606:4700:4700::1111 +44 20 7946 0958"
    [found] = masked(text, **{kind: None})
    assert found == " ".join(
        mark if name != kind else part for (name, mark), part in zip(MARKS.items(), text.split(maxsplit=3), strict=True)
    )


def test_replacements_are_not_replaced_again() -> None:
    documents = texts("x@example.org 8.8.8.8 2606:4700:4700::1111 +44 20 7946 0958")
    verdict = personal_data(documents, PersonalData())
    once = edited(documents, verdict.spans)
    assert once["text"].to_pylist() == ["email@example.com 192.0.2.1 2001:db8::1 555-0100"]
    again = personal_data(once, PersonalData())
    assert edited(once, again.spans)["text"].to_pylist() == once["text"].to_pylist()


def test_all_turns_are_searched() -> None:
    documents = table(chat("I am x@example.org", "and I 8.8.8.8"))
    verdict = personal_data(documents, PersonalData.model_validate(MARKS))
    assert content(edited(documents, verdict.spans)).to_pylist() == ["I am <MAIL>\nand I <IP4>"]


@settings(deadline=None)  # the first call compiles
@given(
    st.lists(
        st.lists(
            st.sampled_from(["世", "é", " ", "\n", "x@example.org", "8.8.8.8", "1", "a", "@", "(212) 555-0123", "-"]),
            max_size=12,
        ).map("".join),
        min_size=1,
        max_size=4,
    )
)
def test_spans_are_in_order_apart_and_on_character_boundaries(contents: list[str]) -> None:
    verdict = personal_data(texts(*contents), PersonalData())
    assert verdict.spans is not None
    last = (0, 0)
    for span in verdict.spans.to_pylist():
        assert last <= (span["row"], span["begin"]) and span["begin"] < span["end"]
        contents[span["row"]].encode()[span["begin"] : span["end"]].decode()
        contents[span["row"]].encode()[: span["begin"]].decode()
        last = (span["row"], span["end"])
