"""Several questions about one context, and their answers, as the text in which one of them is asked.

As HELM asks QuAC (https://github.com/stanford-crfm/helm, src/helm/benchmark/scenarios/quac_scenario.py): one question
of each dialogue, drawn from the third on. Its code leaves out the turn before that question, though its documentation
shows all; here all of them are shown. There the draw goes by a seed and the order of the file, here by the id alone.
Birbal has some 10,000 rows of QuAC's 11,567 dialogues, so about one of each; how it asks them is not published.
"""

from __future__ import annotations

from collections.abc import Sequence

import xxhash

FIRST_ASKED = 2  # the third question: two are answered before it


def asked_question(count: int, id_: str) -> int:
    """Which of so many questions is asked, from 0, drawn by the document's id; the last where there are under three."""
    if count <= FIRST_ASKED:
        return count - 1
    return FIRST_ASKED + xxhash.xxh3_64_intdigest(id_.encode()) % (count - FIRST_ASKED)


def last_asked(context: str, questions: Sequence[str], answers: Sequence[str]) -> str:
    """The context and the questions, each but the last with its answer; blank lines between them."""
    answered = [f"Question: {asked}\nAnswer: {answer}" for asked, answer in zip(questions[:-1], answers, strict=False)]
    return "\n\n".join([*filter(str.strip, [context]), *answered, f"Question: {questions[-1]}"])
