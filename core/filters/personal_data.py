"""Replaces e-mail addresses, public IP addresses and telephone numbers. It drops nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from core.documents.ledger import SPANS, Verdict
from core.documents.table import buffers, content
from core.filters.judging import Filter, judge

DIGITS = b"0123456789"
ALPHANUMERIC = DIGITS + b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
WORD = ALPHANUMERIC + b"_"
ATOM = rb"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
DOMAIN_LABEL = rb"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
LOCAL_PART = re.compile(rb"\b" + ATOM + rb"(?:\." + ATOM + rb")*\Z")
DOMAIN = re.compile(rb"(?:" + DOMAIN_LABEL + rb"\.)+[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])")
LOCAL_PART_SIZE, DOMAIN_SIZE = 64, 255  # bytes at most: RFC 5321, section 4.5.3.1
PHONE = re.compile(
    rb"(?<![\d.+-])(?:"
    rb"\+[1-9]\d{0,2}(?:[ .-]?(?:\(\d{1,4}\)|\d{1,4})){2,6}"  # +44 20 7946 0958
    rb"|(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[.-])[2-9]\d\d[.-]\d{4}"  # (212) 555-0123
    rb")(?![.-]?\d)"
)
PHONE_DIGITS = range(8, 16)  # E.164: 15 at most

Found = tuple[int, int]


class PersonalData(Filter):
    """What stands instead of personal data; null leaves that kind as it is. The defaults belong to nobody."""

    email: str | None = Field("email@example.com", description="Instead of e-mail addresses. RFC 2606's domain.")
    ip_address: str | None = Field("192.0.2.1", description="Instead of public IPv4 addresses. RFC 5737's block.")
    ipv6_address: str | None = Field("2001:db8::1", description="Instead of public IPv6 addresses. RFC 3849's block.")
    phone_number: str | None = Field(
        "555-0100", description="Instead of telephone numbers. Reserved for fiction in North America."
    )


def personal_data(documents: pa.Table, options: PersonalData) -> Verdict:
    """Finds personal data in a table of DOCUMENTS: spans with their replacement, without evidence. It drops nothing.

    Reasons: email, ip_address (both versions), phone_number; of two that overlap the one that begins first.

    The limits: an e-mail address has a dot and letters at its end, so neither "a@localhost" nor "react@18.2.0" is one,
    and only ASCII. An IP address is public if `ipaddress` says that it is global; one of version 6 begins with 2 or 3,
    as all that were given out do. Four numbers with dots may be a version and are replaced, unless they touch letters.
    A telephone number is written with + and the country's, or as in North America with area code and separators;
    others cannot be told from other numbers. Words around ("call") are not looked at.
    datatrove's PIIFormatter agrees but for IPv6 and telephones, which it leaves, and for what it takes besides:
    "11.4.0.15" out of "11.4.0.15.0", "react@18.2.0", addresses at [8.8.8.8].
    """

    def judged(chosen: pa.Table) -> Verdict:
        data, offsets = buffers(content(chosen))
        nothing = pa.nulls(chosen.num_rows, pa.string())
        taken: list[tuple[int, int, int, str, str]] = []
        for reason, replacement, (kinds, least, search) in (
            ("email", options.email, (_kinds(ALPHANUMERIC + b"!#$%&'*+/=?^_`{|}~-.", b"@"), 1, _emails)),
            ("ip_address", options.ip_address, (_kinds(DIGITS, b"."), 3, _ipv4)),
            ("ip_address", options.ipv6_address, (_kinds(DIGITS + b"abcdefABCDEF.", b":"), 2, _ipv6)),
            ("phone_number", options.phone_number, (_kinds(b" ().+-", DIGITS), PHONE_DIGITS.start, _phones)),
        ):
            if replacement is not None:
                found = _search(data, offsets, kinds, least, search)
                taken += [(row, begin, end, reason, replacement) for row, begin, end in found]
        return Verdict(nothing, nothing, _spans(taken))

    return judge(documents, options, judged)


def _kinds(members: bytes, marks: bytes) -> NDArray[np.uint8]:
    kinds = np.zeros(256, np.uint8)
    kinds[list(members)] = 1
    kinds[list(marks)] = 2
    return kinds


def _search(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    kinds: NDArray[np.uint8],
    least: int,
    search: Callable[[bytes, bytes, bytes], Iterator[Found]],
) -> Iterator[tuple[int, int, int]]:
    """Row, begin and end byte of what a search finds in the runs of bytes that it could be in."""
    from core.filters.run_kernels import runs

    for row, begin, end in runs(data, offsets, kinds, least).tolist():
        start, stop = int(offsets[row]), int(offsets[row + 1])
        before = data[max(start, start + begin - 1) : start + begin].tobytes()
        after = data[start + end : min(stop, start + end + 1)].tobytes()
        for first, last in search(data[start + begin : start + end].tobytes(), before, after):
            yield row, begin + first, begin + last


def _emails(run: bytes, before: bytes, after: bytes) -> Iterator[Found]:
    done = 0
    at = run.find(b"@")
    while at >= 0:
        domain = DOMAIN.match(run, at + 1, at + 1 + DOMAIN_SIZE)
        local_part = domain and LOCAL_PART.search(run, max(done, at - LOCAL_PART_SIZE), at)
        if domain and local_part:
            yield local_part.start(), domain.end()
            done = domain.end()
        at = run.find(b"@", at + 1)


def _ipv4(run: bytes, before: bytes, after: bytes) -> Iterator[Found]:
    address = run.rstrip(b".")
    if _touches(before) or _touches(after):
        return
    try:
        if IPv4Address(address.decode()).is_global:
            yield 0, len(address)
    except AddressValueError:
        return


def _ipv6(run: bytes, before: bytes, after: bytes) -> Iterator[Found]:
    address = run.rstrip(b".")
    if run.endswith(b":") and not run.endswith(b"::"):
        address = run[:-1]
    if _touches(before) or _touches(after):
        return
    try:
        found = IPv6Address(address.decode())
    except AddressValueError:
        return
    if found.is_global and int(found) >> 125 == 1:
        yield 0, len(address)


def _phones(run: bytes, before: bytes, after: bytes) -> Iterator[Found]:
    for match in PHONE.finditer(run):
        begin, end = match.span()
        touching = (begin == 0 and _touches(before)) or (end == len(run) and _touches(after))
        digits = sum(byte in DIGITS for byte in match.group())
        if digits in PHONE_DIGITS and not touching:
            yield begin, end


def _touches(neighbour: bytes) -> bool:
    """Whether the byte beside a run, empty at the end of the text, makes it a part of a word."""
    return bool(neighbour) and neighbour in WORD


def _spans(taken: list[tuple[int, int, int, str, str]]) -> pa.Table:
    """SPANS in order; of those that overlap the one that begins first, and of such the first in the list."""
    kept: list[tuple[int, int, int, str, str]] = []
    for _, span in sorted(enumerate(taken), key=lambda numbered: (*numbered[1][:2], numbered[0])):
        if not kept or kept[-1][0] != span[0] or kept[-1][2] <= span[1]:
            kept.append(span)
    columns = list(zip(*kept, strict=True)) or [()] * 5
    return pa.table(
        [*map(pa.array, columns, [field.type for field in SPANS][:5]), pa.nulls(len(kept), pa.string())], SPANS
    )
