"""Texts and dialogues as token ids, and which of the tokens are learned."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from core.tokens.chat import Chat, render
from core.tokens.control_tokens import sealed, unveil, veil
from core.tokens.templates import Spans, Turn
from core.tokens.token_bytes import TokenBytes, spans_by_bytes, token_bytes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Ids = NDArray[np.int32]
Mask = NDArray[np.bool_]
Encoded = tuple[Ids, list[int]]  # token ids; the spans [start, end) of those to be learned, flat


def encode_texts(
    texts: Sequence[str], held: Mask, tokenizer: PreTrainedTokenizerFast, control: tuple[str, ...]
) -> list[Ids]:
    """The token ids of plain texts, without BOS and EOS.

    held: bool[texts], which of them hold the text of one of the control tokens (`holding`): there it stays text.
    """
    made: dict[int, Ids] = {}
    for numbers, backend in _backends(held, tokenizer, control):
        encodings = backend.encode_batch_fast([texts[number] for number in numbers], add_special_tokens=False)
        flat, bounds = _flat(encodings)
        made |= zip(numbers, _cut(flat, bounds), strict=True)
    return [made[number] for number in range(len(texts))]


def encode_dialogues(
    dialogues: Sequence[Sequence[Turn]], held: Mask, names: Sequence[str], chat: Chat
) -> list[Encoded]:
    """The tokens of dialogues of at least one turn, rendered by the chat template, and those to be learned.

    held: bool[dialogues], as in `encode_texts`; names: the documents' ids. The first token is never learned: nothing
    comes before it to predict it from. Raises DataError, which names the document, where the template cannot render
    one.
    """
    rendered: list[tuple[str, Spans]] = []
    for name, turns, is_held in zip(names, dialogues, held.tolist(), strict=True):
        try:
            rendered.append(_sealed_render(turns, chat) if is_held else render(turns, chat))
        except DataError as error:
            raise DataError(f"document {name}: {error}") from error
    made: dict[int, Encoded] = {}
    for numbers, backend in _backends(held, chat.tokenizer, chat.control_tokens):
        texts, spans = zip(*(rendered[number] for number in numbers), strict=True)
        known = None if held[numbers[0]] else token_bytes(chat.tokenizer)
        encoded = None if known is None else _by_bytes(texts, spans, backend, known)
        made |= zip(numbers, encoded or _by_offsets(texts, spans, backend), strict=True)
    return [made[number] for number in range(len(dialogues))]


def _backends(
    held: Mask, tokenizer: PreTrainedTokenizerFast, control: tuple[str, ...]
) -> Iterable[tuple[list[int], Any]]:
    """The numbers of the texts that the tokenizer encodes, and of those that its sealed copy does."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # which a tokenizer's file may ask for, as padding
    backend.no_padding()
    backend.encode_special_tokens = False
    if not held.all():
        yield np.flatnonzero(~held).tolist(), backend
    if held.any():
        yield np.flatnonzero(held).tolist(), sealed(tokenizer, control).tokenizer


def _sealed_render(turns: Sequence[Turn], chat: Chat) -> tuple[str, Spans]:
    copy = sealed(chat.tokenizer, chat.control_tokens)
    return unveil(*render([(role, veil(words, copy)) for role, words in turns], chat), copy)


def _by_bytes(texts: Sequence[str], spans: Sequence[Spans], backend: Any, known: TokenBytes) -> list[Encoded] | None:
    """None where the tokens do not make up just the texts' bytes."""
    flat, bounds = _flat(backend.encode_batch_fast(texts, add_special_tokens=False))
    found = spans_by_bytes(texts, spans, flat, bounds, known)
    if found is None:
        return None
    return [(ids, _joined(of_text)) for ids, of_text in zip(_cut(flat, bounds), found, strict=True)]


def _by_offsets(texts: Sequence[str], spans: Sequence[Spans], backend: Any) -> list[Encoded]:
    encodings = backend.encode_batch(texts, add_special_tokens=False)
    flat, bounds = _flat(encodings)
    return [
        (ids, _joined(token_span(encoding, *span, len(text)) for span in of_text))
        for ids, encoding, text, of_text in zip(_cut(flat, bounds), encodings, texts, spans, strict=True)
    ]


def token_span(encoding: Any, start: int, end: int, characters: int) -> tuple[int, int]:
    """The tokens [first, last) that overlap the characters [start, end) of a text of so many characters."""
    first = encoding.char_to_token(start)
    last = encoding.char_to_token(end) if end < characters else len(encoding)
    if first is None or last is None:  # a character that no token claims, as white space that is trimmed off
        starts, ends = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2).T
        return int(np.searchsorted(ends, start, side="right")), int(np.searchsorted(starts, end, side="left"))
    while last < len(encoding) and encoding.token_to_chars(last)[0] < end:  # a token that goes on after the span
        last += 1
    return first, last


def _joined(spans: Iterable[tuple[int, int]]) -> list[int]:
    """Spans of tokens, flat: without the first token, without empty ones, those that touch as one."""
    flat: list[int] = []
    for start, end in spans:
        if max(start, 1) >= end:
            continue
        if flat and start <= flat[-1]:
            flat[-1] = end
        else:
            flat += [max(start, 1), end]
    return flat


def _flat(encodings: Sequence[Any]) -> tuple[Ids, NDArray[np.int64]]:
    """All ids, and int64[encodings + 1], where those of each begin and end."""
    flat = array("i")
    for encoding in encodings:
        flat.fromlist(encoding.ids)
    bounds = np.zeros(len(encodings) + 1, np.int64)
    np.cumsum([len(encoding) for encoding in encodings], out=bounds[1:])
    return np.frombuffer(flat, np.int32), bounds


def _cut(flat: Ids, bounds: NDArray[np.int64]) -> list[Ids]:
    return [flat[start:end] for start, end in itertools.pairwise(bounds.tolist())]
