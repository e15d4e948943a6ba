"""How numbers are written for people: the only place.

Fractions are written in per cent and their differences in percentage points, both without the
unit. What is None, NaN or infinite is `UNDEFINED`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

UNDEFINED = "—"


def defined(value: float | int | None) -> float | None:
    """Return a number, None for NaN and infinity."""
    return None if value is None or not math.isfinite(value) else float(value)


def fixed(value: float | int | None, decimals: int) -> str:
    """Write a number with so many decimals: `0.0312`."""
    return UNDEFINED if defined(value) is None else f"{value:.{decimals}f}"


def signed(value: float | int | None, decimals: int) -> str:
    """Write a number with its sign, and zero without one: `−0.012`, `+0.3`, `0.0`."""
    if defined(value) is None:
        return UNDEFINED
    text = f"{value:+.{decimals}f}"
    return text[1:] if not float(text) else text.replace("-", "−")


def percent(value: float | int | None, decimals: int = 2) -> str:
    """Write a fraction in per cent: 0.9658 -> `96.58`."""
    return fixed(None if value is None else 100 * value, decimals)


def interval(bounds: Sequence[float | int] | None, decimals: int = 2) -> str:
    """Write an interval of fractions in per cent: `96.01–97.12`."""
    return _joined(bounds, "–", lambda bound: percent(bound, decimals))


def with_interval(
    value: float | int | None, bounds: Sequence[float | int] | None, decimals: int = 2
) -> str:
    """Write a fraction with its interval in per cent: `92.60 (88.71–95.29)`."""
    return f"{percent(value, decimals)} ({interval(bounds, decimals)})"


def with_deviation(mean: float | None, deviation: float | None, decimals: int = 2) -> str:
    """Write the mean of fractions with their deviation, if there is one: `97.43 ± 0.18`."""
    text = percent(mean, decimals)
    if defined(mean) is None or defined(deviation) is None:
        return text
    return f"{text} ± {percent(deviation, decimals)}"


def points(value: float | int | None, decimals: int = 2) -> str:
    """Write a difference of fractions in percentage points with its sign: `+0.26`."""
    return signed(None if value is None else 100 * value, decimals)


def points_interval(bounds: Sequence[float | int] | None, decimals: int = 2) -> str:
    """Write an interval of differences in percentage points: `−0.10 to +0.61`."""
    return _joined(bounds, " to ", lambda bound: points(bound, decimals))


def points_with_interval(
    value: float | int | None, bounds: Sequence[float | int] | None, decimals: int = 2
) -> str:
    """Write a difference with its interval in percentage points: `+0.26 (−0.10 to +0.61)`."""
    return f"{points(value, decimals)} ({points_interval(bounds, decimals)})"


def decimals_for(bounds: Sequence[float] | None) -> int:
    """Return the decimals (of per cent) that show two digits of half an interval's width."""
    half = math.nan if bounds is None else 50 * (bounds[1] - bounds[0])
    if not math.isfinite(half) or half <= 0:
        return 2
    return min(max(1 - math.floor(math.log10(half)), 0), 4)


def p_value(value: float | None) -> str:
    """Write a p-value with three decimals: `0.031`, `<0.001`."""
    number = defined(value)
    return "<0.001" if number is not None and number < 0.001 else fixed(number, 3)


def p_equals(value: float | None) -> str:
    """Write what a p-value is: `p = 0.031`, `p <0.001`."""
    text = p_value(value)
    return f"p {text if text.startswith('<') else f'= {text}'}"


def effect_size(value: float | None) -> str:
    """Write an effect size with its sign, that of what rounds to zero too: `−0.52`, `+0.00`."""
    return UNDEFINED if defined(value) is None else f"{value:+.2f}".replace("-", "−")


def short(value: float, digits: int = 6) -> str:
    """Write a number in as few digits as it has, at most so many: `0.05`, `1e-05`."""
    return f"{value:.{digits}g}"


def level(share: float) -> str:
    """Write a confidence level or a power in as few digits as it has: 0.95 -> `95 %`."""
    return f"{short(100 * share, 10)} %"


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


def count(value: float | int | None) -> str:
    """Write a count with thousands separators: `4,007,548`."""
    if value is None:
        return UNDEFINED
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


def _joined(
    bounds: Sequence[float | int] | None, between: str, write: Callable[[float | int], str]
) -> str:
    if bounds is None or None in map(defined, bounds):
        return UNDEFINED
    return between.join(map(write, bounds))
