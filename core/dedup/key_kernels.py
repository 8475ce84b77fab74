"""Compiled passes over keys and sets of hashes. Import inside functions: numba is heavy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.dedup.ngram_kernels import BASE, EMPTY, HALF, NINE, ONE, ZERO, Hashes, Offsets, mix
from core.documents.compiled import compiled


@compiled
def first_occurrences(keys: Hashes) -> Offsets:
    """int64[rows]: the first row with the same keys in all columns. A hash table with open addressing."""
    rows, columns = keys.shape
    bits = np.uint64(1)
    while (1 << bits) < 2 * rows:
        bits += ONE
    last = (ONE << bits) - ONE
    table = np.full(1 << bits, -1, np.int64)
    first = np.empty(rows, np.int64)
    for row in range(rows):
        digest = ZERO
        for column in range(columns):
            digest = digest * BASE + keys[row, column]
        slot = mix(digest) & last
        while table[slot] >= 0 and not np.array_equal(keys[table[slot]], keys[row]):
            slot = (slot + ONE) & last
        if table[slot] < 0:
            table[slot] = row
        first[row] = table[slot]
    return first


@compiled
def maybe_repeated(keys: Hashes) -> NDArray[np.bool_]:
    """bool[rows]: false only where the key occurs once. Two passes over a table of about eight bytes per key."""
    bits = 10
    while (1 << bits) < 8 * len(keys):
        bits += 1
    shift = np.uint64(64 - bits)
    counts = np.zeros(1 << bits, np.uint8)
    for key in keys:
        counts[key >> shift] = min(counts[key >> shift] + 1, 2)
    repeated = np.empty(len(keys), np.bool_)
    for i in range(len(keys)):
        repeated[i] = counts[keys[i] >> shift] > 1
    return repeated


@compiled
def neighbour_pairs(keys: Hashes, rows: Offsets, window: int) -> Offsets:
    """Each row with the next `window` rows of the same key, keys being in groups; a pair is smaller << 32 | larger."""
    count = 0
    for fill in range(2):
        pairs = np.empty(count, np.int64)
        count = 0
        for i in range(len(keys)):
            for k in range(i + 1, min(i + 1 + window, len(keys))):
                if keys[k] != keys[i]:
                    break
                if fill:
                    pairs[count] = min(rows[i], rows[k]) << 32 | max(rows[i], rows[k])
                count += 1
    return pairs


@compiled
def _similarity(left: Hashes, right: Hashes) -> float:
    i = k = common = 0
    while i < len(left) and k < len(right):
        a, b = left[i], right[k]
        common += a == b
        i += a <= b
        k += b <= a
    return common / (len(left) + len(right) - common) if common else 0.0


@compiled
def jaccard(pairs: Offsets, offsets: Offsets, hashes: Hashes) -> NDArray[np.float64]:
    """|intersection| / |union| of the ascending sets of each pair; two empty sets have nothing in common: 0."""
    similarity = np.empty(len(pairs), np.float64)
    for pair in range(len(pairs)):
        left = hashes[offsets[pairs[pair, 0]] : offsets[pairs[pair, 0] + 1]]
        right = hashes[offsets[pairs[pair, 1]] : offsets[pairs[pair, 1] + 1]]
        similarity[pair] = _similarity(left, right)
    return similarity


@compiled
def _root(parent: Offsets, node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


@compiled
def unconnected(pairs: Offsets, parent: Offsets) -> NDArray[np.bool_]:
    """bool[pairs]: the pair's nodes are in different trees of the forest `parent`."""
    apart = np.empty(len(pairs), np.bool_)
    for pair in range(len(pairs)):
        apart[pair] = _root(parent, pairs[pair, 0]) != _root(parent, pairs[pair, 1])
    return apart


@compiled
def join(pairs: Offsets, parent: Offsets) -> NDArray[np.bool_]:
    """Joins the trees of each pair in turn; bool[pairs]: they were two until then. The smaller root stays."""
    joined = np.zeros(len(pairs), np.bool_)
    for pair in range(len(pairs)):
        one, other = _root(parent, pairs[pair, 0]), _root(parent, pairs[pair, 1])
        if one != other:
            parent[max(one, other)] = min(one, other)
            joined[pair] = True
    return joined


