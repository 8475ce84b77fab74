from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from core.documents.editing import edited
from core.errors import DataError
from core.filters.c4 import C4, c4
from tests.filters.conftest import pairs, reasons, texts

GOOD = "This line has more than five words. So it is kept."
PAGE = f"{GOOD}\n{GOOD}\n"
CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
PIECES = ["[1]", "[]", "[edit]", "[citation needed]", "[a]", "JavaScript", "Lorem Ipsum", "{", "Use Cookies"]
PIECES += [GOOD, "one two three four five", ".", "...", "!", '"', "'", "?", " ", "\n", "\r\n", "\u2028", "\x1c", "\t"]
PIECES += ["世界。你好", "é", "🙂 "]
TEXT = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


def sentences(line: str) -> int:
    """One more than the sentence ends after which another sentence follows."""
    return 1 + len(re.findall(r"""(?:[.!?]["')\]]*\s+|[。])(?=\S)""", re.sub(r"(?<=[.!?])[.!?]+", "", line).strip()))


def cleaned(text: str) -> tuple[str | None, str]:
    """C4's rules with Python's own strings: why the page is dropped, and what is left of it."""
    left, found = [], 0
    for line in text.splitlines(keepends=True):
        bare = CITATION.sub("", line.strip())
        if (
            max(map(len, line.split()), default=0) > 1000
            or not bare.endswith((".", "?", "!", '"'))
            or bare.endswith("...")
        ):
            continue
        if len(bare.split()) < 5:
            continue
        lower = bare.lower()
        if "lorem ipsum" in lower:
            return "lorem_ipsum", text
        if "javascript" in lower:
            continue
        if "{" in bare:
            return "curly_bracket", text
        if "use cookies" in lower:
            continue
        found += sentences(bare)
        left.append(CITATION.sub("", line))
    return ("few_sentences", text) if found < 3 else (None, "".join(left))


def run(*contents: str, **declared: Any) -> list[tuple[str | None, str]]:
    documents = texts(*contents)
    verdict = c4(documents, C4.model_validate(declared))
    assert verdict.spans is not None
    return list(zip(reasons(verdict), edited(documents, verdict.spans)["text"].to_pylist(), strict=True))


@settings(deadline=None)  # the first call compiles
@given(st.lists(TEXT, min_size=1, max_size=4))
def test_pages_are_cleaned_as_with_python_strings(contents: list[str]) -> None:
    assert run(*contents) == [cleaned(text) for text in contents]


@pytest.mark.parametrize(
    ("line", "reason", "off"),
    [
        ("a menu entry without an end", "no_line_end", {"line_ends": None}),
        ("it goes on and on...", "no_line_end", {"line_ends": None}),
        ("Too few words.", "few_words", {"min_words_per_line": None}),
        (f"A line with a word of {'x' * 1001} letters.", "long_word", {"max_word_length": None}),
        ("Please switch on JavaScript in your browser.", "javascript", {"cut_javascript": False}),
        ("By going on you accept our Privacy Policy.", "policy", {"policy_phrases": None}),
    ],
)
def test_lines_are_cut_with_their_end_unless_the_rule_is_off(line: str, reason: str, off: dict[str, Any]) -> None:
    text = f"{GOOD}\n{line}\r\n{GOOD}\n"
    verdict = c4(texts(text), C4())
    assert verdict.spans is not None
    [span] = verdict.spans.to_pylist()
    assert (span["reason"], span["replacement"]) == (reason, None)
    assert text.encode()[span["begin"] : span["end"]].decode() == f"{line}\r\n"
    assert run(text, **off) == [(None, text)]


def test_citations_are_cut_out_of_their_line() -> None:
    text = f"Was [12] it so [citation needed] or [a] not [edit] at all?\n{PAGE}"
    assert run(text) == [(None, f"Was  it so  or [a] not  at all?\n{PAGE}")]
    assert run(text, cut_citations=False) == [(None, text)]
    assert run(f"A good long line is here.[1]\n{PAGE}") == [(None, f"A good long line is here.\n{PAGE}")]


@pytest.mark.parametrize(
    ("line", "found", "off"),
    [
        ("Here stands Lorem ipsum instead of text.", ("lorem_ipsum", "lorem ipsum"), {"drop_lorem_ipsum": False}),
        ("Here stands a bracket { of a script.", ("curly_bracket", "{"), {"drop_curly_brackets": False}),
    ],
)
def test_pages_are_dropped_unless_the_rule_is_off(line: str, found: tuple[str, str], off: dict[str, Any]) -> None:
    verdict = c4(texts(f"menu\n{PAGE}{line}"), C4())
    assert pairs(verdict) == [found]
    assert verdict.spans is not None and verdict.spans.num_rows == 0
    assert run(f"{PAGE}{line}", **off) == [(None, f"{PAGE}{line}")]


def test_sentences_of_the_lines_that_are_left_are_counted() -> None:
    assert pairs(c4(texts(GOOD), C4())) == [("few_sentences", "2 sentences")]
    assert run(GOOD, min_sentences=2) == [(None, GOOD)]
    assert run("", min_sentences=None) == [(None, "")]
    assert pairs(c4(texts("", "menu\nhome\n" * 100), C4())) == [("few_sentences", "0 sentences")] * 2


def test_options_choose_ends_lengths_and_phrases() -> None:
    line = "This one ends with a semicolon;\n"
    assert run(line + PAGE) == [(None, PAGE)]
    assert run(line + PAGE, line_ends=[";", "."]) == [(None, line + PAGE)]
    assert run("Three good words.\n" + PAGE, min_words_per_line=3) == [(None, "Three good words.\n" + PAGE)]
    assert run(f"A longish {'é' * 30} word is in here.\n" + PAGE, max_word_length=29) == [(None, PAGE)]
    assert run("Subscribe to OUR newsletter now, please.\n" + PAGE, policy_phrases=["Our Newsletter"]) == [(None, PAGE)]


def test_bad_words_are_whole_words_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("darn\ntwo words\nс+\n\n")
    options = C4(bad_words=str(path), min_sentences=None, line_ends=None, min_words_per_line=None)
    documents = texts("Darn!", "darned", "two words", "é darné", "such С+ is", "fine")
    assert pairs(c4(documents, options)) == [
        ("bad_word", "darn"),
        (None, None),
        ("bad_word", "two words"),
        (None, None),
        ("bad_word", "с+"),
        (None, None),
    ]
    with pytest.raises(DataError, match="cannot be read"):
        c4(documents, C4(bad_words=str(tmp_path / "none.txt")))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(DataError, match="has no word"):
        c4(documents, C4(bad_words=str(tmp_path / "empty.txt")))


@pytest.mark.parametrize("option", ["line_ends", "policy_phrases"])
def test_empty_phrase_would_be_in_every_line_and_is_refused(option: str) -> None:
    with pytest.raises(ValidationError, match=rf"{option}.1\n.*at least 1 character"):
        C4.model_validate({option: ["x", ""]})
