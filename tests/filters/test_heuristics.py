from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from core.filters.heuristics import Heuristics, heuristics
from tests.filters.conftest import pairs, reasons, texts

PROSE = "The cat and the dog have gone to that house with the red door, and they will be there for some time. " * 4


def judged(text: str, **declared: float | list[str]) -> tuple[str | None, str | None]:
    [pair] = pairs(heuristics(texts(text), Heuristics.model_validate(declared)))
    return pair


def test_prose_is_kept() -> None:
    assert judged(PROSE) == (None, None)


@pytest.mark.parametrize(
    ("text", "reason", "evidence"),
    [
        ("", "too_few_words", "0 words"),
        ("the and " * 24 + "the", "too_few_words", "49 words"),
        ("the and " * 50_001, "too_many_words", "100002 words"),
        ("a to " * 50, "short_words", "1.5 characters per word"),
        ("thequickbrown and " * 50 + "x" * 500, "long_words", "12.871 characters per word"),
        (PROSE + "# " * 20, "hash_signs", None),
        (PROSE + "... " * 20, "ellipses", None),
        (PROSE + "… " * 20, "ellipses", None),
        ("- the cat and the dog have gone\n" * 20, "bullet_lines", "1 (share of the lines)"),
        ("  • the cat and the dog have gone\r\n" * 20, "bullet_lines", "1 (share of the lines)"),
        (
            ("the cat and the dog went with all of them to that big old house...\n" * 4 + PROSE + "\n") * 2,
            "ellipsis_lines",
            "0.8 (share of the lines)",
        ),
        ("the 1234 and 5678 " * 20, "non_alphabetic_words", "0.5 (share of the words)"),
        ("lorem ipsum dolor the amet " * 20, "too_few_stop_words", "1 different stop words"),
        ("读书 写字 " * 40, "short_words", "2 characters per word"),
    ],
)
def test_each_rule_of_gopher_drops_what_it_is_for(text: str, reason: str, evidence: str | None) -> None:
    found = judged(text)
    assert found[0] == reason
    assert evidence in (None, found[1])


def test_thresholds_are_included() -> None:
    fifty = "the and " * 25
    assert judged(fifty)[0] is None
    assert judged(fifty, min_words=51)[0] == "too_few_words"
    tenth = "the cat and dog run to that big house #\n" * 10  # a tenth of the words
    assert judged(tenth)[0] is None
    assert judged(tenth, max_symbol_ratio=0.099)[0] == "hash_signs"
    bullets = "- the cat and the dog have gone\n" * 9 + "the cat and the dog have gone\n"
    assert judged(bullets)[0] is None
    assert judged(bullets, max_bullet_lines=0.89)[0] == "bullet_lines"


def test_underlined_headings_and_dashes_are_no_bullets() -> None:
    lenient = {"min_words": 0, "min_alphabetic_words": 0, "min_stop_words": 0, "min_mean_word_length": 0}
    for line in ("******", "------", "-5", "**bold**"):
        assert judged(f"{line}\n" * 20, **lenient) == (None, None)


def test_stop_words_are_whole_words_in_any_case_and_different_ones() -> None:
    assert judged("THE cat, With dogs. " * 20)[0] is None
    assert judged("other bees tools offer sandy thatch haven without " * 10)[0] == "too_few_stop_words"
    assert judged("the the the cat sat " * 20) == ("too_few_stop_words", "1 different stop words")
    german = "der Hund und die Katze gehen nach Hause " * 10
    assert judged(german)[0] == "too_few_stop_words"
    assert judged(german, stop_words=["der", "und", "die"])[0] is None
    assert judged("größe übt größe übt groß " * 20, stop_words=["größe", "übt", "ÜBT"])[0] is None
    assert judged("a.c abc some words here " * 20, stop_words=["a.c", "a.b"], min_stop_words=2)[0] is not None


def test_documents_are_judged_one_by_one() -> None:
    verdict = heuristics(texts(PROSE, "", PROSE, "short"), Heuristics())
    assert reasons(verdict) == [None, "too_few_words", None, "too_few_words"]


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"min_words": 9, "max_words": 8}, "min_words 9 is above max_words 8: no document would be kept"),
        ({"max_mean_word_length": 2.5}, "min_mean_word_length 3 is above max_mean_word_length 2.5"),
        ({"stop_words": []}, "min_stop_words 2 is above the number of different stop_words, 0"),
        ({"stop_words": ["the", "The"]}, "min_stop_words 2 is above the number of different stop_words, 1"),
        ({"stop_words": ["the", "of", ""]}, "at least 1 character"),
    ],
)
def test_settings_that_would_keep_nothing_are_refused(declared: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Heuristics.model_validate(declared)


def test_limits_that_meet_and_no_stop_words_at_all_are_taken() -> None:
    assert judged("two words", min_words=2, max_words=2, stop_words=[], min_stop_words=0) == (None, None)
