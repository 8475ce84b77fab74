"""The compiled loops of `core.tokens.packing`. Import it inside functions: numba is heavy.

A set of integers is a bitmap: uint64[words], of which the bit `number & 63` of word `number >> 6` says that the number
is a member. The last word is always 0, so that 64 bits can be read from any place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled

NONE = -1
DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)  # each 6 bits of it are different, so they tell by how far it was shifted
SHIFTS = np.zeros(64, np.int64)
SHIFTS[DE_BRUIJN << np.arange(64, dtype=np.uint64) >> np.uint64(58)] = np.arange(64)


@compiled
def lowest_bit(word: np.uint64) -> int:
    """The place of the lowest bit that is set; the word is not 0."""
    return SHIFTS[np.int64(((word & (~word + np.uint64(1))) * DE_BRUIJN) >> np.uint64(58))]  # type: ignore[no-any-return]


@compiled
def highest_bit(word: np.uint64) -> int:
    """The place of the highest bit that is set; the word is not 0."""
    place = 0
    for step in (32, 16, 8, 4, 2, 1):
        if word >> np.uint64(step):
            word >>= np.uint64(step)
            place += step
    return place


@compiled
def put(members: NDArray[np.uint64], number: int) -> None:
    members[number >> 6] |= np.uint64(1) << np.uint64(number & 63)


@compiled
def take_out(members: NDArray[np.uint64], number: int) -> None:
    members[number >> 6] &= ~(np.uint64(1) << np.uint64(number & 63))


@compiled
def bits_from(members: NDArray[np.uint64], number: int) -> np.uint64:
    """Which of number, number + 1, ... number + 63 are members, from the lowest bit on."""
    word, shift = number >> 6, np.uint64(number & 63)
    bits: np.uint64 = members[word] >> shift
    if shift:
        bits |= members[word + 1] << (np.uint64(64) - shift)
    return bits


@compiled
def smallest_from(members: NDArray[np.uint64], number: int) -> int:
    """The smallest member that is at least `number`, or NONE."""
    word = number >> 6
    bits = members[word] >> np.uint64(number & 63) << np.uint64(number & 63)
    while not bits:
        word += 1
        if word == len(members):
            return NONE
        bits = members[word]
    return (word << 6) + lowest_bit(bits)


@compiled
def largest_to(members: NDArray[np.uint64], number: int) -> int:
    """The largest member that is at most `number`, or NONE."""
    word = number >> 6
    bits = members[word] << np.uint64(63 - (number & 63)) >> np.uint64(63 - (number & 63))
    while not bits:
        word -= 1
        if word < 0:
            return NONE
        bits = members[word]
    return (word << 6) + highest_bit(bits)


@compiled
def sorted_by_length(lengths: NDArray[np.int64], capacity: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Samples from the shortest to the longest, in their order where alike: int64[samples] in the order,

    and int64[capacity + 2], where in it the samples of each length begin.
    """
    starts = np.zeros(capacity + 2, np.int64)
    for length in lengths:
        starts[length + 1] += 1
    for length in range(capacity + 1):
        starts[length + 1] += starts[length]
    order = np.empty(len(lengths), np.int64)
    at = starts.copy()
    for sample in range(len(lengths)):
        order[at[lengths[sample]]] = sample
        at[lengths[sample]] += 1
    return order, starts


@compiled
def renumber(rows: NDArray[np.int64], count: int) -> None:
    """Numbers `count` rows in the order of their first samples, in place."""
    numbers = np.full(count, NONE, np.int64)
    count = 0
    for sample in range(len(rows)):
        row = rows[sample]
        if numbers[row] == NONE:
            numbers[row] = count
            count += 1
        rows[sample] = numbers[row]


@compiled
def best_fit(lengths: NDArray[np.int64], capacity: int) -> NDArray[np.int64]:
    """Best-fit decreasing: int64[samples], the row of each sample.

    Of samples of one length the earlier goes first, and of rows with the same room the one that last got a sample.
    """
    order, starts = sorted_by_length(lengths, capacity)
    rooms = np.zeros((capacity >> 6) + 2, np.uint64)  # of the open rows
    rows = np.empty(len(lengths), np.int64)
    newest = np.full(capacity + 1, NONE, np.int64)  # open row of each room ...
    older = np.full(len(lengths), NONE, np.int64)  # ... and of each row the next one with the same room
    count = 0
    for length in range(capacity, 0, -1):
        for sample in order[starts[length] : starts[length + 1]]:
            room = smallest_from(rooms, length)
            if room == NONE:
                room, row = capacity, count
                count += 1
            else:
                row = newest[room]
                newest[room] = older[row]
                if newest[room] == NONE:
                    take_out(rooms, room)
            rows[sample] = row
            left = room - length
            if left:
                if newest[left] == NONE:
                    put(rooms, left)
                older[row] = newest[left]
                newest[left] = row
    renumber(rows, count)
    return rows


@compiled
def exact_fit(lengths: NDArray[np.int64], capacity: int, even: bool) -> NDArray[np.int64]:
    """One row after the other, filled from the longest sample down: int64[samples], the row of each sample.

    Where two samples fill what is left exactly, they end the row: of such pairs the most even one, or else the one
    with the longest sample. All pairs are looked at, 64 at a time: lengths and what they leave of a row are bitmaps.
    """
    order, starts = sorted_by_length(lengths, capacity)
    at = starts[:-1].copy()  # the next sample of each length
    here = np.zeros((capacity >> 6) + 2, np.uint64)  # lengths of which there are samples left ...
    mirrored = np.zeros((capacity >> 6) + 2, np.uint64)  # ... and capacity - length of them
    for length in range(1, capacity + 1):
        if starts[length] < starts[length + 1]:
            put(here, length)
            put(mirrored, capacity - length)
    rows = np.empty(len(lengths), np.int64)
    chosen = np.empty(2, np.int64)
    row, left = 0, len(lengths)
    while left:
        room = capacity
        while room:
            longest = largest_to(here, room)
            if longest == NONE:
                break
            chosen[0], count = longest, 1
            if longest < room:
                half = (room + 1) >> 1
                if half << 1 == room and starts[half + 1] - at[half] == 1:
                    half += 1  # one sample is no pair
                other = pair(here, mirrored, half, longest, capacity - room, even)
                if other != NONE:
                    chosen[0], chosen[1], count = other, room - other, 2
            for length in chosen[:count]:
                rows[order[at[length]]] = row
                at[length] += 1
                if at[length] == starts[length + 1]:
                    take_out(here, length)
                    take_out(mirrored, capacity - length)
                room -= length
            left -= count
        row += 1
    renumber(rows, row)
    return rows


@compiled
def pair(
    here: NDArray[np.uint64], mirrored: NDArray[np.uint64], first: int, last: int, shift: int, smallest: bool
) -> int:
    """The smallest or largest member of `here` in [first, last] that plus `shift` is in `mirrored`, or NONE."""
    found = NONE
    for start in range(first, last + 1, 64):
        both = bits_from(here, start) & bits_from(mirrored, start + shift)
        if start + 63 > last:
            both = both << np.uint64(start + 63 - last) >> np.uint64(start + 63 - last)
        if both and smallest:
            return start + lowest_bit(both)
        if both:
            found = start + highest_bit(both)
    return found
