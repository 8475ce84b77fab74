"""Licence headers of source files: which licence they name, and where they stand."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from core.documents.ledger import SPANS

TOP = 10_000  # characters in which a header is looked for
TAG = r"SPDX-License-Identifier:[ \t]*(?P<licence>[A-Za-z0-9.+() \t-]*[A-Za-z0-9.+)])"
# By telling phrases, in lower case, with single spaces; the first that fits. A name without a version: any of them.
PHRASES = {
    "AGPL": r"gnu affero general public licen[sc]e",
    "LGPL": r"gnu (?:lesser|library) general public licen[sc]e",
    "GPL": r"gnu general public licen[sc]e",
    "Apache-2.0": r"apache licen[sc]e,? (?:version )?2\.0|apache\.org/licenses/license-2\.0",
    "MPL-2.0": r"mozilla public licen[sc]e,? (?:version |v ?\. ?)?2\.0",
    "BSD-3-Clause": r"redistribution and use in source and binary forms.*neither the name|3-clause bsd|bsd 3-clause",
    "BSD-2-Clause": r"redistribution and use in source and binary forms|2-clause bsd|bsd 2-clause",
    "BSD": r"\bbsd(?:-style)? licen[sc]e",
    "MIT": r"permission is hereby granted, free of charge|\bmit(?:-style)? licen[sc]e",
    "ISC": r"permission to use, copy, modify,? and(?:/or| or)? distribute this software|\bisc licen[sc]e",
    "Unlicense": r"free and unencumbered software released into the public domain",
}
COMMENT_SIGNS = r"[\s#*/;%!]+"  # between the words of a phrase that goes over several lines
BEFORE = r"(?:\x{FEFF})?(?:#![^\n]*\n|[ \t]*#[^\n]*coding[:=][^\n]*\n|<\?(?:php|xml)[^\n]*\n|[ \t]*\r?\n)*"
COMMENT = (
    r"[ \t]*/\*(?s:.*?)\*/[ \t]*(?:\r?\n|\z)|<!--(?s:.*?)-->[ \t]*(?:\r?\n|\z)"
    r"|(?:[ \t]*(?:#(?:[^a-z\n][^\n]*)?|(?://|--|;|%)[^\n]*)(?:\n|\z))+"  # not #include
)
HEADER = rf"\A(?P<before>{BEFORE})(?P<header>(?:{COMMENT})(?:[ \t]*\r?\n)*)"


def licence(texts: pa.Array) -> pa.Array:
    """What the top of each text names: an SPDX tag as it stands there, or a name from `PHRASES`; null for nothing."""
    top = pc.utf8_slice_codeunits(texts, 0, TOP)
    found = pc.struct_field(pc.extract_regex(top, TAG), "licence").cast(pa.string())
    flat = pc.replace_substring_regex(pc.utf8_lower(top), COMMENT_SIGNS, " ")
    for name, phrase in PHRASES.items():
        if found.null_count == 0:
            break
        named = pc.and_(pc.is_null(found), pc.match_substring_regex(flat, phrase))
        found = pc.if_else(named, name, found)
    return found


def check_licence(name: str) -> None:
    """Raises ValueError for a name that no file can have: `is_allowed` compares it with single SPDX identifiers.

    Tags hold more identifiers than `PHRASES`, so whether a licence of that name exists is not asked.
    """
    if not re.fullmatch(r"[A-Za-z0-9.-]+", name):
        nearest = difflib.get_close_matches(name, PHRASES, n=1, cutoff=0.5)
        hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
        raise ValueError(
            f"'{name}' is no SPDX identifier (letters, digits, . and - only), so no file would have it; "
            f"known without a tag: {', '.join(PHRASES)}{hint}"
        )


def is_allowed(found: str, allowed: Sequence[str]) -> bool:
    """Whether an SPDX expression can be kept to by licences that are allowed, each with its versions: GPL, GPL-2.0.

    Of `A OR B` one must be allowed, of `A AND B` both; AND binds more, and brackets are not looked at.
    """
    names = [name.lower() for name in allowed]

    def one(identifier: str) -> bool:
        bare = re.split(r"(?i)\s+with\s+", identifier.strip(" \t()"))[0].lower().rstrip("+")
        return any(bare == name or bare.startswith(f"{name}-") for name in names)

    return any(all(map(one, re.split(r"(?i)\s+and\s+", part))) for part in re.split(r"(?i)\s+or\s+", found))


def header_spans(texts: pa.Array) -> pa.Table:
    """SPANS of the licence headers: the first comment of a text, if it speaks of copyright or a licence, as a whole.

    What must stay first is left there: an interpreter (#!), an encoding, an opening tag. After Dolma's rule for
    copyright comments (Soldaini et al. 2024, arXiv:2402.00159, appendix on code), which cuts the comment too.
    """
    parts = pc.extract_regex(pc.utf8_slice_codeunits(texts, 0, TOP), HEADER)
    header = pc.struct_field(parts, "header")
    tells = pc.fill_null(pc.match_substring_regex(header, r"(?i)copyright|licen[sc]e|spdx-"), False)
    rows = pc.indices_nonzero(tells).cast(pa.int64())
    begin = pc.binary_length(pc.struct_field(parts, "before").take(rows)).cast(pa.int64())
    end = pc.add(begin, pc.binary_length(header.take(rows)).cast(pa.int64()))
    reason = pa.repeat(pa.scalar("licence_header"), len(rows))
    columns = [rows, begin, end, reason, pa.nulls(len(rows), pa.large_string()), pa.nulls(len(rows), pa.string())]
    return pa.table(columns, schema=SPANS)
