"""How much memory a traced program needs at once, from its jaxpr: nothing is compiled.

The compiler computes chains of elementwise operations in one pass over their inputs, so that what
is between them takes no memory: an array counts where an operation that needs all of it at once, as
a convolution, makes or reads it, or where a program is called or left with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

_FUSED = frozenset(
    [
        "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh",
        "bitcast_convert_type", "broadcast_in_dim", "cbrt", "ceil", "clamp", "concatenate",
        "convert_element_type", "copy", "cos", "cosh", "div", "eq", "erf", "erf_inv", "exp", "exp2",
        "expand_dims", "expm1", "floor", "ge", "gt", "imag", "integer_pow", "iota", "is_finite",
        "le", "log", "log1p", "logistic", "lt", "max", "min", "mul", "ne", "neg", "nextafter",
        "not", "or", "pad", "pow", "real", "reduce_precision", "rem", "reshape", "rev", "round",
        "rsqrt", "select_n", "shift_left", "shift_right_arithmetic", "shift_right_logical", "sign",
        "sin", "sinh", "slice", "split", "sqrt", "square", "squeeze", "stop_gradient", "sub", "tan",
        "tanh", "transpose", "unstack", "xor",
    ]
)  # fmt: skip
"""Primitives computed together with what reads them."""
_READING_IN_PIECES = frozenset(
    ["argmax", "argmin", "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod",
     "reduce_sum"]
)  # fmt: skip
"""Primitives that read their operands piece by piece: these need not be there as a whole."""
_CALLS = frozenset(
    ["closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr",
     "jit", "pjit"]
)  # fmt: skip
"""Primitives whose jaxpr becomes part of the program around it."""


@dataclass(frozen=True)
class Peak:
    """Bytes at the moment when most are needed.

    Attributes:
        named: the most that a call of the function makes whose name was asked for.
        other: of everything else.
    """

    named: float
    other: float


@dataclass(frozen=True)
class _Opened:
    """An equation in the program as one list, calls opened."""

    eqn: JaxprEqn
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def peak_bytes(closed: ClosedJaxpr, name: str = "") -> Peak:
    """Return how many bytes a program makes at once, beside its inputs.

    Args:
        closed: its jaxpr.
        name: of a jitted function in it, whose part is told apart.
    """
    return _peak(closed.jaxpr, name)


def _peak(jaxpr: Jaxpr, name: str) -> Peak:
    alias: dict[Any, Any] = {}
    steps = list(_opened(jaxpr, alias, name))
    left = (_of(alias, var) for var in jaxpr.outvars)
    kept = {var for var in left if not isinstance(var, Literal)}
    whole = _needed_whole(steps)
    last = _last_uses(steps, kept, whole)
    live: dict[Any, float] = {}
    named = other = 0.0
    ends: dict[int, list[Any]] = {}
    for index, step in enumerate(steps):
        inside = [_peak(inner, name) for inner in _inner(step.eqn)]
        most = max((peak.other for peak in inside), default=0.0)
        named = max([named, *(peak.named for peak in inside)])
        if _is_call_of(step.eqn, name):
            named, most = max(named, most), 0.0
        for var in step.outputs:
            if var in whole and not (var in kept and step.eqn.primitive.name in _FUSED):
                live[var] = _bytes(var)
                ends.setdefault(last.get(var, index), []).append(var)
        other = max(other, sum(live.values()) + most)
        for var in ends.pop(index, ()):
            live.pop(var, None)
    return Peak(named, other)


def _is_call_of(eqn: JaxprEqn, name: str) -> bool:
    return eqn.primitive.name in _CALLS and bool(name) and eqn.params.get("name") == name


def _opened(jaxpr: Jaxpr, alias: dict[Any, Any], name: str) -> Iterator[_Opened]:
    """Yield the equations, those of called jaxprs in the place of the call but for `name`."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in _CALLS and not _is_call_of(eqn, name):
            (called,) = list(_inner(eqn))[:1]
            given = eqn.invars[len(eqn.invars) - len(called.invars) :]
            alias |= {
                inner: _of(alias, outer) for inner, outer in zip(called.invars, given, strict=True)
            }
            yield from _opened(called, alias, name)
            made = zip(eqn.outvars, called.outvars, strict=True)
            alias |= {outer: _of(alias, inner) for outer, inner in made}
        else:
            read = (_of(alias, var) for var in eqn.invars)
            inputs = tuple(var for var in read if not isinstance(var, Literal))
            yield _Opened(eqn, inputs, tuple(eqn.outvars))


def _of(alias: dict[Any, Any], var: Any) -> Any:
    """Return the variable of the whole program that one stands for, or the literal."""
    return var if isinstance(var, Literal) else alias.get(var, var)


def _needed_whole(steps: Sequence[_Opened]) -> set[Any]:
    """Return the variables that are in memory as a whole."""
    whole: set[Any] = set()
    for step in steps:
        primitive = step.eqn.primitive.name
        if primitive not in _FUSED:
            whole.update(step.outputs)
        if primitive not in _FUSED and primitive not in _READING_IN_PIECES:
            whole.update(step.inputs)
    return whole


def _last_uses(steps: Sequence[_Opened], kept: set[Any], whole: set[Any]) -> dict[Any, int]:
    """Return the last step that reads a variable, or what is computed from it on the way."""
    last: dict[Any, int] = dict.fromkeys(kept, len(steps))
    for index in reversed(range(len(steps))):
        step = steps[index]
        until = index
        for var in step.outputs:
            if var not in whole and step.eqn.primitive.name in _FUSED:
                until = max(until, last.get(var, index))
        for var in step.inputs:
            last[var] = max(last.get(var, 0), until)
    return last


def _inner(eqn: JaxprEqn) -> Iterator[Jaxpr]:
    """Yield the jaxprs of an equation."""
    for value in eqn.params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            if isinstance(each, ClosedJaxpr):
                yield each.jaxpr
            elif isinstance(each, Jaxpr):
                yield each


def _bytes(var: Any) -> float:
    aval = var.aval
    shape = getattr(aval, "shape", ())
    itemsize = getattr(getattr(aval, "dtype", None), "itemsize", 8)
    return float(math.prod(shape) * itemsize)
