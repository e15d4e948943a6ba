"""What every section of a configuration shares."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

T = TypeVar("T")
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Width = Annotated[int, Field(ge=1, le=65536)]


class Section(BaseModel):
    """A frozen section that refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )


def known(value: str, names: Sequence[str]) -> str:
    """Return `value` if it is one of `names`; the ValueError names the closest one."""
    if value not in names:
        close = difflib.get_close_matches(value, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"{hint}expected one of: {', '.join(names)}")
    return value


def known_part(value: T, names: Sequence[str]) -> T:
    """Return `value` as `known` does, or unchanged where it is no name (null)."""
    if isinstance(value, str):
        known(value, names)
    return value
