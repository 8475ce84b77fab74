"""Documents as token sequences with what is to be learned in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from core.tokens.chat import Messages, render
from core.tokens.options import PhaseData

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SAMPLES = pa.schema(
    [
        ("document", pa.string()),  # the document's id
        ("input_ids", pa.list_(pa.int32())),
        (
            "loss_mask",
            pa.list_(pa.int32()),
        ),  # spans [start, end) of tokens to be predicted, flat: s0, e0, s1, e1, ...
        ("target_tokens", pa.int32()),  # how many those are
    ]
)


@dataclass
class Account:
    """What became of a phase's documents: each is in a sample, or refused for a reason."""

    documents: int = 0
    samples: int = 0
    truncated_tokens: int = 0
    refused: dict[str, int] = field(default_factory=dict)

    def add(self, other: Account) -> None:
        """Adds another account's counts to this one."""
        self.documents += other.documents
        self.samples += other.samples
        self.truncated_tokens += other.truncated_tokens
        for reason, count in other.refused.items():
            self.refuse(reason, count)

    def refuse(self, reason: str, count: int = 1) -> None:
        """Counts documents with nothing to learn."""
        self.refused[reason] = self.refused.get(reason, 0) + count


def make_samples(
    documents: pa.Table, tokenizer: PreTrainedTokenizerFast, options: PhaseData
) -> tuple[pa.Table, Account]:
    """Tokenizes documents to samples of at most `sequence_length` tokens.

    Text: BOS where the tokenizer adds one, the text, EOS; longer ones go on in a further sample. All is learned.
    Dialogues: rendered by the chat template, ended by EOS; the assistant's turns and EOS are learned. Longer ones
    are truncated at the end (counted in tokens). A sample without a token to learn is refused, and counted.
    Returns a table of SAMPLES in the documents' order and the account.
    """
    account = Account(documents=documents.num_rows)
    rows: list[tuple[str, np.ndarray, np.ndarray]] = []
    is_dialogue = documents["messages"].is_valid().to_pylist()
    texts: list[str] = []
    spans: list[list[tuple[int, int]] | None] = []
    for row, dialogue in enumerate(is_dialogue):
        if dialogue:
            messages: Messages = documents["messages"][row].as_py()
            text, learned = render(messages, options.chat_template, tokenizer)
            texts.append(text)
            spans.append(learned)
        else:
            texts.append(documents["text"][row].as_py() or "")  # a preference pair has neither: refused below
            spans.append(None)
    bos = _beginning(tokenizer)
    eos = tokenizer.eos_token_id
    encodings = tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
    for name, encoding, learned_spans in zip(documents["id"].to_pylist(), encodings, spans, strict=True):
        body = list(encoding.ids)
        prefix = bos if body[:1] != bos else []
        suffix = [eos] if body[-1:] != [eos] else []
        ids = np.array(prefix + body + suffix, dtype=np.int32)
        if learned_spans is None:
            pieces = list(_pieces(ids, options.sequence_length)) if body else []
        else:
            mask = _token_mask(encoding.offsets, learned_spans)
            wanted = np.concatenate([np.zeros(len(prefix), bool), mask, np.ones(len(suffix), bool)])
            wanted[:1] = False
            pieces = [(ids[: options.sequence_length], wanted[: options.sequence_length])] if mask.any() else []
        kept = [(name, tokens, _spans_of(wanted)) for tokens, wanted in pieces if wanted.any()]
        rows += kept
        if not kept:
            account.refuse("nothing_to_learn" if body else "empty")
        else:  # a dialogue's tail, or a text's last piece of one token, with nothing before it to be predicted from
            account.truncated_tokens += len(ids) - sum(len(tokens) for _, tokens, _ in kept)
    account.samples = len(rows)
    return _table(rows), account


def _beginning(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """[BOS] where the tokenizer puts one before every text, else []."""
    bos = tokenizer.bos_token_id
    return [bos] if bos is not None and tokenizer("a")["input_ids"][0] == bos else []


def _pieces(ids: np.ndarray, length: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Consecutive pieces; in each, all but the first token is predicted."""
    for start in range(0, len(ids), length):
        piece = ids[start : start + length]
        wanted = np.ones(len(piece), bool)
        wanted[0] = False
        yield piece, wanted


def _token_mask(offsets: list[tuple[int, int]], spans: list[tuple[int, int]]) -> np.ndarray:
    """Which tokens lie in the character spans: those that overlap one."""
    if not offsets or not spans:
        return np.zeros(len(offsets), bool)
    starts, ends = np.array(offsets, dtype=np.int64).T
    mask = np.zeros(len(offsets), bool)
    for start, end in spans:
        mask |= (starts < end) & (ends > start)
    return mask


def _spans_of(mask: np.ndarray) -> np.ndarray:
    """A boolean mask as flat [start, end) pairs."""
    return np.flatnonzero(np.diff(mask, prepend=False, append=False)).astype(np.int32)


def _table(rows: list[tuple[str, np.ndarray, np.ndarray]]) -> pa.Table:
    targets = [int((spans[1::2] - spans[::2]).sum()) for _, _, spans in rows]
    columns = [
        [name for name, _, _ in rows],
        [ids for _, ids, _ in rows],
        [spans for _, _, spans in rows],
        targets,
    ]
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SAMPLES, strict=True)], SAMPLES)
