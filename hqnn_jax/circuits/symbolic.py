"""Jaxprs evaluated on symbols instead of numbers.

Arrays without symbols stay numeric; an array with symbols is a NumPy array of dtype object whose
elements are numbers, symbols, or `Inexpressible`. A symbol is an object of any other class: what
is computed with it, a table of the caller's says.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from hqnn_jax.circuits.capture.index_bounds import called_jaxpr

Elementwise = Mapping[str, Callable[..., Any]]
"""Primitive -> its function of scalars, one of which at least is a symbol. `add` and `mul` are what
sums and products of several elements are made of."""


@dataclass(frozen=True)
class Inexpressible:
    """Takes the place of a value that has no symbol.

    It makes inexpressible what is computed from it, and nothing else: an angle that does not
    read it is not harmed.

    Attributes:
        primitive: the JAX primitive that has no counterpart.
    """

    primitive: str


def evaluate(closed: ClosedJaxpr, inputs: Sequence[Any], elementwise: Elementwise) -> list[Any]:
    """Return the outputs of a jaxpr, each an array of numbers or an object array with symbols.

    Args:
        closed: the jaxpr.
        inputs: one array for each of its inputs, see `symbols`.
        elementwise: see `Elementwise`; whatever is not in it is `Inexpressible`.
    """
    return _evaluate(closed.jaxpr, closed.consts, inputs, elementwise)


def symbols(elements: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    """Return the object array of these elements, given in C order."""
    array = np.empty(math.prod(shape), object)
    array[:] = list(elements)
    return array.reshape(shape)


# Adding 0 and multiplying by 0 or 1 are left out, so that what comes from a product with a
# constant matrix can be read, and a symbol that does not matter does not appear.
def add(x: Any, y: Any) -> Any:
    """Return x + y."""
    if isinstance(x, Number) and x == 0:
        return y
    return x if isinstance(y, Number) and y == 0 else x + y


def multiply(x: Any, y: Any) -> Any:
    """Return x · y."""
    for factor, other in ((x, y), (y, x)):
        if isinstance(factor, Number) and factor in (0, 1):
            return other if factor == 1 else 0.0
    return x * y


def _is_symbolic(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == object


def _evaluate(
    jaxpr: Jaxpr, consts: Sequence[Any], inputs: Sequence[Any], elementwise: Elementwise
) -> list[Any]:
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    known.update(zip(jaxpr.invars, inputs, strict=True))

    def read(var: Any) -> Any:
        return var.val if isinstance(var, Literal) else known[var]

    for eqn in jaxpr.eqns:
        outputs = _apply(eqn, [read(var) for var in eqn.invars], elementwise)
        for var, output in zip(eqn.outvars, outputs, strict=True):
            known[var] = _numeric_if_possible(output, _aval(var).dtype)
    return [read(var) for var in jaxpr.outvars]


def _numeric_if_possible(array: Any, dtype: Any) -> Any:
    """Turn an object array without symbols into a numeric one; other arrays stay as they are."""
    if not _is_symbolic(array) or not all(isinstance(element, Number) for element in array.flat):
        return array
    return array.astype(dtype)


def _apply(eqn: JaxprEqn, operands: list[Any], elementwise: Elementwise) -> list[Any]:
    """The outputs of one equation."""
    name = eqn.primitive.name
    called = called_jaxpr(eqn)
    if called is not None:
        return _evaluate(called.jaxpr, called.consts, operands, elementwise)
    if not any(map(_is_symbolic, operands)):
        return _bind(eqn, operands)
    if name in _MOVED:
        return _rearrange(eqn, operands)
    if name in elementwise:
        return [_map_elements(elementwise[name], *operands)]
    if name in _RULES:
        return [_RULES[name](elementwise, eqn, *operands)]
    return _inexpressible(eqn, operands)


def _aval(var: Any) -> Any:
    """Shape and dtype of a variable."""
    return var.aval


def _bind(eqn: JaxprEqn, operands: Sequence[Any]) -> list[Any]:
    outputs = eqn.primitive.bind(*map(jnp.asarray, operands), **eqn.params)
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


def _inexpressible(eqn: JaxprEqn, operands: Sequence[Any]) -> list[Any]:
    """Outputs of an equation that cannot be evaluated, with the primitive that is the cause."""
    cause = Inexpressible(eqn.primitive.name)
    for operand in filter(_is_symbolic, operands):
        cause = next((e for e in operand.flat if isinstance(e, Inexpressible)), cause)
    shapes = [_aval(var).shape for var in eqn.outvars]
    return [symbols([cause] * math.prod(shape), shape) for shape in shapes]


def _map_elements(function: Callable[..., Any], *operands: Any) -> np.ndarray:
    """Apply a function of scalars to each element."""

    def guarded(*elements: Any) -> Any:
        bad = next((e for e in elements if isinstance(e, Inexpressible)), None)
        return function(*elements) if bad is None else bad

    objects = [np.asarray(operand).astype(object) for operand in operands]
    return np.asarray(np.frompyfunc(guarded, len(objects), 1)(*objects), object)


# Sums and products


def _reduce(function: Callable[..., Any], array: np.ndarray, axes: Any, initial: float) -> Any:
    for axis in sorted(axes, reverse=True):
        total = np.full(array.shape[:axis] + array.shape[axis + 1 :], initial, object)
        for element in np.moveaxis(array, axis, 0):
            total = _map_elements(function, total, element)
        array = total
    return array


def _cumulate(function: Callable[..., Any], eqn: JaxprEqn, array: np.ndarray) -> np.ndarray:
    moved = np.moveaxis(array, eqn.params["axis"], 0)
    moved = moved[::-1] if eqn.params["reverse"] else moved
    sums = [moved[0]]
    for element in moved[1:]:
        sums.append(_map_elements(function, sums[-1], element))
    stacked = np.stack(sums[::-1] if eqn.params["reverse"] else sums)
    return np.moveaxis(stacked, 0, eqn.params["axis"])


def _dot_general(elementwise: Elementwise, eqn: JaxprEqn, left: Any, right: Any) -> np.ndarray:
    """Batch axes first, then the free axes of the left and of the right operand."""
    (contract_left, contract_right), (batch_left, batch_right) = eqn.params["dimension_numbers"]

    def arranged(array: Any, batch: Sequence[int], contract: Sequence[int]) -> np.ndarray:
        free = [axis for axis in range(np.ndim(array)) if axis not in (*batch, *contract)]
        array = np.transpose(np.asarray(array).astype(object), (*batch, *free, *contract))
        sizes = np.array(array.shape, int)
        split = (len(batch), len(batch) + len(free))
        return array.reshape([int(np.prod(part)) for part in np.split(sizes, split)])

    left, right = (
        arranged(left, batch_left, contract_left),
        arranged(right, batch_right, contract_right),
    )
    products = _map_elements(elementwise["mul"], left[:, :, None], right[:, None])
    return _reduce(elementwise["add"], products, [3], 0.0).reshape(_aval(eqn.outvars[0]).shape)


# Structure


def _broadcast(eqn: JaxprEqn, array: np.ndarray) -> np.ndarray:
    sizes = [1] * len(eqn.params["shape"])
    for axis, size in zip(eqn.params["broadcast_dimensions"], array.shape, strict=True):
        sizes[axis] = size
    return np.broadcast_to(array.reshape(sizes), eqn.params["shape"])


def _convert(eqn: JaxprEqn, operand: np.ndarray) -> np.ndarray:
    if jnp.issubdtype(eqn.params["new_dtype"], jnp.floating):
        return operand
    return _inexpressible(eqn, [operand])[0]


def _slice(eqn: JaxprEqn, array: np.ndarray) -> np.ndarray:
    start, stop = eqn.params["start_indices"], eqn.params["limit_indices"]
    strides = eqn.params["strides"] or (1,) * array.ndim
    return array[tuple(map(slice, start, stop, strides))]


# How the output of an equation follows from the table of scalars' functions, from the equation, and
# from its operands, of which one at least is symbolic.
_RULES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": lambda of, eqn, x: _broadcast(eqn, x),
    "concatenate": lambda of, eqn, *arrays: np.concatenate(arrays, eqn.params["dimension"]),
    "convert_element_type": lambda of, eqn, x: _convert(eqn, x),
    "cumprod": lambda of, eqn, x: _cumulate(of["mul"], eqn, x),
    "cumsum": lambda of, eqn, x: _cumulate(of["add"], eqn, x),
    "dot_general": _dot_general,
    "integer_pow": lambda of, eqn, x: _map_elements(lambda e: e ** eqn.params["y"], x),
    "reduce_prod": lambda of, eqn, x: _reduce(of["mul"], x, eqn.params["axes"], 1.0),
    "reduce_sum": lambda of, eqn, x: _reduce(of["add"], x, eqn.params["axes"], 0.0),
    "reshape": lambda of, eqn, x: x.reshape(eqn.params["new_sizes"]),
    "slice": lambda of, eqn, x: _slice(eqn, x),
    "squeeze": lambda of, eqn, x: x.squeeze(tuple(eqn.params["dimensions"])),
    "transpose": lambda of, eqn, x: x.transpose(eqn.params["permutation"]),
}


# Primitives that only move elements: the operands whose elements are moved. The others say where
# from or where to.
_MOVED: dict[str, slice] = {
    "copy": slice(None),
    "dynamic_slice": slice(0, 1),
    "dynamic_update_slice": slice(0, 2),
    "expand_dims": slice(None),
    "gather": slice(0, 1),
    "pad": slice(None),
    "read_once": slice(0, 1),
    "rev": slice(None),
    "scatter": slice(0, None, 2),
    "select_n": slice(1, None),
    "split": slice(None),
    "stack": slice(None),
    "tile": slice(None),
    "unstack": slice(None),
}


def _rearrange(eqn: JaxprEqn, operands: list[Any]) -> list[Any]:
    """Apply the primitive to positions in the pool of all elements, and read the pool."""
    moved = range(len(operands))[_MOVED[eqn.primitive.name]]
    if any(_is_symbolic(x) for index, x in enumerate(operands) if index not in moved):
        return _inexpressible(eqn, operands)
    pool: list[Any] = []
    arguments = list(operands)
    for index in moved:
        array = np.asarray(operands[index]).astype(object)
        positions = np.arange(len(pool), len(pool) + array.size, dtype=np.int32)
        pool += array.ravel().tolist()
        arguments[index] = positions.reshape(array.shape)
    outputs = []
    for positions in map(np.asarray, _bind(eqn, arguments)):
        # An index out of range reads a fill value, which is not a position.
        if positions.size and not 0 <= positions.min() <= positions.max() < len(pool):
            return _inexpressible(eqn, operands)
        elements = [pool[position] for position in positions.ravel()]
        outputs.append(symbols(elements, positions.shape))
    return outputs
