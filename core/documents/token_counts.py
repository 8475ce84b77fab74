"""How many tokens a text has, counted without a tokenizer: an estimate, the same for every recipe.

A run of letters, digits and underscores counts one, like any other character that is no white space. Characters of
scripts that put no space between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) count one each. Combining marks
and characters that only join or format belong to what stands before them and count nothing. What a letter is, is what
`\\w` says in this Python's Unicode.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

CODE_POINTS = 0x110000
# First and last code point of the blocks of scripts without spaces (https://www.unicode.org/Public/UNIDATA/Blocks.txt).
UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic iteration mark, closing mark and zero
    (0x3040, 0x30FF),  # hiragana, katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # ideographs
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),  # Burmese
    (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF),  # ideographs
    (0xFF66, 0xFF9F),  # katakana of half width
    (0x1AFF0, 0x1B16F),  # kana
    (0x20000, 0x3FFFF),  # ideographs
)


def count_tokens(content: pa.LargeStringArray) -> NDArray[np.int64]:
    """The tokens of each text, int64[rows]; 0 where it is null. Any other type of strings is cast."""
    from core.documents.token_count_kernels import counts

    if content.type != pa.large_string():
        content = content.cast(pa.large_string())
    if content.null_count:
        content = pc.fill_null(content, "")
    if not len(content):
        return np.zeros(0, np.int64)
    _, starts, text = content.buffers()
    data = np.frombuffer(text if text is not None else b"", np.uint8)
    offsets = np.frombuffer(starts, np.int64)[content.offset : content.offset + len(content) + 1]
    data.flags.writeable = False  # one type of arguments, so that the kernel is compiled once
    offsets.flags.writeable = False
    found: NDArray[np.int64] = counts(data, offsets, *character_classes())
    return found


@cache
def character_classes() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The class of each byte uint8[256] and of each code point uint8[0x110000], as the kernel has them."""
    from core.documents.token_count_kernels import BETWEEN, INSIDE, SILENT, SINGLE

    classes = np.full(CODE_POINTS, SINGLE, np.uint8)
    codes = np.concatenate([np.arange(0xD800), np.arange(0xE000, CODE_POINTS)])  # all but the surrogates
    text = codes.astype("<u4").tobytes().decode("utf-32-le")
    for pattern, kind in ((r"\w+", INSIDE), (r"\s+", BETWEEN)):
        for run in re.finditer(pattern, text):
            classes[codes[run.start() : run.end()]] = kind
    for begin, end in UNSPACED:
        block = classes[begin : end + 1]
        block[block == INSIDE] = SINGLE
    for code in (*range(0x80, 0x20000), *range(0xE0000, 0xE0200)):  # there are none elsewhere
        if unicodedata.category(chr(code)) in ("Mn", "Mc", "Me", "Cf") and classes[code] == SINGLE:
            classes[code] = SILENT
    first = np.zeros(256, np.uint8)
    first[:128] = classes[:128]
    return first, classes
