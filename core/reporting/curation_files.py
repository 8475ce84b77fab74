"""What the curation stage leaves for its page: the shapes of its JSON files, and sums over them.

Only the ledger is always there. Tokens, cuts, lengths, labels, duplicates and contamination came later: a run of
an earlier version, or one without such a step, has none.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field, model_validator

from core.reporting.written_files import Written

MEASURES = ("documents", "bytes", "tokens")
MIXTURE = "mixture"  # the only step that may add documents: it can draw one more than once


class Amount(Written):
    documents: int
    bytes: int
    tokens: int | None = None


class Cut(Written):
    documents: int
    spans: int
    bytes: int


class LedgerStep(Written):
    step: str
    documents_in: int
    documents_kept: int
    bytes_in: int
    bytes_kept: int
    tokens_in: int | None = None
    tokens_kept: int | None = None
    dropped: dict[str, int]  # documents by reason
    cut: dict[str, Cut] = Field({})  # by reason: parts of documents that were kept

    def before(self, measure: str) -> int:
        """What came to the step, in one of MEASURES."""
        return getattr(self, f"{measure}_in") or 0

    def after(self, measure: str) -> int:
        """What the step left."""
        return getattr(self, f"{measure}_kept") or 0


class LedgerSource(Written):
    read: Amount
    steps: list[LedgerStep]
    kept: Amount

    def left(self, measure: str, steps: list[str]) -> list[int]:
        """What is left after each of the ledger's steps; a step that did not see the source changes nothing."""
        kept = {step.step: step.after(measure) for step in self.steps}
        amounts, now = [], amount(self.read, measure)
        for step in steps:
            now = kept.get(step, now)
            amounts.append(now)
        return amounts


class Planted(Written):
    planted: int
    dropped_by: dict[str, int]  # by step
    kept: int


class Ledger(Written):
    """curate/ledger.json"""

    steps: list[str]
    sources: dict[str, LedgerSource]
    planted: dict[str, Planted] = Field({})

    @property
    def measures(self) -> list[str]:
        """Those of MEASURES that it counts."""
        counted = any(source.read.tokens is not None for source in self.sources.values())
        return [measure for measure in MEASURES if counted or measure != "tokens"]

    @property
    def by_size(self) -> list[str]:
        """Sources, those with the most documents first."""
        return sorted(self.sources, key=lambda source: -self.sources[source].read.documents)

    def place(self, step: str) -> int:
        """Where a step stands among all."""
        return self.steps.index(step) if step in self.steps else len(self.steps)

    def of_step(self, step: str) -> Iterator[tuple[str, LedgerStep]]:
        """A step's account of each source."""
        for name, source in self.sources.items():
            yield from ((name, each) for each in source.steps if each.step == step)

    def dropped(self, step: str) -> dict[str, int]:
        """Documents that a step dropped from all sources, by reason, most first."""
        found: dict[str, int] = {}
        for _, each in self.of_step(step):
            for reason, documents in each.dropped.items():
                found[reason] = found.get(reason, 0) + documents
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def cut(self, step: str) -> dict[str, Cut]:
        """What a step cut out of documents of all sources, by reason, most bytes first."""
        found: dict[str, list[Cut]] = {}
        for _, each in self.of_step(step):
            for reason, parts in each.cut.items():
                found.setdefault(reason, []).append(parts)
        sums = {
            reason: Cut(
                documents=sum(each.documents for each in parts),
                spans=sum(each.spans for each in parts),
                bytes=sum(each.bytes for each in parts),
            )
            for reason, parts in found.items()
        }
        return dict(sorted(sums.items(), key=lambda item: -item[1].bytes))

    def total(self, when: str, measure: str) -> int:
        """Of all sources; when: "read" or "kept"."""
        return sum(amount(getattr(source, when), measure) for source in self.sources.values())


class Histograms(Written):
    read: list[int]
    kept: list[int]


class Lengths(Written):
    """Bin i holds documents of edges[i] <= length < edges[i + 1]; the last has no end."""

    unit: str
    edges: list[int]
    sources: dict[str, Histograms]

    @model_validator(mode="after")
    def _bins_match(self) -> Lengths:
        for name, found in self.sources.items():
            for counts in (found.read, found.kept):
                if len(counts) != len(self.edges):
                    raise ValueError(f"{name} has {len(counts)} bins, its edges make {len(self.edges)}")
        return self


class Statistics(Written):
    """curate/statistics.json"""

    lengths: Lengths | None = None
    labels: dict[str, dict[str, dict[str, int]]] = Field({})  # documents by step, source and label


class Quoted(Written):
    id: str
    source: str
    text: str
    jaccard: float | None = None  # with the kept one


class Cluster(Written):
    documents: int
    kept: Quoted
    removed: list[Quoted]


class Duplicates(Written):
    """curate/duplicates/<step>.json. matrix: removed documents by their source (row) and that of the kept partner."""

    step: str
    sources: list[str]
    matrix: list[list[int]]
    clusters: list[Cluster]
    removed: int
    candidate_pairs: int | None = None

    @model_validator(mode="after")
    def _square(self) -> Duplicates:
        widths = [len(row) for row in self.matrix]
        if widths != [len(self.sources)] * len(self.sources):
            raise ValueError(f"a matrix with rows of {widths[:5]} entries does not fit {len(self.sources)} sources")
        return self


class Overlap(Written):
    id: str
    source: str
    words: str


class Match(Written):
    item: str | int
    documents: int
    example: Overlap | None = None


class Contamination(Written):
    """curate/contamination/<step>.json. items: test items looked for; too_short: those that could not be."""

    items: int
    too_short: int
    unreadable: int = 0  # rows of the test sets
    matches: list[Match]  # those with the most documents
    documents: int
    matched_items: int | None = None


def amount(of: Amount, measure: str) -> int:
    """An amount in one of MEASURES; 0 where it was not counted."""
    return getattr(of, measure) or 0
