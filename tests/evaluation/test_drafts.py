"""What a text is guessed to go on with."""

from __future__ import annotations

from core.evaluation.drafts import FEW, MANY, PROBE, Drafts


def test_what_followed_the_last_tokens_before_is_drafted():
    drafts = Drafts([1, 2, 3, 4, 5, 6], [[9, 1, 2, 3], [9, 9]])
    assert drafts.of(0, 3) == [4, 5, 6]  # the prefix says what follows 1, 2, 3
    assert drafts.of(1, 3) == []
    drafts.add(0, [7])
    drafts.add(0, [1, 2, 3])
    assert drafts.of(0, 2) == [7, 1]  # the row's own text is nearer


def test_a_text_that_repeats_itself_is_drafted_on():
    drafts = Drafts([], [[5, 6, 5, 6, 5]])
    assert drafts.of(0, 5) == [6, 5, 6, 5, 6]
    drafts.add(0, [6])
    assert drafts.of(0, 3) == [5, 6, 5]


def test_how_many_are_drafted_follows_from_how_many_were_right():
    drafts = Drafts([], [[1]])
    assert drafts.width() == FEW
    for _ in range(20):
        drafts.told(10, 10)
    assert drafts.width() == MANY
    for _ in range(20):
        drafts.told(10, 0)
    widths = [drafts.width() for _ in range(PROBE)]
    assert widths == [0] * (PROBE - 1) + [FEW]
    drafts.told(0, 0)  # a step without drafts says nothing
    assert drafts.width() == 0
