"""Where tokens lie in a text, by the bytes that each token of a byte-level vocabulary stands for.

The tokenizer can keep account of it, too, but is slower by a quarter when it does.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.tokens.control_tokens import Spans

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PROBE = "a  B\n\n c\t\u00e9\U0001f642 1234 x'll "


def token_bytes(tokenizer: PreTrainedTokenizerFast) -> NDArray[np.int64] | None:
    """int64[vocabulary]: of how many bytes of text each token is made.

    None where that cannot be told: tokens that are not byte-level, or a tokenizer that changes the text first.
    """
    return _token_bytes(tokenizer, len(tokenizer))


@lru_cache(maxsize=4)
def _token_bytes(tokenizer: PreTrainedTokenizerFast, _: int) -> NDArray[np.int64] | None:
    from tokenizers import decoders

    backend = tokenizer.backend_tokenizer
    if backend.normalizer is not None or not isinstance(backend.decoder, decoders.ByteLevel):
        return None
    vocabulary = backend.get_vocab(with_added_tokens=False)
    added = backend.get_added_tokens_decoder()
    if any(token.lstrip or token.rstrip for token in added.values()):  # which take white space with them
        return None
    lengths = np.zeros(max(*vocabulary.values(), *added, 0) + 1, np.int64)
    lengths[list(vocabulary.values())] = [len(token) for token in vocabulary]  # a letter stands for a byte
    for id_, token in added.items():
        lengths[id_] = len(token.content.encode())
    ids = backend.encode(PROBE, add_special_tokens=False).ids
    return lengths if lengths[ids].sum() == len(PROBE.encode()) else None


def spans_by_bytes(
    texts: Sequence[str],
    spans: Sequence[Spans],
    ids: NDArray[np.int32],
    bounds: NDArray[np.int64],
    lengths: NDArray[np.int64],
) -> list[list[tuple[int, int]]] | None:
    """For each text the tokens [start, end) that overlap each of its character spans.

    ids: int32[tokens of all texts]; bounds: int64[texts + 1] into them; lengths: `token_bytes`. None where the tokens
    of a text are not made of all its bytes, so that nothing can be told.
    """
    ends = np.concatenate([[0], np.cumsum(lengths[ids])])
    sizes = [len(text) if text.isascii() else len(text.encode()) for text in texts]
    if not np.array_equal(np.cumsum(sizes), ends[bounds[1:]]):
        return None
    places = [
        begin + (place if size == len(text) else len(text[:place].encode()))
        for text, size, begin, of_text in zip(texts, sizes, ends[bounds[:-1]].tolist(), spans, strict=True)
        for span in of_text
        for place in span
    ]
    own = np.repeat(bounds[:-1], [len(of_text) for of_text in spans])  # where the tokens of a span's text begin
    starts = np.searchsorted(ends[1:], places[::2], side="right") - own
    stops = np.searchsorted(ends[:-1], places[1::2], side="left") - own
    found = iter(zip(starts.tolist(), stops.tolist(), strict=True))
    return [list(itertools.islice(found, len(of_text))) for of_text in spans]
