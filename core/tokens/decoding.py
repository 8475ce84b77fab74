"""Tokens as text again, in the smallest pieces that are whole characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.tokens.control_tokens import control_tokens
from core.tokens.templates import TURN_END, TURN_START

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LONGEST = 16  # tokens of a piece: what is no character until then will not become one
UNKNOWN = "\ufffd"  # what bytes that are no character are decoded to


@dataclass(frozen=True)
class Piece:
    """The fewest tokens in a row that are whole characters. trained: they are to be predicted."""

    text: str
    ids: tuple[int, ...]
    trained: bool
    special: bool


def decoded(ids: Sequence[int], trained: NDArray[np.bool_], tokenizer: PreTrainedTokenizerFast) -> Iterator[Piece]:
    """Tokens as pieces of text, which joined are the whole text, and each of which is all trained or all masked.

    A token alone may be a part of a character (byte-level and byte-fallback vocabularies): it is shown together with
    those that complete it. Tokens that never become a character are shown as U+FFFD.
    """
    backend = tokenizer.backend_tokenizer
    special = special_ids(tokenizer)
    context = begin = 0
    for end in range(1, len(ids) + 1):
        before = backend.decode(list(ids[context:begin]), skip_special_tokens=False)
        whole = backend.decode(list(ids[context:end]), skip_special_tokens=False)
        if whole.startswith(before):
            text = whole[len(before) :]
        else:  # what was before ended within a character
            text = backend.decode(list(ids[begin:end]), skip_special_tokens=False)
        goes_on = (
            end < len(ids)
            and text.endswith(UNKNOWN)
            and end - begin < LONGEST
            and trained[end] == trained[begin]
            and ids[end] not in special
        )
        if not goes_on:
            yield Piece(text, tuple(ids[begin:end]), bool(trained[begin]), ids[begin] in special)
            context, begin = begin, end


def special_ids(tokenizer: PreTrainedTokenizerFast) -> set[int]:
    """Ids of tokens that stand for more than their text: beginnings, ends, padding, a template's marks."""
    names = control_tokens(tokenizer, f"{tokenizer.chat_template}{TURN_START}{TURN_END}")
    return {*tokenizer.convert_tokens_to_ids(list(names)), *tokenizer.all_special_ids}
