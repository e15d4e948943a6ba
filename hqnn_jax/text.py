"""Words of messages: counts with their nouns, foreign text on one line, and the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: `1 seed`, `8 seeds`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def one_line(text: object, most: int | None = None) -> str:
    """Return text, or what an object says as text, on one line.

    Args:
        text: whatever a message holds.
        most: length in characters from which on the rest is replaced by `…`.
    """
    line = " ".join(str(text).split())
    return line if most is None or len(line) < most else f"{line[:most]}…"


def closest(
    name: str, names: Iterable[str], *, cutoff: float = 0.6, any_case: bool = False
) -> str | None:
    """Return the name most like another, None where none is like it.

    Args:
        name: what was given.
        names: what is known.
        cutoff: the least similarity, from 0 (the nearest, whatever it is) to 1 (equal).
        any_case: whether names that differ in capitals are alike.
    """
    spelled = {known.lower() if any_case else known: known for known in names}
    given = name.lower() if any_case else name
    found = difflib.get_close_matches(given, spelled, n=1, cutoff=cutoff)
    return spelled[found[0]] if found else None


def did_you_mean(
    name: str, names: Iterable[str], *, cutoff: float = 0.6, any_case: bool = False
) -> str:
    """Return `did you mean 'accuracy'? ` for the closest of some names, nothing without one."""
    near = closest(name, names, cutoff=cutoff, any_case=any_case)
    return "" if near is None else f"did you mean {near!r}? "
