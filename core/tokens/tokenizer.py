"""Tokenizers: byte-level BPE trained on the curated documents, or an existing one."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from core.documents.table import content
from core.errors import DataError, ResourceError
from core.tokens.jinja_templates import jinja_template
from core.tokens.templates import TURN_END, TURN_START

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
PADDING = "<|padding|>"
BEGIN_OF_TEXT = "<|begin_of_text|>"


def train_tokenizer(
    documents: Callable[[], Iterable[pa.Table]], vocabulary: int, characters: int
) -> PreTrainedTokenizerFast:
    """Trains a byte-level BPE tokenizer (GPT-2's pre-tokenization; any byte sequence encodes, nothing is unknown).

    documents: gives tables of DOCUMENTS, twice: to count, and to take every n-th so that about `characters` are used.
    vocabulary: entries, with the special tokens <|endoftext|> (EOS), <|padding|>, ChatML's two and <|begin_of_text|>
    (BOS), which is for the chat templates that write one: it is not put before texts.
    Raises DataError where there is no text.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT, PADDING, TURN_START, TURN_END, BEGIN_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    total = sum(pc.sum(pc.utf8_length(content(table))).as_py() or 0 for table in documents())
    if not total:
        raise DataError("the tokenizer has no text to be trained on: every document of its sources was dropped")
    tokenizer.train_from_iterator(_evenly(documents(), max(1, round(total / characters))), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        chat_template=jinja_template("chatml", bos=False, eos=True),
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(name: str | Path, revision: str | None = None) -> PreTrainedTokenizerFast:
    """Loads a fast tokenizer from a directory or the hub. Raises ResourceError where it cannot be had."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(name), revision=revision or "main", trust_remote_code=False)
    except Exception as error:  # of many kinds: a broken tokenizer.json alone raises three
        raise ResourceError(
            f"tokenizer {name}: cannot be loaded ({str(error).splitlines()[0]}). "
            "Give a directory that holds one, or let this machine reach the hub (HF_HUB_OFFLINE unset)."
        ) from error
    if not tokenizer.is_fast or tokenizer.eos_token_id is None:
        raise ResourceError(f"tokenizer {name}: needs a fast tokenizer (tokenizer.json) with an EOS token")
    return tokenizer


def _evenly(documents: Iterable[pa.Table], step: int) -> Iterator[str]:
    """Every `step`-th document's text."""
    texts = (text for table in documents for text in content(table).to_pylist())
    return itertools.islice(texts, 0, None, step)
