"""Preference pairs that cannot be learned from are dropped: empty ones, and those with nothing to prefer."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from core.documents.ledger import Verdict
from core.options import Options


class PreferencePairs(Options):
    """What a prompt with a chosen and a rejected completion must be to stay. Documents of another form stay."""

    sources: list[str] | None = Field(
        None, min_length=1, description="Names of the sources that it judges; without it, all."
    )
    ignore_white_space: bool = Field(
        True, description="Completions that differ in nothing but white space at their ends are the same."
    )
    min_edit_distance: float = Field(
        0, ge=0, le=1, description="Edit distance of the two completions at least, as a share of the longer one."
    )
    max_edit_distance: float = Field(
        1, ge=0, le=1, description="Edit distance of the two completions at most, as a share of the longer one."
    )

    @model_validator(mode="after")
    def _some_distance_fits(self) -> PreferencePairs:
        if self.min_edit_distance > self.max_edit_distance:
            raise ValueError(
                f"min_edit_distance, {self.min_edit_distance}, is above max_edit_distance, {self.max_edit_distance}"
            )
        return self

    @property
    def limits_distance(self) -> bool:
        """Whether edit distances must be computed."""
        return self.min_edit_distance > 0 or self.max_edit_distance < 1


def preference_pairs(documents: pa.Table, options: PreferencePairs) -> Verdict:
    """Judges the preference pairs of a table of DOCUMENTS.

    Reasons, in this order: empty_prompt, empty_chosen, empty_rejected (nothing but white space), same_completions;
    and, where they are limited, too_similar and too_different, with the edit distance found as evidence.
    """
    documents = documents.combine_chunks()
    judged = pc.is_valid(documents["prompt"])
    if options.sources is not None:
        judged = pc.and_(judged, pc.is_in(documents["source"], value_set=pa.array(options.sources, pa.string())))
    prompt, chosen, rejected = (pc.fill_null(documents[name], "") for name in ("prompt", "chosen", "rejected"))
    same = (
        pc.equal(pc.utf8_trim_whitespace(chosen), pc.utf8_trim_whitespace(rejected))
        if options.ignore_white_space
        else pc.equal(chosen, rejected)
    )
    reason = evidence = pa.nulls(documents.num_rows, pa.string())
    rules = [
        ("empty_prompt", _empty(prompt), None),
        ("empty_chosen", _empty(chosen), None),
        ("empty_rejected", _empty(rejected), None),
        ("same_completions", same, None),
    ]
    if options.limits_distance:
        distances = pa.array(np.nan_to_num(edit_distances(documents)))
        found = pc.binary_join_element_wise(
            pc.round(distances, 3).cast(pa.string()), "of the longer completion", pa.scalar(" ")
        )
        rules.append(("too_similar", pc.less(distances, options.min_edit_distance), found))
        rules.append(("too_different", pc.greater(distances, options.max_edit_distance), found))
    for name, broken, shown in rules:
        newly = pc.and_(pc.and_(broken, judged), pc.is_null(reason))
        reason = pc.if_else(newly, name, reason)
        evidence = evidence if shown is None else pc.if_else(newly, shown, evidence)
    return Verdict(_one(reason), _one(evidence))


def edit_distances(documents: pa.Table) -> NDArray[np.float64]:
    """The normalised edit distance of each pair's completions: Levenshtein's, in characters, by the longer length.

    float64[rows], 0 (the same) to 1; not a number where a document is no pair. The measure by which Smaug tells where
    DPO fails (Pal et al. 2024, https://arxiv.org/abs/2402.13228). It takes time as the product of the lengths of what
    lies between the common beginning and end.
    """
    from core.instructions.edit_distance_kernels import edit_distance

    found = np.full(documents.num_rows, np.nan)
    pairs = zip(documents["chosen"].to_pylist(), documents["rejected"].to_pylist(), strict=True)
    for row, (chosen, rejected) in enumerate(pairs):
        if chosen is not None and rejected is not None:
            distance = edit_distance(_characters(chosen), _characters(rejected))
            found[row] = distance / max(1, len(chosen), len(rejected))
    return found


def _characters(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32)


def _empty(column: pa.Array) -> pa.Array:
    return pc.equal(pc.utf8_trim_whitespace(column), "")


def _one(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
