"""Arithmetic on complex numbers as arithmetic on pairs of real ones."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn
from jaxtyping import Array

from hqnn_jax.errors import ExportError
from hqnn_jax.exporting.interpreter import bind, interpreted

_SAME_FOR_BOTH = frozenset(
    ["add", "add_any", "broadcast_in_dim", "concatenate", "copy", "dynamic_slice", "expand_dims",
     "gather", "neg", "pad", "reduce_sum", "reshape", "rev", "select_n", "slice", "split",
     "squeeze", "stack", "sub", "transpose", "unstack"]
)  # fmt: skip
_PRODUCTS = frozenset(["dot_general", "mul"])


_OF_ONE = {
    "real": lambda pair: pair.real,
    "imag": lambda pair: pair.imag,
    "conj": lambda pair: ComplexPair(pair.real, -pair.imag),
}
Apply = Callable[..., Sequence[Any]]


Real = Array | np.ndarray
"""An array that is traced, or one that is known."""


class ComplexPair(NamedTuple):
    """A complex array."""

    real: Real
    imag: Real


def in_pairs(closed: ClosedJaxpr, inputs: Array, apply: Apply = bind) -> Array:
    """Evaluate a jaxpr without calls, of one real array, on real numbers alone.

    Args:
        closed: the jaxpr; its output is real.
        inputs: the array.
        apply: applies an equation's operation to real operands, perhaps with other parameters.

    Raises:
        ExportError: for an operation on complex numbers that has no rule here.
    """
    (output,) = interpreted(closed, [inputs], functools.partial(_rule, apply))
    return output


def _rule(apply: Apply, eqn: JaxprEqn, operands: list[Any]) -> Sequence[Any]:
    name = eqn.primitive.name
    out: Any = eqn.outvars[0].aval
    if name == "complex":
        return [ComplexPair(*operands)]
    if name == "convert_element_type" and jnp.issubdtype(out.dtype, jnp.complexfloating):
        dtype = jnp.finfo(out.dtype).dtype
        pair = _pair(operands[0])
        return [ComplexPair(*(apply(eqn, [part], new_dtype=dtype)[0] for part in pair))]
    if not any(map(_is_complex, operands)):
        return apply(eqn, operands)
    pairs = [_pair(operand) if _is_complex(operand) else operand for operand in operands]
    if name in _SAME_FOR_BOTH:
        parts = (apply(eqn, [_part(pair, which) for pair in pairs]) for which in (0, 1))
        return [ComplexPair(real, imag) for real, imag in zip(*parts, strict=True)]
    if name in _PRODUCTS:
        return [_product(apply, eqn, *map(_pair, pairs))]
    if name not in _OF_ONE:
        raise ExportError(f"operation '{name}' on complex numbers has no counterpart")
    return [_OF_ONE[name](pairs[0])]


def _product(apply: Apply, eqn: JaxprEqn, left: ComplexPair, right: ComplexPair) -> ComplexPair:
    real = {"preferred_element_type": left.real.dtype} if eqn.primitive.name != "mul" else {}

    def product(a: Real, b: Real) -> Array:
        return apply(eqn, [a, b], **real)[0]

    return ComplexPair(
        product(left.real, right.real) - product(left.imag, right.imag),
        product(left.real, right.imag) + product(left.imag, right.real),
    )


def _is_complex(operand: Any) -> bool:
    return isinstance(operand, ComplexPair) or jnp.iscomplexobj(operand)


def _pair(operand: Any) -> ComplexPair:
    if isinstance(operand, ComplexPair):
        return operand
    if not _is_complex(operand):
        return ComplexPair(operand, jnp.zeros_like(operand))
    # Known: with jnp it would be an operation on complex numbers again.
    array = np.asarray(operand)
    return ComplexPair(array.real, array.imag)


def _part(operand: Any, which: int) -> Any:
    return operand[which] if isinstance(operand, ComplexPair) else operand
