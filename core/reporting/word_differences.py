"""Two texts held against each other word by word."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

LONGEST = 2000  # characters of each that are compared: the time grows with their product
# A word, or a letter of a script that puts no spaces between words, or one other character.
_WORDS = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\W぀-ヿ㐀-鿿가-힯]+|\s+|.", re.DOTALL)

Piece = tuple[str, str]  # text; "", "ins" or "del"


def word_differences(kept: str, removed: str, cut_at: int) -> list[Piece]:
    """The removed text in pieces: as in the kept one (""), only here ("ins"), and words of the kept one that are
    not here ("del"), where they would stand.

    cut_at: texts of this many characters are beginnings of longer ones; what one of them has beyond the end of the
    other is then no difference.
    """
    kept_cut, removed_cut = len(kept) >= cut_at, len(removed) >= cut_at
    old, new = (_WORDS.findall(text[:LONGEST]) for text in (kept, removed))
    pieces: list[Piece] = []
    for kind, old_begin, old_end, new_begin, new_end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = "".join(old[old_begin:old_end]), "".join(new[new_begin:new_end])
        last = old_end == len(old) and new_end == len(new)
        # The last word of a text that was cut may be the beginning of one.
        beyond = last and ((kept_cut and come.startswith(gone)) or (removed_cut and gone.startswith(come)))
        if kind == "equal" or beyond:
            pieces.append((come, ""))
            continue
        pieces += [(text, mark) for text, mark in ((gone, "del"), (come, "ins")) if text]
    rest = removed[LONGEST:]
    return [*pieces, (rest, "")] if rest else pieces
