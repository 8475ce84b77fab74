"""From pairs of similar documents to those that are removed, and for each the one that stays in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from core.dedup.candidates import numbered, packed, unpacked

Rows = NDArray[np.int64]
Similarities = NDArray[np.float64]
Exact = Callable[[Rows], Similarities]  # the exact similarity of each of int64[pairs, 2]

Keep = Literal["first", "longest", "priority"]
Linkage = Literal["component", "representative"]


@dataclass(frozen=True)
class Removed:
    """Documents to remove, ascending; all arrays are [removed]."""

    rows: Rows
    kept: Rows  # the document that stays in its place
    clusters: Rows  # the first document of all that go or stay with that one
    jaccards: Similarities  # exact similarity to `kept`; NaN where it is not known

    @property
    def cluster_count(self) -> int:
        """How many documents stay in the place of others."""
        return len(np.unique(self.kept))


def keep_order(rows: Rows, keep: Keep, lengths: Rows, priorities: Rows) -> Rows:
    """The places of rows, the one that is kept before others first.

    rows: ascending; lengths: in bytes; priorities: the place of each row's source in the list, the last for all others.
    """
    by = {"first": rows, "longest": -lengths, "priority": priorities}[keep]
    return np.argsort(by, kind="stable")


def removals(
    pairs: Rows,
    jaccards: Similarities | None,
    order: Callable[[Rows], Rows],
    linkage: Linkage,
    threshold: float,
    exact: Exact | None,
) -> Removed:
    """All of each cluster but what stays of it.

    pairs: int64[pairs, 2], similar all of them; jaccards: their similarity, None where it is not known.
    order: given rows, ascending, their places in the order of preference.
    linkage component: of each connected component one stays, so a removed document may be less similar to it than the
    threshold, by way of others. representative: in the order of preference, each document goes that reaches the
    threshold with one that stays, for the most similar of these (Kocetkov et al., 2022, section 3).
    exact: asked for the pairs of removed and kept that `jaccards` does not have, and with representative for those of
    a document whose neighbours were all removed, with what stayed in their place.
    """
    nodes, edges = numbered(pairs)
    preferred = order(nodes)
    if linkage == "component":
        kept = _of_components(edges, preferred)
    else:
        kept, edges, jaccards = _representatives(edges, jaccards, preferred, threshold, exact, nodes)
    removed = np.flatnonzero(kept != np.arange(len(nodes)))
    kept = kept[removed]
    first = np.arange(len(nodes))
    np.minimum.at(first, kept, removed)
    known = np.full(len(removed), np.nan)
    if jaccards is not None:
        known = _looked_up(removed, kept, edges, jaccards)
    missing = np.flatnonzero(np.isnan(known))
    if exact is not None and len(missing):
        known[missing] = exact(nodes[_ascending(removed[missing], kept[missing])])
    return Removed(nodes[removed], nodes[kept], nodes[first[kept]], known)


def _of_components(edges: Rows, preferred: Rows) -> Rows:
    """For each node the one of its connected component that comes first in the order."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = len(preferred)
    graph = coo_array((np.ones(len(edges), np.int8), (edges[:, 0], edges[:, 1])), shape=(size, size))
    count, component = connected_components(graph, directed=False)
    rank = np.full(count, size, np.int64)
    np.minimum.at(rank, component[preferred], np.arange(size))
    best: Rows = preferred[rank[component]]
    return best


def _representatives(
    edges: Rows,
    jaccards: Similarities | None,
    preferred: Rows,
    threshold: float,
    exact: Exact | None,
    nodes: Rows,
) -> tuple[Rows, Rows, Similarities]:
    """Also the edges that were added: what stays for want of a neighbour that stays is compared once more with those
    that stayed in its neighbours' place. Not all candidates are compared with each other, copies with one of them only.
    """
    from core.dedup import key_kernels as kernels

    similarity = np.ones(len(edges)) if jaccards is None else jaccards
    asked = np.empty(0, np.int64)
    while True:
        both = np.concatenate([edges, edges[:, ::-1]])
        by = np.argsort(both[:, 0], kind="stable")
        starts = np.searchsorted(both[by, 0], np.arange(len(preferred) + 1))
        neighbours = np.ascontiguousarray(both[by, 1])
        kept = kernels.representatives(preferred, starts, neighbours, np.concatenate([similarity, similarity])[by])
        if exact is None:
            return kept, edges, similarity
        one, other = both[:, 0], kept[both[:, 1]]
        open_ = (kept[one] == one) & (other != one)
        proposed = np.unique(packed(*_ascending(one[open_], other[open_]).T))
        proposed = np.setdiff1d(proposed, np.concatenate([asked, packed(*_ascending(*edges.T).T)]), assume_unique=True)
        if not len(proposed):
            return kept, edges, similarity
        asked = np.concatenate([asked, proposed])
        found = exact(nodes[unpacked(proposed)])
        reached = found >= threshold
        edges = np.concatenate([edges, unpacked(proposed[reached])])
        similarity = np.concatenate([similarity, found[reached]])


def _ascending(one: Rows, other: Rows) -> Rows:
    return np.stack([np.minimum(one, other), np.maximum(one, other)], axis=1)


def _looked_up(removed: Rows, kept: Rows, edges: Rows, jaccards: Similarities) -> Similarities:
    """The similarity of each removed node and the kept one, NaN where they are no edge."""
    known = packed(*_ascending(*edges.T).T)
    by = np.argsort(known)
    wanted = packed(*_ascending(removed, kept).T)
    places = np.searchsorted(known, wanted, sorter=by)
    there = by[np.minimum(places, len(by) - 1)]
    return np.where(known[there] == wanted, jaccards[there], np.nan)
