"""Compiled passes over the lines and words of texts. Import inside functions: numba is heavy.

The text is one buffer: `data` uint8[bytes], `offsets` int64[rows + 1] into it. White space is Unicode's, so a word is
what `str.split` gives; characters are code points. Two pieces of text are held to be the same if their 64-bit hashes
are. All in one file, because numba's cache sees a change only in the file of the function that it compiled.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.documents.compiled import compiled

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Codes = NDArray[np.uint32]
Hashes = NDArray[np.uint64]

ZERO, ONE = np.uint64(0), np.uint64(1)
SEED = np.uint64(0xCBF29CE484222325)
PRIME = np.uint64(0x9E3779B97F4A7C15)
HALF = np.uint64(32)
NEWLINE, SPACE = 10, 32
LONG_WORD, NO_LINE_END, FEW_WORDS, JAVASCRIPT, POLICY, CITATION = range(6)  # why C4 cuts
LOREM_IPSUM, CURLY_BRACKET, FEW_SENTENCES = range(3)  # why C4 drops


@compiled
def _mixed(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> HALF)) * PRIME
    return value ^ (value >> HALF)


@compiled
def _white(first: int, second: int, third: int) -> int:
    """How many bytes the white space has that begins with the first of three bytes; 0 if it is none."""
    if first < 0x80:
        return 1 if 28 <= first <= 32 or 9 <= first <= 13 else 0
    if first == 0xC2:
        return 2 if second == 0x85 or second == 0xA0 else 0
    wide = first == 0xE1 and second == 0x9A and third == 0x80
    if first == 0xE2:
        wide = second == 0x80 and (third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF)
        wide = wide or (second == 0x81 and third == 0x9F)
    wide = wide or (first == 0xE3 and second == 0x80 and third == 0x80)
    return 3 if wide else 0


@compiled
def _line_end(first: int, second: int, third: int) -> int:
    """How many bytes the line end has, as `str.splitlines` knows them, that begins with the first of three bytes."""
    if first < 0x80:
        if first == 13 and second == NEWLINE:
            return 2
        return 1 if 10 <= first <= 13 or 28 <= first <= 30 else 0
    if first == 0xC2:
        return 2 if second == 0x85 else 0
    return 3 if first == 0xE2 and second == 0x80 and (third == 0xA8 or third == 0xA9) else 0


@compiled
def _code(first: int, second: int, third: int, fourth: int) -> int:
    """The code point of a character of UTF-8."""
    if first < 0x80:
        return first
    if first < 0xE0:
        return (first & 0x1F) << 6 | second & 0x3F
    if first < 0xF0:
        return (first & 0x0F) << 12 | (second & 0x3F) << 6 | third & 0x3F
    return (first & 0x07) << 18 | (second & 0x3F) << 12 | (third & 0x3F) << 6 | fourth & 0x3F


@compiled
def _code_at(text: Bytes, i: int) -> int:
    last = len(text) - 1
    return _code(text[i], text[min(i + 1, last)], text[min(i + 2, last)], text[min(i + 3, last)])


@compiled
def _is_one_of(code: int, codes: Codes) -> bool:
    place = np.searchsorted(codes, np.uint32(code))
    return bool(place < len(codes) and codes[place] == code)


@compiled
def _characters(text: Bytes) -> int:
    count = 0
    for byte in text:
        count += (byte & 0xC0) != 0x80
    return count


@compiled
def _words(text: Bytes, hashes: Hashes, lengths: Numbers) -> int:
    """Writes hash and characters of each word, and tells how many there are."""
    count = length = i = 0
    last = len(text) - 1
    word = SEED
    while i <= last:
        first = text[i]
        width = 0
        if first <= SPACE:
            width = _white(first, 0, 0)
        elif first >= 0xC2:
            width = _white(first, text[min(i + 1, last)], text[min(i + 2, last)])
        if width == 0:
            word = (word ^ np.uint64(first)) * PRIME
            length += (first & 0xC0) != 0x80
            i += 1
            continue
        if length:
            hashes[count], lengths[count] = _mixed(word), length
            count += 1
            length = 0
            word = SEED
        i += width
    if length:
        hashes[count], lengths[count] = _mixed(word), length
        count += 1
    return count


@compiled
def _pieces(text: Bytes, newlines: int, hashes: Hashes, lengths: Numbers) -> int:
    """The same for the pieces between runs of so many newlines or more, empty ones too."""
    count = length = i = 0
    piece = SEED
    while i < len(text):
        run = 0
        while i + run < len(text) and text[i + run] == NEWLINE:
            run += 1
        if run >= newlines:
            hashes[count], lengths[count] = _mixed(piece), length
            count += 1
            length = 0
            piece = SEED
            i += run
            continue
        for byte in text[i : i + max(run, 1)]:
            piece = (piece ^ np.uint64(byte)) * PRIME
            length += (byte & 0xC0) != 0x80
        i += max(run, 1)
    hashes[count], lengths[count] = _mixed(piece), length
    return count + 1


@compiled
def _table_size(count: int) -> int:
    size = 16
    while size < 2 * count:
        size *= 2
    return size


@compiled
def _repeated(hashes: Hashes, lengths: Numbers, step: int, table: Hashes) -> tuple[int, int]:
    """How many items came before, and the sum of their lengths. After one the next `step` - 1 are passed over."""
    mask = np.uint64(_table_size(len(hashes)) - 1)
    table[: np.int64(mask) + 1] = ZERO
    count = total = i = 0
    while i < len(hashes):
        key = hashes[i] | ONE  # 0 is an empty place
        place = (key >> HALF) & mask
        while table[place] != ZERO and table[place] != key:
            place = (place + ONE) & mask
        if table[place] == key:
            count += 1
            total += lengths[i]
            i += step
        else:
            table[place] = key
            i += 1
    return count, total


@compiled
def _top(hashes: Hashes, lengths: Numbers, table: Hashes, counts: Numbers) -> int:
    """Occurrences times length of the most frequent item, of several the one that comes first."""
    mask = np.uint64(_table_size(len(hashes)) - 1)
    table[: np.int64(mask) + 1] = ZERO
    most = 1
    for i in range(len(hashes)):
        key = hashes[i] | ONE
        place = (key >> HALF) & mask
        while table[place] != ZERO and table[place] != key:
            place = (place + ONE) & mask
        if table[place] == ZERO:
            table[place] = key
            counts[place] = 0
        counts[place] += 1
        most = max(most, counts[place])
    for i in range(len(hashes)):
        key = hashes[i] | ONE
        place = (key >> HALF) & mask
        while table[place] != key:
            place = (place + ONE) & mask
        if counts[place] == most:
            return int(most * lengths[i])
    return 0


@compiled
def _ngrams(hashes: Hashes, lengths: Numbers, n: int, gap: int, grams: Hashes, sizes: Numbers) -> int:
    """Writes hash and characters of each n-gram, with so many characters between words; tells how many there are."""
    count = max(0, len(hashes) - n + 1)
    if count == 0:
        return 0
    power = ONE
    gram = ZERO
    size = gap * (n - 1)
    for i in range(n - 1):
        power *= PRIME
        gram = gram * PRIME + hashes[i]
        size += lengths[i]
    for i in range(count):
        gram = gram * PRIME + hashes[i + n - 1]
        size += lengths[i + n - 1]
        grams[i], sizes[i] = _mixed(gram), size
        gram -= hashes[i] * power
        size -= lengths[i]
    return count


@compiled
def _trimmed(text: Bytes) -> Bytes:
    """Without the white space at both ends."""
    begin = end = i = 0
    last = len(text) - 1
    begin = len(text)
    while i <= last:
        width = _white(text[i], text[min(i + 1, last)], text[min(i + 2, last)])
        if width == 0:
            begin = min(begin, i)
            i += 1
            end = i
        else:
            i += width
    return text[begin : max(begin, end)]


@compiled
def _longest(offsets: Numbers) -> int:
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    return longest


@compiled
def first_repetition(
    data: Bytes, offsets: Numbers, limits: NDArray[np.float64], top: Numbers, repeated: Numbers
) -> tuple[Numbers, NDArray[np.float64]]:
    """The first of Gopher's rules that each document breaks, int64[rows], -1 if none, and the share that breaks it.

    limits: of repeated paragraphs, their characters, repeated lines, theirs, the most frequent n-gram for each n in
    `top`, and the n-grams that came before for each n in `repeated`. Shares of characters are of the whole text's.
    """
    rows = len(offsets) - 1
    rule = np.full(rows, -1, np.int64)
    value = np.zeros(rows)
    room = _longest(offsets) // 2 + 2
    hashes, grams = np.empty(room, np.uint64), np.empty(room, np.uint64)
    lengths, sizes = np.empty(room, np.int64), np.empty(room, np.int64)
    table = np.empty(_table_size(room), np.uint64)
    counts = np.empty(len(table), np.int64)
    for row in range(rows):
        text = data[offsets[row] : offsets[row + 1]]
        characters = max(1, _characters(text))
        place = 0
        for newlines in (2, 1):
            pieces = _pieces(_trimmed(text) if newlines == 2 else text, newlines, hashes, lengths)
            count, total = _repeated(hashes[:pieces], lengths[:pieces], 1, table)
            for share in (count / pieces, total / characters):
                if rule[row] < 0 and share > limits[place]:
                    rule[row], value[row] = place, share
                place += 1
        if rule[row] >= 0:
            continue
        words = _words(text, hashes, lengths)
        for n in top:
            if rule[row] >= 0:
                break
            found = _ngrams(hashes[:words], lengths[:words], n, 1, grams, sizes)
            share = _top(grams[:found], sizes[:found], table, counts) / characters
            if share > limits[place]:
                rule[row], value[row] = place, share
            place += 1
        for n in repeated:
            if rule[row] >= 0:
                break
            found = _ngrams(hashes[:words], lengths[:words], n, 0, grams, sizes)
            _, total = _repeated(grams[:found], sizes[:found], n, table)
            share = total / characters
            if share > limits[place]:
                rule[row], value[row] = place, share
            place += 1
    return rule, value


@compiled
def _first_character(text: Bytes) -> int:
    """Where the first character stands that is no white space; the length of the text if there is none."""
    last = len(text) - 1
    i = 0
    while i <= last:
        width = _white(text[i], text[min(i + 1, last)], text[min(i + 2, last)])
        if width == 0:
            return i
        i += width
    return i


@compiled
def first_broken_line_rule(
    data: Bytes, offsets: Numbers, short: int, ends: Codes, limits: NDArray[np.float64]
) -> tuple[Numbers, NDArray[np.float64]]:
    """The first of FineWeb's rules that each document breaks, int64[rows], -1 if none, and the value that breaks it.

    0: there is no line that is not blank. limits: 1: of the share of lines that end with one of the code points `ends`
    (ascending), at least; at most 2: of the share of lines with up to `short` characters, 3: of the share of the
    characters in lines that came before, 4: of newlines per word.
    """
    rows = len(offsets) - 1
    rule = np.full(rows, -1, np.int64)
    value = np.zeros(rows)
    room = _longest(offsets) // 2 + 2
    hashes, lengths, begins = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    table = np.empty(_table_size(room), np.uint64)
    for row in range(rows):
        text = data[offsets[row] : offsets[row + 1]]
        lines = ended = shorts = newlines = begin = 0
        while begin <= len(text):
            length = last = 0
            end = begin
            while end < len(text) and text[end] != NEWLINE:
                if (text[end] & 0xC0) != 0x80:
                    length += 1
                    last = end
                end += 1
            newlines += end < len(text)
            if _first_character(text[begin:end]) < end - begin:
                begins[lines], lengths[lines] = begin, length
                lines += 1
                shorts += length <= short
                ended += _is_one_of(_code_at(text, last), ends)
            begin = end + 1
        if lines == 0:
            rule[row] = 0
            continue
        if ended / lines < limits[0]:
            rule[row], value[row] = 1, ended / lines
            continue
        if shorts / lines > limits[1]:
            rule[row], value[row] = 2, shorts / lines
            continue
        for line in range(lines):
            piece = SEED
            i = begins[line]
            while i < len(text) and text[i] != NEWLINE:
                piece = (piece ^ np.uint64(text[i])) * PRIME
                i += 1
            hashes[line] = _mixed(piece)
        _, total = _repeated(hashes[:lines], lengths[:lines], 1, table)
        share = total / (_characters(text) - newlines)
        if share > limits[2]:
            rule[row], value[row] = 3, share
            continue
        share = newlines / _words(text, hashes, lengths)
        if share > limits[3]:
            rule[row], value[row] = 4, share
    return rule, value


@compiled
def _lower(byte: int) -> int:
    return byte + 32 if 65 <= byte <= 90 else byte


@compiled
def _phrase(line: Bytes, phrases: Bytes, bounds: Numbers, firsts: Bytes, found: NDArray[np.bool_]) -> None:
    """Tells for each phrase (lower-cased ASCII) whether it is in a line; firsts uint8[256]: set for first letters."""
    found[:] = False
    for i in range(len(line)):
        if firsts[line[i]] == 0:
            continue
        for phrase in range(len(bounds) - 1):
            begin = bounds[phrase]
            size = bounds[phrase + 1] - begin
            if size == 0 or i + size > len(line):
                continue
            k = 0
            while k < size and _lower(line[i + k]) == phrases[begin + k]:
                k += 1
            if k == size:
                found[phrase] = True


@compiled
def _citation(line: Bytes, i: int) -> int:
    """How many bytes the citation has that begins here with a bracket: [12], [], [edit], [citation needed]; or 0."""
    k = i + 1
    while k < len(line) and 48 <= line[k] <= 57:
        k += 1
    if k < len(line) and line[k] == 93:
        return k + 1 - i
    for marker in (b"[edit]", b"[citation needed]"):
        k = 0
        while k < len(marker) and i + k < len(line) and line[i + k] == marker[k]:
            k += 1
        if k == len(marker):
            return k
    return 0


@compiled
def _ends_with(line: Bytes, endings: Bytes, bounds: Numbers) -> bool:
    """Whether it ends with one of the endings, but not with three dots."""
    size = len(line)
    if size >= 3 and line[size - 1] == 46 and line[size - 2] == 46 and line[size - 3] == 46:
        return False
    for ending in range(len(bounds) - 1):
        begin, end = bounds[ending], bounds[ending + 1]
        k = 0
        while k < end - begin and k < size and line[size - 1 - k] == endings[end - 1 - k]:
            k += 1
        if k == end - begin:
            return True
    return False


@compiled
def _sentences(line: Bytes, ends: Codes) -> int:
    """One more than the places where a sentence ends and another one follows.

    It ends with .!? (a quotation mark or bracket may follow) before white space, or with a sentence's end of another
    script.
    """
    count = 1
    last = len(line) - 1
    i = 0
    pending = closed = False
    while i <= last:
        first = line[i]
        if first < 0x80:
            if _white(first, 0, 0):
                closed = pending
            elif first == 46 or first == 33 or first == 63:
                count += closed
                pending, closed = True, False
            elif not (pending and not closed and (first == 34 or first == 39 or first == 41 or first == 93)):
                count += closed
                pending = closed = False
            i += 1
            continue
        width = _white(first, line[min(i + 1, last)], line[min(i + 2, last)])
        if width:
            closed = pending
            i += width
            continue
        if _is_one_of(_code_at(line, i), ends):
            pending = closed = True
        else:
            count += closed
            pending = closed = False
        i += 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    return count


@compiled
def c4_lines(
    data: Bytes,
    offsets: Numbers,
    limits: Numbers,
    endings: Bytes,
    ending_bounds: Numbers,
    phrases: Bytes,
    phrase_bounds: Numbers,
    ends: Codes,
) -> tuple[Numbers, Numbers, Numbers]:
    """C4's rules: why each document is dropped, int64[rows] (-1: it is not), its sentences, int64[rows], and the cuts.

    limits: words per line at least, characters per word at most, whether citations are cut, a curly bracket drops the
    document, and sentences at least. phrases: of "lorem ipsum", then of javascript, then of policies; empty ones are
    never found. Returns the cuts of the kept documents as int64[cuts, 4]: row, begin and end byte in it, why.
    """
    rows = len(offsets) - 1
    dropped = np.full(rows, -1, np.int64)
    sentences = np.zeros(rows, np.int64)
    cuts = np.empty((1024, 4), np.int64)
    firsts = np.zeros(256, np.uint8)
    for phrase in range(len(phrase_bounds) - 1):
        if phrase_bounds[phrase] < phrase_bounds[phrase + 1]:
            letter = phrases[phrase_bounds[phrase]]
            firsts[letter] = 1
            if 97 <= letter <= 122:
                firsts[letter - 32] = 1
    found = np.zeros(len(phrase_bounds) - 1, np.bool_)
    clean = np.empty(_longest(offsets), np.uint8)
    cut = 0
    for row in range(rows):
        text = data[offsets[row] : offsets[row + 1]]
        first_cut = cut
        last = len(text) - 1
        begin = 0
        while begin <= last and dropped[row] < 0:
            end = begin
            width = 0
            while end <= last:
                width = _line_end(text[end], text[min(end + 1, last)], text[min(end + 2, last)])
                if width:
                    break
                end += 1
            next_line = min(end + width, last + 1)
            if cut + (end - begin) // 2 + 2 > len(cuts):
                grown = np.empty((2 * len(cuts) + end - begin, 4), np.int64)
                grown[:cut] = cuts[:cut]
                cuts = grown
            line = _trimmed(text[begin:end])
            before_citations = cut
            reason = -1
            size = words = longest = length = i = 0
            start = begin + _first_character(text[begin:end])
            while i < len(line):
                gap = _white(line[i], line[min(i + 1, len(line) - 1)], line[min(i + 2, len(line) - 1)])
                length = 0 if gap else length + ((line[i] & 0xC0) != 0x80)
                longest = max(longest, length)
                skip = _citation(line, i) if limits[2] and line[i] == 91 else 0
                if skip:
                    cuts[cut, 0], cuts[cut, 1], cuts[cut, 2], cuts[cut, 3] = row, start + i, start + i + skip, CITATION
                    cut += 1
                    # its characters belong to the word, of which it may be the whole
                    for k in range(i + 1, i + skip):
                        length = 0 if line[k] == SPACE else length + 1
                        longest = max(longest, length)
                    i += skip
                    continue
                for k in range(max(gap, 1)):
                    clean[size + k] = line[i + k]
                size += max(gap, 1)
                i += max(gap, 1)
            line = clean[:size]
            inside = False
            i = 0
            while i < size:
                gap = _white(line[i], line[min(i + 1, size - 1)], line[min(i + 2, size - 1)])
                words += gap == 0 and not inside
                inside = gap == 0
                i += max(gap, 1)
            if longest > limits[1]:
                reason = LONG_WORD
            elif len(ending_bounds) > 1 and not _ends_with(line, endings, ending_bounds):
                reason = NO_LINE_END
            elif words < limits[0]:
                reason = FEW_WORDS
            else:
                _phrase(line, phrases, phrase_bounds, firsts, found)
                bracket = False
                if limits[3]:
                    for byte in line:
                        bracket |= byte == 123
                if found[0]:
                    dropped[row] = LOREM_IPSUM
                elif found[1]:
                    reason = JAVASCRIPT
                elif bracket:
                    dropped[row] = CURLY_BRACKET
                elif found[2:].any():
                    reason = POLICY
                elif size:
                    sentences[row] += _sentences(line, ends)
            if reason >= 0:
                cut = before_citations
                cuts[cut, 0], cuts[cut, 1], cuts[cut, 2], cuts[cut, 3] = row, begin, next_line, reason
                cut += 1
            begin = next_line
        if dropped[row] < 0 and sentences[row] < limits[4]:
            dropped[row] = FEW_SENTENCES
        if dropped[row] >= 0:
            cut = first_cut
    return dropped, sentences, cuts[:cut].copy()
