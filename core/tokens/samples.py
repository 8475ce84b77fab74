"""Documents as token sequences with what is to be learned in them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.errors import DataError
from core.tokens.chat import adds_bos, chat, exported_template
from core.tokens.control_tokens import control_tokens, holding
from core.tokens.encoding import Encoded, Ids, encode_dialogues, encode_texts
from core.tokens.options import PhaseData
from core.tokens.templates import Turn

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
    tokens: int = 0  # in the samples
    target_tokens: int = 0  # of them, to be learned
    truncated_samples: int = 0  # samples that miss the end of their document ...
    truncated_tokens: int = 0  # ... and how many tokens those miss
    refused: dict[str, int] = field(default_factory=dict)  # documents by reason

    def add(self, other: Account) -> None:
        """Adds another account's counts to this one."""
        self.documents += other.documents
        self.samples += other.samples
        self.tokens += other.tokens
        self.target_tokens += other.target_tokens
        self.truncated_samples += other.truncated_samples
        self.truncated_tokens += other.truncated_tokens
        for reason, count in other.refused.items():
            self.refuse(reason, count)

    def refuse(self, reason: str, count: int = 1) -> None:
        """Counts documents with nothing to learn."""
        self.refused[reason] = self.refused.get(reason, 0) + count

    def truncate(self, tokens: int) -> None:
        """Counts a sample that misses so many tokens, if any."""
        self.truncated_samples += tokens > 0
        self.truncated_tokens += tokens


def make_samples(
    documents: pa.Table, tokenizer: PreTrainedTokenizerFast, options: PhaseData
) -> tuple[pa.Table, Account]:
    """Tokenizes documents to samples of at most `sequence_length` tokens.

    Text: BOS where the tokenizer adds one, the text, EOS; longer ones go on in a further sample. All is learned.
    Dialogues: rendered by the chat template; what PhaseData says is learned. Longer ones are truncated at the end
    (counted in tokens). A sample without a token to learn is refused, and counted.
    Preference pairs: two consecutive samples, the prompt with the chosen and with the rejected completion, of which
    only the completion and its end are learned. Both are refused where either has nothing left to learn, or where
    truncation has left them equal. What looks like a control token in a document is text.
    Returns a table of SAMPLES in the documents' order and the account. Raises DataError where the template cannot
    render a document, or where pairs come together with other documents.
    """
    documents = documents.combine_chunks()
    account = Account(documents=documents.num_rows)
    if tokenizer.eos_token_id is None:
        raise DataError("the tokenizer has no EOS token, which every sample ends with; use a tokenizer that has one")
    if _are_pairs(documents):
        rows = _pair_rows(documents, tokenizer, options, account)
    else:
        rows = _text_rows(documents, tokenizer, options, account) | _dialogue_rows(
            documents, tokenizer, options, account
        )
    samples = _table([row for _, made in sorted(rows.items()) for row in made])
    account.samples = samples.num_rows
    account.tokens = len(pc.list_flatten(samples["input_ids"]))
    account.target_tokens = pc.sum(samples["target_tokens"]).as_py() or 0
    return samples, account


class Row(NamedTuple):
    """A sample."""

    document: str
    input_ids: Ids
    spans: list[int]  # [start, end) of the tokens to be predicted, flat


Rows = dict[int, list[Row]]  # by the number of the document


def _are_pairs(documents: pa.Table) -> bool:
    """Whether the documents are preference pairs. Raises DataError where only some are."""
    is_pair = documents["prompt"].is_valid()
    count = pc.sum(is_pair).as_py() or 0
    if 0 < count < documents.num_rows:
        pairs, others = (
            ", ".join(sorted(pc.unique(documents.filter(chosen)["source"]).to_pylist()))
            for chosen in (is_pair, pc.invert(is_pair))
        )
        raise DataError(
            f"preference pairs (of {pairs}) and other documents (of {others}) cannot be learned together; "
            "give each a phase of its own"
        )
    return bool(count)


def _text_rows(documents: pa.Table, tokenizer: PreTrainedTokenizerFast, options: PhaseData, account: Account) -> Rows:
    """The samples of all documents that are no dialogue."""
    numbers = _numbers(documents["messages"].is_null())
    texts = pc.fill_null(documents["text"].take(numbers).combine_chunks(), "")
    names = documents["id"].take(numbers).to_pylist()
    tokens = control_tokens(tokenizer, str(exported_template(options, tokenizer)))
    bos = np.array([tokenizer.bos_token_id] if adds_bos(tokenizer) else [], np.int32)
    eos = np.array([tokenizer.eos_token_id], np.int32)
    bodies = encode_texts(texts.to_pylist(), holding(texts, tokens), tokenizer, tokens)
    rows: Rows = {}
    for number, name, body in zip(numbers.tolist(), names, bodies, strict=True):
        if not len(body):
            account.refuse("empty")
            continue
        ids = np.concatenate([bos, body, eos])
        pieces = [ids[start : start + options.sequence_length] for start in range(0, len(ids), options.sequence_length)]
        if len(pieces[-1]) == 1:  # one token, and nothing before it to predict it from
            pieces.pop()
            account.truncate(1)
        rows[number] = [Row(name, piece, [1, len(piece)]) for piece in pieces]
    return rows


