"""Spans of many tokens that occur more than once, word for word, in all documents together or within one.

Lee et al., "Deduplicating Training Data Makes Language Models Better" (2022, arXiv:2107.06499), section 4.1, find them
with a suffix array of the whole corpus. Here every window of `min_tokens` tokens is hashed, by a hash that is rolled on
from one to the next, and a window that has the hash of another is repeated. A span of at least `min_tokens` tokens is
repeated exactly if all its windows are, and a token is in such a span exactly if it is in a repeated window: so the
union of repeated windows is what the suffix array gives.

Limits: of two different windows the hashes of 64 bits are the same with a probability of 2**-64, so among a billion
windows there is such a pair with a probability of .03, and one of them is then cut though nothing repeats it. The keys
take 8 bytes per token on disk while the first occurrences are sought. Tokens are words and punctuation marks as
core.documents.token_counts counts them, not byte pairs, so 50 of them are somewhat more text than 50 of Lee et al.;
what white space stands between them does not count, so a span that was only wrapped differently is found as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from core.dedup.exact import spans
from core.documents.ledger import SPANS, Verdict
from core.documents.table import buffers
from core.documents.token_counts import character_classes
from core.options import Options

REPEATED_SPAN = "repeated_span"


class SubstringDedup(Options):
    """Cuts sequences of tokens that occurred before, or drops documents that are made of them."""

    min_tokens: int = Field(
        50, ge=1, description="Tokens of the shortest repeated sequence that counts. Lee et al. 2022: 50 (byte pairs)."
    )
    unit: Literal["word", "character"] = Field(
        "word", description="What a token is: a word or punctuation mark, or a character other than white space."
    )
    action: Literal["cut", "drop"] = Field(
        "cut", description="Cut the repeated sequences, or drop documents that hold too much of them and cut nothing."
    )
    max_share: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="With action drop, the share of a document's tokens that may be repeated. RefinedWeb's ablation "
        "(arXiv:2306.01116): 0.2, and 0 to drop documents with any repeated sequence.",
    )
    keep: Literal["first", "none"] = Field(
        "first",
        description="Whether the first occurrence stays. Lee et al.'s release removes all of them, as does none.",
    )
    across_sources: bool = Field(
        True, description="Compare texts of different sources; otherwise those of each source by themselves."
    )

    @model_validator(mode="after")
    def _share_of_dropped(self) -> SubstringDedup:
        if self.action == "cut" and self.max_share != type(self).model_fields["max_share"].default:
            raise ValueError("max_share is for action drop; with action cut every repeated sequence is cut")
        return self


@dataclass(frozen=True)
class Windows:
    """The windows of documents: row i has keys[offsets[i]:offsets[i + 1]], in the order of its text."""

    offsets: NDArray[np.int64]  # [rows + 1]
    keys: NDArray[np.uint64]  # [offsets[-1]]


def window_keys(content: pa.LargeStringArray, options: SubstringDedup) -> Windows:
    """The hash of every sequence of `min_tokens` tokens; a document with fewer tokens has none.

    Windows are numbered through the rows, so in batches through all documents in input order. For `keep: first` the
    repeated ones are those that are not the first with their key. For `keep: none` the first ones of keys that occur
    again are repeated as well: those whose number is named as the first of another.
    """
    from core.dedup import token_kernels as kernels

    data, offsets = buffers(content)
    starts, stops = offsets[:-1].copy(), offsets[1:].copy()  # writable as in `bloom`, so that it is compiled once
    size, by_character = options.min_tokens, options.unit == "character"
    return Windows(*kernels.ngrams(data, starts, stops, size, size, by_character, character_classes()[1]))


def repeated_spans(
    content: pa.LargeStringArray, options: SubstringDedup, repeated: NDArray[np.bool_]
) -> tuple[pa.Table, NDArray[np.float64]]:
    """The unions of repeated windows as SPANS, and the share of its tokens that they take of each row, float64[rows].

    repeated: bool[windows], in the order of `window_keys`. A span reaches from its first token to the end of its last,
    so the white space around it stays. Evidence: its tokens, "57 tokens".
    Raises ValueError if there are more or fewer windows than `repeated` tells of.
    """
    from core.dedup import token_kernels as kernels

    unit = options.unit
    found, tokens, windows = kernels.repeated_spans(
        *buffers(content), options.min_tokens, unit == "character", character_classes()[1], repeated
    )
    if windows != len(repeated):
        raise ValueError(f"the documents have {windows} windows, and {len(repeated)} are told of")
    row, begin, end, size = found
    name = "tokens" if unit == "word" else "characters"
    share = np.bincount(row, size, len(content)) / np.maximum(tokens, 1)
    return spans(row, begin, end, REPEATED_SPAN, (f"{count} {name}" for count in size.tolist())), share


def substring_verdict(content: pa.LargeStringArray, options: SubstringDedup, repeated: NDArray[np.bool_]) -> Verdict:
    """What is done about repeated windows (as for `repeated_spans`): spans to be cut, or documents to be dropped.

    Evidence of a dropped document: the share of its tokens that is repeated.
    """
    found, share = repeated_spans(content, options, repeated)
    nothing = pa.nulls(len(content), pa.string())
    if options.action == "cut":
        return Verdict(nothing, nothing, found)
    dropped = share > options.max_share
    reason = [REPEATED_SPAN if drop else None for drop in dropped.tolist()]
    evidence = [f"{value:.2f} of the tokens" if drop else None for drop, value in zip(dropped, share, strict=True)]
    return Verdict(pa.array(reason, pa.string()), pa.array(evidence, pa.string()), SPANS.empty_table())
