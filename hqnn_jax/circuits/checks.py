"""Checks of numbers that users give, and the error for those of the wrong kind."""

import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np

from hqnn_jax.errors import CircuitError
from hqnn_jax.text import one_line


def as_integer(value: object) -> int | None:
    """The Python integer that an integral number of any library equals, None for anything else."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None


def shown(value: object) -> str:
    """A value for messages, which are one line."""
    return one_line(repr(value))


def check_count(where: str, argument: str, value: object, least: int) -> int:
    """Return a number of things as a Python integer.

    Args:
        where: the function or object it is for.
        argument: its name.
        value: the number.
        least: the least that is allowed.

    Raises:
        CircuitError: it is not an integral number (a boolean is none), or less than `least`.
    """
    count = None if isinstance(value, bool) else as_integer(value)
    if count is None or count < least:
        raise CircuitError(
            f"{where}: {argument}={shown(value)}; expected at least {least}, and an integer"
        )
    return count


def check_shape(where: str, argument: str, value: object) -> tuple[int, ...]:
    """Return the shape of an array as a tuple of Python integers.

    Args:
        where: the function or object it is for.
        argument: its name.
        value: the shape.

    Raises:
        CircuitError: it is not a sequence of integral numbers, or one of them is negative.
    """
    if not isinstance(value, Iterable) or isinstance(value, str):
        raise CircuitError(
            f"{where}: {argument}={shown(value)}; expected a tuple of integers, one for each axis"
        )
    return tuple(
        check_count(where, f"{argument}[{axis}]", size, 0) for axis, size in enumerate(value)
    )


def check_number(
    where: str, argument: str, value: object, low: float, high: float, expected: str
) -> float:
    """Return a real number as a Python float.

    Args:
        where: the function or object it is for.
        argument: its name.
        value: the number; NaN, booleans and text are none.
        low: the least that is allowed.
        high: the most that is allowed.
        expected: what is allowed, in words.

    Raises:
        CircuitError: it is no real number, or out of range.
    """
    # A scalar array is a number, too.
    scalar: Any = value
    if getattr(value, "shape", None) == ():
        scalar = scalar.item()
    is_number = isinstance(scalar, Real) and not isinstance(scalar, bool | np.bool_)
    if not is_number or not low <= scalar <= high:
        raise CircuitError(f"{where}: {argument}={shown(value)}; expected {expected}")
    return float(scalar)
