"""How numbers and foreign text are written on every page: the same digits wherever the same number stands."""

from __future__ import annotations

import datetime
import math
from decimal import ROUND_HALF_UP, Decimal

NBSP = "\u00a0"  # between a number and its unit


def count(value: float) -> str:
    """12345 -> '12,345'"""
    return f"{value:,.0f}" if math.isfinite(value) else _not_finite(value)


def short_count(value: float) -> str:
    """3412000 -> '3.41 M', for headlines and axes; three digits from 100,000 on."""
    for unit_size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(unit_size, 1e5):
            return f"{_three_digits(value / unit_size)}{NBSP}{unit}"
    return count(value)


def size(value: float) -> str:
    """1234567 -> '1.23 MB' (powers of 1000)"""
    for unit_size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit_size:
            return f"{_three_digits(value / unit_size)}{NBSP}{unit}"
    return f"{value:.0f}{NBSP}B"


def decimal(value: float) -> str:
    """0.93 -> '0.930'; half a digit is rounded up, as on paper"""
    return f"{_rounded(value, 3):,.3f}" if math.isfinite(value) else _not_finite(value)


def signed(value: float) -> str:
    """0.677 -> '+0.677', with a true minus sign"""
    return f"{_rounded(value, 3):+,.3f}".replace("-", "−") if math.isfinite(value) else _not_finite(value)


def with_error(value: str, error: float | None) -> str:
    """'0.930', 0.012 -> '0.930 ± 0.012', kept on one line"""
    return value if error is None else f"{value}{NBSP}±{NBSP}{decimal(error)}"


def percent(value: float) -> str:
    """0.997 -> '99.7 %'; a small share is not shown as none"""
    if 0 < value < 0.0005:
        return f"<{NBSP}0.1{NBSP}%"
    return f"{_rounded(100 * value, 1):.1f}{NBSP}%" if math.isfinite(value) else _not_finite(value)


def scientific(value: float) -> str:
    """0.0003 -> '3e-4'"""
    mantissa, _, exponent = f"{value:.3g}".partition("e")
    if exponent or not value or abs(value) >= 0.01:
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def duration(seconds: float) -> str:
    """200.4 -> '3 min 20 s'"""
    if seconds < 10:
        return f"{seconds:.1f}{NBSP}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}{NBSP}h {minutes:02d}{NBSP}min"
    return f"{minutes}{NBSP}min {rest:02d}{NBSP}s" if minutes else f"{rest}{NBSP}s"


def moment(value: str) -> str:
    """'2026-01-31T09:30:00+00:00' -> '2026-01-31 09:30:00 UTC'; anything else is left as it is."""
    try:
        parsed = datetime.datetime.fromisoformat(value)
    except ValueError:
        return value
    if parsed.tzinfo is None:
        return value
    return parsed.astimezone(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def shortened(text: str, length: int) -> str:
    """The beginning of a text, on one line, with an ellipsis where something was cut."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def cut(text: str, longest: int, keep_end: bool = False) -> str:
    """A text's beginning, or its end, and how much is left out. A few-shot prompt ends with its question."""
    left_out = len(text) - longest
    if left_out <= 0:
        return text
    if keep_end:
        return f"[{count(left_out)} characters before] … {text[-longest:]}"
    return f"{text[:longest]} … [{count(left_out)} more characters]"


def by_reason(amounts: dict[str, int]) -> str:
    """{"too_short": 100} -> "too_short 100" """
    return ", ".join(f"{name} {count(n)}" for name, n in sorted(amounts.items(), key=lambda item: -item[1])) or "–"


def visible(text: str) -> str:
    """Text from data, made safe to print: what cannot be seen, or would turn the reading order, is named.

    Controls and bidirectional overrides become e.g. [U+202E]; tabs and line ends stay. Lone surrogates, which no
    UTF-8 file can hold, become U+FFFD.
    """
    return text.translate(_VISIBLE)


_NAMED = [*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF, 0xFFFE, 0xFFFF]
_VISIBLE: dict[int, int | str] = {
    **{code: f"[U+{code:04X}]" for code in _NAMED if chr(code) not in "\t\n\r"},
    ord("\r"): "",
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),
}


def _three_digits(value: float) -> str:
    magnitude = abs(value)
    digits = f"{value:.2f}" if magnitude < 9.995 else f"{value:.1f}" if magnitude < 99.95 else f"{value:.0f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _rounded(value: float, places: int) -> Decimal:
    """Rounds the decimal number that one reads, not the binary one beside it."""
    return Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


def _not_finite(value: float) -> str:
    return "not a number" if math.isnan(value) else "∞" if value > 0 else "−∞"
