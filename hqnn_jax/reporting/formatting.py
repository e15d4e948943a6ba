"""How numbers are written in a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

UNDEFINED = "—"


def percent(value: float | int | None) -> str:
    """Write a fraction in per cent without the sign: 0.9658 -> `96.58`."""
    return UNDEFINED if value is None else f"{100 * value:.2f}"


def interval(bounds: Sequence[float | int] | None) -> str:
    """Write an interval of fractions in per cent: `96.01–97.12`."""
    return UNDEFINED if bounds is None else f"{100 * bounds[0]:.2f}–{100 * bounds[1]:.2f}"


def points(value: float | int | None) -> str:
    """Write a difference of fractions in percentage points with its sign: `+0.26`."""
    if value is None:
        return UNDEFINED
    text = f"{100 * value:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text.replace("-", "−")


def duration(seconds: float | int | None) -> str:
    """Write a time in seconds in the units people think in: `1 h 23 min`, `12 min 03 s`."""
    if seconds is None:
        return UNDEFINED
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def count(value: float | int) -> str:
    """Write a count with thousands separators: `4,007,548`."""
    return f"{value:,.0f}" if value == round(value) else f"{value:,.1f}"


def inline(value: Any) -> str:
    """Write any JSON value on one line, nested mappings in brackets."""
    if isinstance(value, Mapping):
        return ", ".join(
            f"{key} ({inline(item)})" if isinstance(item, Mapping) else f"{key}: {inline(item)}"
            for key, item in value.items()
        )
    if isinstance(value, list | tuple):
        return ", ".join(inline(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    return UNDEFINED if value is None or value == "" else str(value)
