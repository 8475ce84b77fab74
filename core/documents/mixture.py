"""How much of each source is kept, chosen by seed and id alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray
from pydantic import Field, model_validator

from core.documents import repeats
from core.documents.ranking import Cut, before, chunks, smallest
from core.options import Options

Part = tuple[NDArray[np.uint64], NDArray[np.int64]]  # documents' keys and tokens; may be memory-mapped

ROUNDING = 1e-6  # by which shares may miss 1


class Amount(Options):
    """How much of a source is kept: exactly one of documents, fraction, tokens and share.

    Tokens are counted without a tokenizer (`core.documents.token_counts`).
    """

    documents: int | None = Field(None, ge=0, description="So many documents.")
    fraction: float | None = Field(None, ge=0, description="So large a part of the source's documents; .3 is 30 %.")
    tokens: int | None = Field(
        None, ge=0, description="Documents until they have so many tokens; the last one may go over."
    )
    share: float | None = Field(
        None, gt=0, le=1, description="Documents until they are so large a part of the whole mixture's tokens."
    )
    replacement: bool = Field(
        False,
        description="Draw with replacement: a document may come several times, and the source never runs short.",
    )

    @model_validator(mode="after")
    def _exactly_one_measure(self) -> Amount:
        measures = ("documents", "fraction", "tokens", "share")
        given = [name for name in measures if getattr(self, name) is not None]
        if len(given) != 1:
            mend = f" (what another recipe says of it is taken away by {given[0]}: null)" if given else ""
            raise ValueError(
                f"an amount is exactly one of {', '.join(measures)}; found {' and '.join(given) or 'none'}{mend}"
            )
        if self.fraction is not None and self.fraction > 1 and not self.replacement:
            raise ValueError(f"fraction is {self.fraction}: more than the source holds needs replacement: true")
        return self


Wanted = Annotated[int, Field(ge=0)] | Literal["all"] | Amount  # of a source: an integer is a number of documents
Mixture = dict[str, Wanted]


@dataclass(frozen=True)
class Drawn:
    """What was drawn of a source."""

    documents: int  # each as often as it was drawn
    tokens: int
    note: str | None  # what the source is short of
    cut: Cut
    parts: Sequence[Part]
    replacement: bool

    def counts(self) -> Iterator[NDArray[np.int64]]:
        """How often each document of a part was drawn, int64[n], part by part."""
        if self.replacement:
            yield from repeats.counts([keys for keys, _ in self.parts], self.cut)
        else:
            yield from (chosen.astype(np.int64) for chosen in before(self.cut, (np.asarray(k) for k, _ in self.parts)))


def draw(parts: Sequence[Part], wanted: int | Literal["all"] | Amount) -> Drawn:
    """Documents of a source in the order of their keys, until there is as much as wanted.

    parts: all documents of the source in input order, any division of them; what is drawn does not depend on it.
    A smaller amount draws a subset of what a larger one does. With replacement every draw takes each document with
    the same probability. Memory does not grow with the source. Raises ValueError for a share: see `token_budgets`.
    """
    held = sum(len(keys) for keys, _ in parts)
    if wanted == "all":
        wanted = held
    amount = Amount(documents=wanted) if isinstance(wanted, int) else wanted
    if amount.share is not None:
        raise ValueError("a share is no amount before the other sources are known")
    if amount.tokens is not None:
        budget, unit = amount.tokens, "tokens"
    elif amount.documents is not None:
        budget, unit = amount.documents, "documents"
    else:
        budget, unit = int(_exact(amount.fraction) * held), "documents"
    cut = (repeats.smallest_draws if amount.replacement else _smallest)(parts, budget, unit == "tokens")
    found = cut.weight if unit == "tokens" else cut.items
    note = f"has {found:,} {unit} of the {budget:,} asked for" if found < budget else None
    return Drawn(cut.items, cut.weight, note, cut, parts, amount.replacement)


def draw_mixture(
    mixture: Mapping[str, int | Literal["all"] | Amount],
    parts: Mapping[str, Sequence[Part]],
    mixture_tokens: int | None = None,
) -> dict[str, Drawn]:
    """What the mixture takes of each source that it names: the amounts first, then the shares."""
    drawn = {name: draw(parts[name], wanted) for name, wanted in mixture.items() if _share(wanted) is None}
    held = {
        name: sum(int(np.sum(tokens)) for _, tokens in parts[name])
        for name, wanted in mixture.items()
        if _share(wanted) is not None
    }
    taken = sum(each.tokens for each in drawn.values())
    for name, amount in token_budgets(mixture, held, taken, mixture_tokens).items():
        drawn[name] = draw(parts[name], amount)
    return {name: drawn[name] for name in mixture}


def check_shares(mixture: Mapping[str, int | Literal["all"] | Amount], mixture_tokens: int | None) -> None:
    """Raises ValueError where the shares of a mixture cannot be met, whatever the sources hold."""
    shares = {name: share for name, wanted in mixture.items() if (share := _share(wanted)) is not None}
    others = [name for name, wanted in mixture.items() if name not in shares and wanted != 0]
    if not shares:
        if mixture_tokens is not None:
            raise ValueError("mixture_tokens goes with shares, but no source has one")
        return
    total = float(sum(shares.values()))
    if total > 1 + ROUNDING:
        raise ValueError(f"the shares add up to {total:g}, more than 1")
    if others and total > 1 - ROUNDING:
        raise ValueError(f"the shares add up to 1, which leaves nothing for {', '.join(others)}")
    if not others and total < 1 - ROUNDING:
        raise ValueError(f"the shares add up to {total:g}, and no other source makes up what is missing to 1")
    if mixture_tokens is None and not others and all(_replaced(mixture[name]) for name in shares):
        raise ValueError("all shares are drawn with replacement, so nothing limits the mixture: give mixture_tokens")


def token_budgets(
    mixture: Mapping[str, int | Literal["all"] | Amount],
    held: Mapping[str, int],
    taken: int,
    mixture_tokens: int | None = None,
) -> dict[str, Amount]:
    """The shares of a mixture as numbers of tokens.

    held: the tokens of each source that has a share; taken: the tokens drawn of the sources that have none.
    The mixture has mixture_tokens; without it so many that the sources without a share are what the shares leave, or
    where there are none, the most that no source (but those drawn with replacement) runs short of.
    Raises ValueError as `check_shares`.
    """
    check_shares(mixture, mixture_tokens)
    shares = {name: share for name, wanted in mixture.items() if (share := _share(wanted)) is not None}
    if not shares:
        return {}
    total = Fraction(mixture_tokens or 0)
    left = 1 - sum(shares.values(), Fraction())
    if mixture_tokens is None and left > ROUNDING:
        total = taken / left
    elif mixture_tokens is None:
        total = min(held[name] / share for name, share in shares.items() if not _replaced(mixture[name]))
    return {
        name: Amount(tokens=int(share * total), replacement=_replaced(mixture[name])) for name, share in shares.items()
    }


def _smallest(parts: Sequence[Part], budget: int, by_tokens: bool) -> Cut:
    return smallest(chunks(parts), budget, by_tokens)


def _share(wanted: int | Literal["all"] | Amount) -> Fraction | None:
    return _exact(wanted.share) if isinstance(wanted, Amount) and wanted.share is not None else None


def _replaced(wanted: int | Literal["all"] | Amount) -> bool:
    return isinstance(wanted, Amount) and wanted.replacement


def _exact(number: float | None) -> Fraction:
    """The decimal number that was written: .29 of 100 documents are 29."""
    return Fraction(repr(float(number or 0)))


def sample(ids: pa.Array | Iterable[str], count: int, seed: int) -> NDArray[np.bool_]:
    """bool[documents]: the `count` documents with the smallest key, or all where there are fewer.

    A smaller count chooses a subset of what a larger one chooses, and a document's key depends on nothing but its
    id and the seed: neither on the order nor on the other documents. Of equal ids the earlier goes first.
    """
    return select(keys(ids, seed), count)


def keys(ids: pa.Array | Iterable[str], seed: int) -> NDArray[np.uint64]:
    """uint64[documents]: xxh3-64 of each id. Keys of shards can be gathered where their ids would be too many."""
    names = ids.to_pylist() if isinstance(ids, pa.Array | pa.ChunkedArray) else ids
    salt = seed & (1 << 64) - 1
    return np.fromiter((xxhash.xxh3_64_intdigest(name.encode(), salt) for name in names), np.uint64)


def select(document_keys: NDArray[np.uint64], count: int) -> NDArray[np.bool_]:
    """bool[documents]: the `count` smallest keys; of equal ones the earlier."""
    chosen = np.zeros(len(document_keys), bool)
    chosen[np.argsort(document_keys, kind="stable")[: max(0, count)]] = True
    return chosen