@compiled
def joining_pairs(
    pairs: Offsets, nodes: Offsets, parent: Offsets, offsets: Offsets, hashes: Hashes, threshold: float
) -> NDArray[np.float64]:
    """Similarity of those pairs that reach the threshold and join two trees of the forest, which they do; 0 of others.

    pairs: of sets; nodes: the same pairs by their nodes in `parent`. A pair within a tree is not compared.
    """
    similarity = np.zeros(len(pairs), np.float64)
    for pair in range(len(pairs)):
        one, other = _root(parent, nodes[pair, 0]), _root(parent, nodes[pair, 1])
        if one == other:
            continue
        left = hashes[offsets[pairs[pair, 0]] : offsets[pairs[pair, 0] + 1]]
        right = hashes[offsets[pairs[pair, 1]] : offsets[pairs[pair, 1] + 1]]
        if min(len(left), len(right)) < threshold * max(len(left), len(right)):
            continue
        found = _similarity(left, right)
        if found >= threshold:
            similarity[pair] = found
            parent[max(one, other)] = min(one, other)
    return similarity


@compiled
def representatives(order: Offsets, starts: Offsets, neighbours: Offsets, similarity: NDArray[np.float64]) -> Offsets:
    """For each node the one that stays in its place, int64[nodes]: itself, or the most similar neighbour that stays.

    order: the nodes as they are decided; of equally similar neighbours the one decided first is taken;
    starts: int64[nodes + 1] into `neighbours` and `similarity`.
    """
    nodes = len(order)
    stays = np.full(nodes, -1, np.int64)
    rank = np.empty(nodes, np.int64)
    for place in range(nodes):
        rank[order[place]] = place
    for node in order:
        best = -1.0
        chosen = node
        for i in range(starts[node], starts[node + 1]):
            other = neighbours[i]
            if stays[other] != other:
                continue
            if similarity[i] > best or (similarity[i] == best and rank[other] < rank[chosen]):
                best, chosen = similarity[i], other
        stays[node] = chosen
    return stays


@compiled
def partitioned(keys: Hashes, count: int) -> tuple[Offsets, Offsets]:
    """Rows in the order of `count` partitions by all columns, int64[rows], and where each begins, int64[count + 1]."""
    rows, columns = keys.shape
    numbers = np.empty(rows, np.int64)
    bounds = np.zeros(count + 1, np.int64)
    for row in range(rows):
        digest = ONE
        for column in range(columns):
            digest = digest * BASE + keys[row, column]
        # Leading bits: `first_occurrences` goes by the last ones, and `maybe_repeated` by those before the mixing.
        numbers[row] = np.int64((mix(digest) >> HALF) * np.uint64(count) >> HALF)
        bounds[numbers[row] + 1] += 1
    for number in range(count):
        bounds[number + 1] += bounds[number]
    ends = bounds[:-1].copy()
    order = np.empty(rows, np.int64)
    for row in range(rows):
        order[ends[numbers[row]]] = row
        ends[numbers[row]] += 1
    return order, bounds


@compiled
def digests(keys: Hashes, salt: np.uint64, begin: int) -> Hashes:
    """Two numbers for all columns, uint64[rows, 2]: equal for different keys or salts with a probability of 2**-128.

    begin: the number of the first row, from which a row with `EMPTY` keys has its digest: it is like no other.
    """
    rows, columns = keys.shape
    found = np.empty((rows, 2), np.uint64)
    for row in range(rows):
        if keys[row, 0] == EMPTY:
            found[row, 0], found[row, 1] = ZERO, np.uint64(begin + row)
            continue
        one, other = mix(salt + ONE), mix(salt + BASE)
        for column in range(columns):
            one = mix(one ^ keys[row, column])
            other = mix(other + BASE) ^ mix(other * NINE + keys[row, column])
        found[row, 0], found[row, 1] = one, other
    return found


@compiled
def chunk_numbers(pairs: Offsets, lengths: Offsets, budget: int) -> Offsets:
    """int64[pairs], ascending: chunks of following pairs whose rows, each counted once, are about `budget` long."""
    numbers = np.empty(len(pairs), np.int64)
    last_chunk = np.full(len(lengths), -1, np.int64)  # that each row was counted in
    chunk = total = 0
    for pair in range(len(pairs)):
        if total > budget:
            chunk += 1
            total = 0
        for row in pairs[pair]:
            if last_chunk[row] != chunk:
                last_chunk[row] = chunk
                total += lengths[row]
        numbers[pair] = chunk
    return numbers
