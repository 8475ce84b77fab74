"""Where tokens lie in a text, by the bytes that each token stands for.

The tokenizer can keep account of it, too, but is slower by a quarter when it does.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core.tokens.templates import Spans

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPACE = "▁"  # as SentencePiece writes it
PROBE = "a  B\n\n c\t\u00e9\U0001f642 1234 x'll "  # a tokenizer that adds or takes something does it here


@dataclass(frozen=True)
class TokenBytes:
    """Of how many bytes of text each token is made: int64[vocabulary]."""

    lengths: NDArray[np.int64]
    added: NDArray[np.bool_]  # bool[vocabulary]: tokens that the text is cut at before all else
    space_first: bool  # whether a space is put before a text that does not begin with one


def token_bytes(tokenizer: PreTrainedTokenizerFast) -> TokenBytes | None:
    """The bytes of a tokenizer's tokens: of byte-level ones (GPT-2's, Llama 3's) and of SentencePiece's BPE with byte
    fallback (Llama 2's, Mistral's). None where they cannot be told, as of a tokenizer that changes the text first.
    """
    return _token_bytes(tokenizer, len(tokenizer))


@lru_cache(maxsize=4)
def _token_bytes(tokenizer: PreTrainedTokenizerFast, _: int) -> TokenBytes | None:
    from tokenizers import decoders, pre_tokenizers

    backend = tokenizer.backend_tokenizer
    added = backend.get_added_tokens_decoder()
    if backend.normalizer is not None or any(token.lstrip or token.rstrip for token in added.values()):
        return None
    vocabulary = backend.get_vocab(with_added_tokens=False)
    cutter = backend.pre_tokenizer
    if isinstance(backend.decoder, decoders.ByteLevel):
        sizes = [len(token) for token in vocabulary]  # each letter stands for a byte
        space_first = False
    elif isinstance(cutter, pre_tokenizers.Metaspace) and cutter.replacement == SPACE and _has_byte_fallback(backend):
        spelled = {f"<0x{byte:02X}>" for byte in range(256)}
        sizes = [1 if token in spelled else len(token.replace(SPACE, " ").encode()) for token in vocabulary]
        space_first = cutter.prepend_scheme == "first"
    else:
        return None
    lengths = np.zeros(max(*vocabulary.values(), *added, 0) + 1, np.int64)
    lengths[list(vocabulary.values())] = sizes
    lengths[list(added)] = [len(token.content.encode()) for token in added.values()]
    is_added = np.zeros(len(lengths), bool)
    is_added[list(added)] = True
    if tokenizer.unk_token_id is not None:
        lengths[tokenizer.unk_token_id] = 0  # what it stands for cannot be told
    ids = backend.encode(PROBE, add_special_tokens=False).ids
    if lengths[ids].sum() != len(PROBE.encode()) + space_first:
        return None
    return TokenBytes(lengths, is_added, space_first)


def _has_byte_fallback(backend: Any) -> bool:
    return bool(getattr(backend.model, "byte_fallback", False))


def spans_by_bytes(
    texts: Sequence[str], spans: Sequence[Spans], ids: NDArray[np.int32], bounds: NDArray[np.int64], known: TokenBytes
) -> list[list[tuple[int, int]]] | None:
    """For each text the tokens [start, end) that overlap each of its character spans.

    ids: int32[tokens of all texts]; bounds: int64[texts + 1] into them. None where the tokens of a text do not make up
    all its bytes, so that nothing can be told.
    """
    lengths = known.lengths[ids]
    if known.space_first:
        begins_bare = np.array([not text.startswith((" ", SPACE)) for text in texts], bool)
        firsts = bounds[:-1][begins_bare & (np.diff(bounds) > 0)]
        lengths[firsts[~known.added[ids[firsts]]]] -= 1
    ends = np.concatenate([[0], np.cumsum(lengths)])
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