def _dialogue_rows(
    documents: pa.Table, tokenizer: PreTrainedTokenizerFast, options: PhaseData, account: Account
) -> Rows:
    """The samples of all dialogues, at most one of each."""
    numbers = _numbers(pc.greater(pc.fill_null(pc.list_value_length(documents["messages"]), 0), 0))
    for _ in range(len(documents) - documents["messages"].null_count - len(numbers)):
        account.refuse("empty")
    if not len(numbers):
        return {}
    bound = chat(options, tokenizer)
    messages = documents["messages"].take(numbers).combine_chunks()
    names = documents["id"].take(numbers).to_pylist()
    bounds = np.concatenate([[0], np.cumsum(messages.value_lengths().to_numpy(zero_copy_only=False))])
    roles = pc.struct_field(messages.flatten(), "role").to_pylist()
    contents = pc.fill_null(pc.struct_field(messages.flatten(), "content"), "")
    said = list(zip(roles, contents.to_pylist(), strict=True))
    dialogues = [said[start:end] for start, end in itertools.pairwise(bounds.tolist())]
    held = np.logical_or.reduceat(holding(contents, bound.control_tokens), bounds[:-1])
    rows: Rows = {}
    for number, name, encoded in zip(
        numbers.tolist(), names, encode_dialogues(dialogues, held, names, bound), strict=True
    ):
        row = _truncated(name, encoded, options.sequence_length)
        if row.spans:
            rows[number] = [row]
            account.truncate(len(encoded[0]) - len(row.input_ids))
        else:
            account.refuse("nothing_to_learn")
    return rows


def _pair_rows(documents: pa.Table, tokenizer: PreTrainedTokenizerFast, options: PhaseData, account: Account) -> Rows:
    """Two samples of each preference pair, chosen and rejected."""
    bound = replace(chat(options, tokenizer), learn_roles=("assistant",), last_turn_only=True)
    parts = [pc.fill_null(documents[name].combine_chunks(), "") for name in ("prompt", "chosen", "rejected")]
    held = [holding(part, bound.control_tokens) for part in parts]
    prompts, chosen, rejected = (part.to_pylist() for part in parts)
    dialogues: list[list[Turn]] = [
        [("user", prompt), ("assistant", completion)]
        for prompt, *pair in zip(prompts, chosen, rejected, strict=True)
        for completion in pair
    ]
    names = [name for name in documents["id"].to_pylist() for _ in range(2)]
    is_held = np.column_stack([held[0] | held[1], held[0] | held[2]]).ravel()
    encoded = encode_dialogues(dialogues, is_held, names, bound)
    rows: Rows = {}
    for number in range(len(documents)):
        whole = encoded[2 * number : 2 * number + 2]
        pair = [_truncated(names[2 * number], each, options.sequence_length) for each in whole]
        if not all(row.spans for row in pair):
            account.refuse("completion_truncated")
        elif np.array_equal(pair[0].input_ids, pair[1].input_ids):
            account.refuse("completions_equal")
        else:
            rows[number] = pair
            for each, row in zip(whole, pair, strict=True):
                account.truncate(len(each[0]) - len(row.input_ids))
    return rows


def _numbers(chosen: pa.ChunkedArray) -> np.ndarray:
    """int64: the numbers of the rows for which a column of truth values is true."""
    return np.flatnonzero(chosen.to_numpy())


def _truncated(name: str, encoded: Encoded, length: int) -> Row:
    """The first `length` tokens, with what is to be learned of them."""
    ids, spans = encoded
    if len(ids) <= length:
        return Row(name, ids, spans)
    within = [min(bound, length) for bound in spans]
    while within and within[-2] == within[-1]:
        del within[-2:]
    return Row(name, ids[:length], within)


def _table(rows: list[Row]) -> pa.Table:
    tokens = np.concatenate([np.empty(0, np.int32), *(row.input_ids for row in rows)])
    spans = np.array([bound for row in rows for bound in row.spans], dtype=np.int32)
    span_ends = _ends([len(row.spans) for row in rows])
    learned = _ends(spans[1::2] - spans[::2])  # tokens to be learned, up to and with each span
    columns = [
        pa.array([row.document for row in rows], pa.string()),
        _lists(tokens, _ends([len(row.input_ids) for row in rows])),
        _lists(spans, span_ends),
        pa.array(np.diff(learned[span_ends // 2]), pa.int32()),
    ]
    return pa.Table.from_arrays(columns, schema=SAMPLES)


def _ends(lengths: list[int] | np.ndarray) -> np.ndarray:
    """int64[lengths + 1]: 0, and the sum of the lengths up to and with each."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _lists(values: np.ndarray, bounds: np.ndarray) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), pa.array(values, pa.int32()))
