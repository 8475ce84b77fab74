"""How numbers and foreign text are written on every page: the same digits wherever the same number stands."""

from __future__ import annotations

import datetime
import math


def count(value: float) -> str:
    """12345 -> '12,345'"""
    return f"{value:,.0f}" if math.isfinite(value) else _not_finite(value)


def short_count(value: float) -> str:
    """3412000 -> '3.41 M', for headlines and axes; three significant digits."""
    for unit_size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * unit_size or (unit != "k" and abs(value) >= unit_size):
            return f"{_three_digits(value / unit_size)} {unit}"
    return count(value)


def size(value: float) -> str:
    """1234567 -> '1.23 MB' (powers of 1000)"""
    for unit_size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= unit_size:
            return f"{_three_digits(value / unit_size)} {unit}"
    return f"{value:.0f} B"


def decimal(value: float) -> str:
    """0.93 -> '0.930'"""
    return f"{value:,.3f}" if math.isfinite(value) else _not_finite(value)


def signed(value: float) -> str:
    """0.677 -> '+0.677', with a true minus sign"""
    return f"{value:+,.3f}".replace("-", "−") if math.isfinite(value) else _not_finite(value)


def percent(value: float) -> str:
    """0.997 -> '99.7 %'"""
    return f"{100 * value:.1f} %" if math.isfinite(value) else _not_finite(value)


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
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


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


def cut(text: str, longest: int) -> str:
    """A text's beginning, and how much is left out."""
    return text if len(text) <= longest else f"{text[:longest]} … [{count(len(text) - longest)} more characters]"


def by_reason(amounts: dict[str, int]) -> str:
    """{"too_short": 100} -> "too_short 100" """
    return ", ".join(f"{name} {count(n)}" for name, n in sorted(amounts.items(), key=lambda item: -item[1])) or "–"


def visible(text: str) -> str:
    """Text from data, made safe to print: what cannot be seen or would turn the reading order is shown by name.

    Tabs and line ends stay; other C0 controls become their pictures (U+2400...), the rest of the controls and
    the bidirectional overrides become [U+202E], and lone surrogates, which no UTF-8 file can hold, U+FFFD.
    """
    return text.translate(_VISIBLE)


_VISIBLE: dict[int, int | str] = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\t\n"},
    0x0D: "",
    0x7F: 0x2421,
    **{code: f"[U+{code:04X}]" for code in (*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))},
    **{code: f"[U+{code:04X}]" for code in (0x2028, 0x2029, 0xFFFE, 0xFFFF)},
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),
}


def _three_digits(value: float) -> str:
    magnitude = abs(value)
    return f"{value:.2f}" if magnitude < 9.995 else f"{value:.1f}" if magnitude < 99.95 else f"{value:.0f}"


def _not_finite(value: float) -> str:
    return "not a number" if math.isnan(value) else "∞" if value > 0 else "−∞"
