"""What a text may go on with, guessed from the text itself, so that a model need only agree."""

from __future__ import annotations

from collections.abc import Sequence

GRAM = 3  # tokens by which a place in a text is known again
WIDTHS = ((0.9, 16), (0.7, 8), (0.4, 2))  # share of drafted tokens that must have been right, for so many at once
MANY, FEW = WIDTHS[0][1], WIDTHS[-1][1]
START = 0.55  # the share taken to be right before any was seen
PROBE = 16  # steps without drafts before it is tried again
FADE = 0.8  # of what earlier steps count for


class Drafts:
    """Tokens that followed when a text's last tokens occurred before, in the prompt or in the answer itself.

    Prompt lookup decoding (Saxena 2023): the model reads drafts in one step and keeps those that it would have chosen,
    so that answers are the same. Few-shot answers follow their examples' words, and greedy ones repeat themselves. How
    many are drafted follows from how many were right, hence from the texts alone.
    """

    def __init__(self, prefix: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
        """prefix: what all prompts follow."""
        shared: dict[tuple[int, ...], int] = {}
        _learn(shared, [], prefix)
        self._shared = shared
        self._texts: list[list[int]] = []
        self._own: list[dict[tuple[int, ...], int]] = []
        for prompt in prompts:
            text, own = list(prefix), dict[tuple[int, ...], int]()
            _learn(own, text, prompt)
            self._texts.append(text)
            self._own.append(own)
        self._right = START
        self._without = 0

    def add(self, number: int, tokens: Sequence[int]) -> None:
        """Appends tokens to a text's answer."""
        _learn(self._own[number], self._texts[number], tokens)

    def of(self, number: int, count: int) -> list[int]:
        """At most so many tokens that may come next; none where nothing is known."""
        text = self._texts[number]
        gram = tuple(text[-GRAM:])
        begin = self._own[number].get(gram, self._shared.get(gram))
        if begin is None:
            return []
        known = text[begin : begin + count]
        period = len(text) - begin
        return [known[place % period] for place in range(count)]

    def width(self) -> int:
        """Tokens to draft in the next step."""
        for share, width in WIDTHS:
            if self._right >= share:
                return width
        self._without += 1
        return FEW if self._without % PROBE == 0 else 0

    def told(self, read: int, right: int) -> None:
        """Of so many tokens read as drafts, padding included, so many were right."""
        if read:
            self._right = FADE * self._right + (1 - FADE) * right / read


def _learn(places: dict[tuple[int, ...], int], text: list[int], tokens: Sequence[int]) -> None:
    """Appends tokens to a text, and for each notes the place after the tokens before it."""
    for token in tokens:
        if len(text) >= GRAM:
            places[tuple(text[-GRAM:])] = len(text)
        text.append(token)
