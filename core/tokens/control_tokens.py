"""Text that looks like a control token ("<|im_start|>", "</s>") inside a document: it is the writer's words.

A tokenizer reads such words as the token itself. Texts that hold them are therefore encoded with a copy of the
tokenizer whose control tokens have names that no text holds; all others, with the tokenizer as it is.
"""

from __future__ import annotations

import re
import secrets
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from core.tokens.templates import Spans

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SECRET = secrets.token_hex(8)  # so that no document can hold a name; the names leave no trace in the token ids


@dataclass(frozen=True)
class Sealed:
    """A copy of a tokenizer in which the control tokens have other names."""

    tokenizer: Any  # tokenizers.Tokenizer, with the same ids
    names: dict[str, str]  # control token -> its name there


def control_tokens(tokenizer: PreTrainedTokenizerFast, template: str) -> tuple[str, ...]:
    """The added tokens that stand for more than their text: special ones, and those that the chat template writes."""
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    return tuple(
        sorted(
            token.content
            for token in added
            if token.special or (token.content in template and not token.content.isspace())
        )
    )


def holding(texts: pa.Array, tokens: tuple[str, ...]) -> np.ndarray:
    """bool[texts]: which texts hold a control token's text."""
    if not tokens:
        return np.zeros(len(texts), bool)
    found = pc.match_substring_regex(texts, "|".join(map(re.escape, tokens)))
    return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False), bool)


@lru_cache(maxsize=4)
def sealed(tokenizer: PreTrainedTokenizerFast, tokens: tuple[str, ...]) -> Sealed:
    """The sealed copy of a tokenizer. Takes as long as loading it."""
    from tokenizers import Tokenizer

    content = orjson.loads(tokenizer.backend_tokenizer.to_str())
    names = {token: f"\ufdd0{SECRET}{number}\ufdd1" for number, token in enumerate(tokens)}
    for token in content["added_tokens"]:
        token["content"] = names.get(token["content"], token["content"])
    model = content["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {names.get(token, token): id_ for token, id_ in model["vocab"].items()}
    else:  # Unigram
        model["vocab"] = [[names.get(token, token), score] for token, score in model["vocab"]]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [merge for merge in model["merges"] if not _names_any(merge, names)]
    copy = Tokenizer.from_str(orjson.dumps(content).decode())
    for token, name in names.items():
        assert copy.token_to_id(name) == tokenizer.backend_tokenizer.token_to_id(token)
    return Sealed(copy, names)


def _names_any(merge: str | list[str], names: dict[str, str]) -> bool:
    """Whether a merge of two tokens makes or takes a control token."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left in names or right in names or left + right in names


def veil(words: str, copy: Sealed) -> str:
    """A message's words with every control token's text replaced by a mark that chat templates leave as it is."""
    return _any(tuple(copy.names)).sub(lambda found: _mark(copy.names[found[0]]), words)


def unveil(text: str, spans: Spans, copy: Sealed) -> tuple[str, Spans]:
    """A dialogue rendered of veiled words, for the sealed tokenizer: the template's control tokens renamed, the marks
    again what the words were. `spans`, of characters, move along."""
    renamed = copy.names | {_mark(name): token for token, name in copy.names.items()}
    pieces: list[str] = []
    ends, shifts = [0], [0]
    for found in _any(tuple(renamed)).finditer(text):
        pieces += [text[ends[-1] : found.start()], renamed[found[0]]]
        shifts.append(shifts[-1] + len(pieces[-1]) - len(found[0]))
        ends.append(found.end())
    pieces.append(text[ends[-1] :])

    def moved(bound: int) -> int:
        return bound + shifts[bisect_right(ends, bound) - 1]

    return "".join(pieces), [(moved(start), moved(end)) for start, end in spans]


def _mark(name: str) -> str:
    return f"\ufdd2{name}\ufdd3"


@lru_cache(maxsize=8)
def _any(texts: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))
