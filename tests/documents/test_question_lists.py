from __future__ import annotations

from collections import Counter

from core.documents.question_lists import asked_question, last_asked


def test_the_question_is_drawn_evenly_from_the_third_on_by_the_id() -> None:
    drawn = Counter(asked_question(6, f"C_{number}") for number in range(4000))
    assert set(drawn) == {2, 3, 4, 5}
    assert all(900 < count < 1100 for count in drawn.values())
    assert asked_question(6, "C_7") == asked_question(6, "C_7")
    assert [asked_question(count, "x") for count in (1, 2, 3)] == [0, 1, 2]


def test_every_earlier_turn_is_shown_and_the_last_question_has_no_answer() -> None:
    assert last_asked("Passage: P", ["q1", "q2", "q3"], ["a1", "a2", "a3", "a4"]) == (
        "Passage: P\n\nQuestion: q1\nAnswer: a1\n\nQuestion: q2\nAnswer: a2\n\nQuestion: q3"
    )
    assert last_asked(" \n", ["q1"], ["a1"]) == "Question: q1"
