"""Reading elements by position, each at most once, as a primitive of its own.

The gradient of an indexed read is a scatter, which runs serially on CPU. Where no element is read
twice, as in a permutation of basis states, it is a read as well: of the inverse positions.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float, Int, Num

_read_p = Primitive("read_once")


def permute_states(
    state: Float[Array, "components states batch"],
    source: Int[Array, " states"],
    inverse: Int[Array, " states"],
) -> Float[Array, "components states batch"]:
    """Return new[:, j] = state[:, source[j]].

    Args:
        state: real and, if there are two, imaginary parts.
        source: a permutation of the basis states.
        inverse: its inverse.
    """
    return _read_p.bind(state, source, inverse, axis=1, fills=False)


def read_rows(rows: Num[Array, "rows ..."], source: np.ndarray) -> Num[Array, "read ..."]:
    """Return rows[source], with zeros where `source` is -1."""
    used = source[source >= 0]
    if len(np.unique(used)) < len(used):
        padded = jnp.concatenate([rows, jnp.zeros((1, *rows.shape[1:]), rows.dtype)])
        return padded[source]
    inverse = np.full(len(rows), -1, np.int32)
    inverse[used] = np.flatnonzero(source >= 0)
    if np.array_equal(source, np.arange(len(rows))):
        return rows
    # Beyond the end stands a row of zeros.
    first = jnp.asarray(np.where(source < 0, len(rows), source), jnp.int32)
    second = jnp.asarray(np.where(inverse < 0, len(source), inverse), jnp.int32)
    fills = bool(np.any(source < 0)) or bool(np.any(inverse < 0))
    return _read_p.bind(rows, first, second, axis=0, fills=fills)


def _read(array: jax.Array, source: jax.Array, inverse: jax.Array, *, axis: int, fills: bool):
    del inverse
    if axis == 1:
        # One read for each component: of both at once, the compiler makes two transposed copies.
        return jnp.stack([_rows(part, source) for part in array])
    if fills:
        array = jnp.concatenate([array, jnp.zeros((1, *array.shape[1:]), array.dtype)])
    return _rows(array, source)


def _rows(array: jax.Array, source: jax.Array) -> jax.Array:
    return array.at[source].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _shape(array, source, inverse, *, axis, fills):
    del inverse, fills
    shape = list(array.shape)
    shape[axis] = source.shape[0]
    return array.update(shape=tuple(shape))


def _tangent(tangent, array, source, inverse, **parameters):
    del array
    return _read_p.bind(tangent, source, inverse, **parameters)


def _transpose(cotangent, array, source, inverse, **parameters):
    del array
    if type(cotangent) is ad.Zero:
        return [cotangent, None, None]
    return [_read_p.bind(cotangent, inverse, source, **parameters), None, None]


def _batch(arguments, axes, *, axis, fills):
    array, source, inverse = arguments
    mapped, *others = axes
    if any(other is not None for other in others):
        raise NotImplementedError("positions cannot differ between the elements of a vmap")
    # The mapped axis becomes part of the last one, or the last one.
    moved = jnp.moveaxis(array, mapped, -1)
    flat = moved.reshape(*moved.shape[: axis + 1], math.prod(moved.shape[axis + 1 :]))
    read = _read_p.bind(flat, source, inverse, axis=axis, fills=fills)
    return read.reshape(*read.shape[: axis + 1], *moved.shape[axis + 1 :]), moved.ndim - 1


_read_p.def_impl(jax.jit(_read, static_argnames=("axis", "fills")))
_read_p.def_abstract_eval(_shape)
mlir.register_lowering(_read_p, mlir.lower_fun(_read, multiple_results=False))
ad.defjvp(_read_p, _tangent, None, None)
ad.primitive_transposes[_read_p] = _transpose
batching.primitive_batchers[_read_p] = _batch
