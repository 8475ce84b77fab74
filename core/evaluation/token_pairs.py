"""Contexts and continuations as tokens, exactly lm-eval's, and many at once.

Few-shot contexts are long and begin alike, and a context is followed by each of its choices. What is known of a
beginning's tokens is used again: only the text from a little before its end is encoded anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval.models.utils import has_bos_prefix

from core.evaluation.chunks import Tokens

BEFORE = 160  # characters of a known beginning that are encoded anew with what follows it
MARGIN = 40  # of these, at either end, where tokens may come out otherwise than in the whole text
WORTH = 400  # characters from which on a beginning is worth knowing
CHECKED = 100  # one text in so many is encoded whole too, to see that the tokens are the same


def encode_texts(lm: Any, texts: Sequence[str]) -> list[Tokens]:
    """Each text as `lm.tok_encode` encodes it, with the tokenizer's threads; equal texts once."""
    once = list(dict.fromkeys(texts))
    begin = lm.tokenizer.decode(lm.prefix_token_id)
    found: dict[str, Tokens] = {}
    for has_bos in (False, True):
        some = [text for text in once if bool(has_bos_prefix(text, begin)) == has_bos]
        special = {"add_special_tokens": False} if has_bos else {}
        if lm.add_bos_token is not None and not has_bos:
            special = {"add_special_tokens": lm.add_bos_token}
        if some:
            encoded = lm.tokenizer(some, return_attention_mask=False, **special)["input_ids"]
            found |= dict(zip(some, map(tuple, encoded), strict=True))
    return [found[text] for text in texts]


def encoded_pairs(lm: Any, pairs: Sequence[tuple[str, str]], exact: bool) -> list[tuple[Tokens, Tokens]]:
    """Context and continuation tokens of each, as `TemplateLM.loglikelihood` and `_encode_pair` encode them.

    exact: encode every text whole.
    """
    moved = []
    for context, continuation in pairs:
        bare = context.rstrip()
        moved.append((bare, context[len(bare) :] + continuation) if context else ("", continuation))
    contexts = list(dict.fromkeys(context for context, _ in moved if context))
    wholes = list(dict.fromkeys(context + continuation for context, continuation in moved if context))
    encode = encode_texts if exact else encode_alike
    tokens = dict(zip([*contexts, *wholes], encode(lm, [*contexts, *wholes]), strict=True))
    found = []
    for context, continuation in moved:
        if context:
            before = tokens[context]
            found.append((before, tokens[context + continuation][len(before) :]))
        else:
            found.append(_without_context(lm, continuation))
    return found


def encode_alike(lm: Any, texts: Sequence[str]) -> list[Tokens]:
    """As `encode_texts`, faster where many texts begin alike.

    Some are encoded whole too; should one come out otherwise, all are. Tokenizers without offsets encode all whole.
    """
    if not getattr(lm.tokenizer, "is_fast", False):
        return encode_texts(lm, texts)
    order = sorted(set(texts))
    found: dict[str, Tokens] = {}
    alone: list[str] = []
    begin = 0
    while begin < len(order):
        end, shared = _family(order, begin)
        if end - begin > 1:
            found |= _family_tokens(lm, order[begin:end], shared)
        else:
            alone.append(order[begin])
        begin = end
    found |= dict(zip(alone, encode_texts(lm, alone), strict=True))
    checked = order[::CHECKED]
    if [found[text] for text in checked] != encode_texts(lm, checked):
        return encode_texts(lm, texts)
    return [found[text] for text in texts]


def _family(order: Sequence[str], begin: int) -> tuple[int, str]:
    """Sorted texts from a place on that share a long beginning, at least half of each: where they end, and it."""
    shared = order[begin]
    end = begin + 1
    while end < len(order) and order[end].startswith(shared[:WORTH]):
        longer = _common(shared, order[end])
        if len(longer) < WORTH or 2 * len(longer) < max(len(order[end]), len(order[begin])):
            break
        shared, end = longer, end + 1
    return end, shared


def _common(one: str, other: str) -> str:
    """The beginning that both have, by halving: texts are long, and most of them alike."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one.startswith(other[:middle]):
            low = middle
        else:
            high = middle - 1
    return one[:low]


def _family_tokens(lm: Any, texts: Sequence[str], shared: str) -> dict[str, Tokens]:
    """The tokens of texts that begin with `shared`."""
    known = lm.tokenizer(shared, return_offsets_mapping=True, return_attention_mask=False)
    ids = list(encode_texts(lm, [shared])[0])
    offsets = known["offset_mapping"]
    if known["input_ids"] != ids:
        return dict(zip(texts, encode_texts(lm, texts), strict=True))
    cut = len(shared) - BEFORE
    tails = lm.tokenizer(
        [text[cut:] for text in texts],
        add_special_tokens=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
    )
    starts = {begin: place for place, (begin, end) in enumerate(offsets) if end > begin and begin >= cut + MARGIN}
    found: dict[str, Tokens] = {}
    odd = []
    for text, tail, places in zip(texts, tails["input_ids"], tails["offset_mapping"], strict=True):
        joined = _joined(ids, starts, tail, places, cut, len(shared) - MARGIN)
        if joined is None:
            odd.append(text)
        else:
            found[text] = joined
    return found | dict(zip(odd, encode_texts(lm, odd), strict=True))


def _joined(
    ids: list[int], starts: dict[int, int], tail: list[int], places: list[tuple[int, int]], cut: int, until: int
) -> Tokens | None:
    """Tokens of a known beginning, and from where both agree those of the tail; None where they do not agree.

    They agree from a character on where a token begins in both, and every token from there until shortly before the
    beginning's end is the same.
    """
    for number, (begin, end) in enumerate(places):
        place = starts.get(begin + cut) if end > begin else None
        if place is None:
            continue
        stable = sum(1 for first, _ in places[number:] if first + cut < until)
        if stable and ids[place : place + stable] == tail[number : number + stable]:
            return (*ids[:place], *tail[number:])
        return None
    return None


def _without_context(lm: Any, continuation: str) -> tuple[Tokens, Tokens]:
    """What stands alone follows the token that begins a text."""
    tokens = tuple(lm.tok_encode(continuation, add_special_tokens=False))
    if tokens[0] == lm.prefix_token_id:
        return tokens[:1], tokens[1:]
    return (lm.prefix_token_id,), tokens
