"""What a phase's documents become as tokens, before anything is run: samples piece by piece, pairs, and counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.instructions.preference_pairs import edit_distances
from core.tokens.decoding import Piece, decoded
from core.tokens.options import PhaseData
from core.tokens.packing import pack
from core.tokens.samples import Account, make_samples

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SAMPLES_OF_DOCUMENT = 3  # that are shown; a book becomes hundreds
DISTANCE_WORK = 2_000_000_000  # cells of edit distances' tables, some seconds


@dataclass(frozen=True)
class Sample:
    """One sample. part: "chosen" or "rejected" of a pair. number, of: its place among its document's samples.
    truncated_tokens: what its document has beyond its samples."""

    document: str
    source: str
    part: str | None
    number: int
    of: int
    length: int
    trained_tokens: int
    truncated_tokens: int
    pieces: Sequence[Piece]

    @property
    def masked_tokens(self) -> int:
        """Tokens that are seen, but not to be predicted."""
        return self.length - self.trained_tokens


@dataclass(frozen=True)
class Refused:
    """A document that becomes no sample."""

    document: str
    source: str
    reason: str


@dataclass(frozen=True)
class Pair:
    """A preference pair. edit_distance: Levenshtein's, in characters; share: of the longer completion."""

    document: str
    source: str
    prompt: str
    chosen: str
    rejected: str
    edit_distance: int
    share: float


@dataclass(frozen=True)
class Distances:
    """Edit distances of the first `pairs` of `of` pairs: medians, and the least and the largest share."""

    pairs: int
    of: int
    median: float
    median_share: float
    least_share: float
    largest_share: float


@dataclass(frozen=True)
class Counts:
    """What all documents that were looked at become. tokens: of all samples; trained_tokens: those to be predicted;
    rows: packed ones, with room for row_length tokens each, where a pair's two samples stay together: then it is
    twice the phase's sequence length."""

    documents: int
    samples: int
    tokens: int
    trained_tokens: int
    truncated_tokens: int
    refused: dict[str, int]
    rows: int
    row_length: int

    @property
    def masked_tokens(self) -> int:
        """Tokens that are seen, but not to be predicted."""
        return self.tokens - self.trained_tokens

    @property
    def padding_tokens(self) -> int:
        """Room in the rows that holds no token."""
        return self.rows * self.row_length - self.tokens

    @property
    def fill(self) -> float | None:
        """The share of the rows' room that holds tokens."""
        return self.tokens / (self.rows * self.row_length) if self.rows else None


@dataclass(frozen=True)
class PhasePreview:
    """A phase: counts of all documents looked at, and a few of them. distances: where there are pairs."""

    options: PhaseData
    counts: Counts
    samples: Sequence[Sample]
    refused: Sequence[Refused]
    pairs: Sequence[Pair]
    distances: Distances | None


def preview_phase(
    documents: pa.Table, tokenizer: PreTrainedTokenizerFast, options: PhaseData, shown: int
) -> PhasePreview:
    """Looks at DOCUMENTS of the phase's sources.

    shown: of each source, so many documents that become samples, so many pairs, and so many that are refused, the
    first of each. Raises DataError where the chat template does not fit.
    """
    samples, account = make_samples(documents, tokenizer, options)
    made = pc.is_in(documents["id"], value_set=samples["document"].combine_chunks())
    kept, refused = (
        _singles(_first_of_each(documents.filter(mask), options.sources, shown)) for mask in (made, pc.invert(made))
    )
    pairs = documents.filter(pc.is_valid(documents["prompt"]))
    return PhasePreview(
        options=options,
        counts=_counts(samples, account, 2 if pairs.num_rows else 1, options),
        samples=[sample for document in kept for sample in _samples(document, tokenizer, options)],
        refused=[_refused(document, tokenizer, options) for document in refused],
        pairs=_pairs(_first_of_each(pairs, options.sources, shown)),
        distances=_distances(pairs) if pairs.num_rows else None,
    )


def _samples(document: pa.Table, tokenizer: PreTrainedTokenizerFast, options: PhaseData) -> Iterator[Sample]:
    """The first samples of one document."""
    samples, account = make_samples(document, tokenizer, options)
    of_pair = document["prompt"][0].is_valid
    for number, row in enumerate(samples.slice(0, SAMPLES_OF_DOCUMENT).to_pylist()):
        ids: list[int] = row["input_ids"]
        trained = np.zeros(len(ids), bool)
        for start, end in np.reshape(row["loss_mask"], (-1, 2)).tolist():
            trained[start:end] = True
        yield Sample(
            document=row["document"],
            source=_value(document, "source"),
            part=("chosen", "rejected")[number] if of_pair else None,
            number=number + 1,
            of=samples.num_rows,
            length=len(ids),
            trained_tokens=row["target_tokens"],
            truncated_tokens=account.truncated_tokens,
            pieces=list(decoded(ids, trained, tokenizer)),
        )


def _refused(document: pa.Table, tokenizer: PreTrainedTokenizerFast, options: PhaseData) -> Refused:
    _, account = make_samples(document, tokenizer, options)
    return Refused(_value(document, "id"), _value(document, "source"), next(iter(account.refused)))


def _counts(samples: pa.Table, account: Account, samples_per_unit: int, options: PhaseData) -> Counts:
    lengths = pc.list_value_length(samples["input_ids"]).to_numpy()
    units = lengths.reshape(-1, samples_per_unit).sum(axis=1)
    row_length = samples_per_unit * options.sequence_length
    row_of = pack(units, row_length) if options.packing else np.arange(len(units))
    return Counts(
        documents=account.documents,
        samples=account.samples,
        tokens=account.tokens,
        trained_tokens=account.target_tokens,
        truncated_tokens=account.truncated_tokens,
        refused=account.refused,
        rows=int(row_of.max(initial=-1)) + 1,
        row_length=row_length,
    )


def _pairs(documents: pa.Table) -> list[Pair]:
    rows = documents.select(["id", "source", "prompt", "chosen", "rejected"]).to_pylist()
    found = []
    for row, share in zip(rows, edit_distances(documents), strict=True):
        distance = round(share * max(1, len(row["chosen"]), len(row["rejected"])))
        found.append(Pair(row.pop("id"), **row, edit_distance=distance, share=float(share)))
    return found


def _distances(pairs: pa.Table) -> Distances:
    longer, shorter = (
        function(pc.utf8_length(pairs["chosen"]), pc.utf8_length(pairs["rejected"])).to_numpy()
        for function in (pc.max_element_wise, pc.min_element_wise)
    )
    affordable = int(np.searchsorted(np.cumsum(longer.astype(float) * shorter), DISTANCE_WORK))
    measured = max(1, affordable)
    shares = edit_distances(pairs.slice(0, measured))
    return Distances(
        pairs=len(shares),
        of=pairs.num_rows,
        median=float(np.median(np.round(shares * np.maximum(1, longer[:measured])))),
        median_share=float(np.median(shares)),
        least_share=float(shares.min()),
        largest_share=float(shares.max()),
    )


def _first_of_each(documents: pa.Table, sources: Sequence[str], count: int) -> pa.Table:
    """Of each source the first documents, in the sources' order."""
    return pa.concat_tables(
        [documents.filter(pc.equal(documents["source"], source)).slice(0, count) for source in sources]
    )


def _singles(documents: pa.Table) -> Iterator[pa.Table]:
    return (documents.slice(row, 1) for row in range(documents.num_rows))


def _value(document: pa.Table, name: str) -> str:
    return str(document[name][0].as_py())
