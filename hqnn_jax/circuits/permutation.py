"""Permutation of basis states as a primitive of its own.

The gradient of an indexed read is a scatter, which runs serially on CPU; that of a permutation is
the inverse permutation, another read.
"""

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float, Int

_permute_p = Primitive("permute_states")


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
    return _permute_p.bind(state, source, inverse)


def _read(state: jax.Array, source: jax.Array, inverse: jax.Array) -> jax.Array:
    del inverse
    # One read for each component: of both at once, the compiler makes two transposed copies.
    rows = [
        part.at[source].get(
            mode="promise_in_bounds", unique_indices=True, wrap_negative_indices=False
        )
        for part in state
    ]
    return jnp.stack(rows)


def _transpose(cotangent, state, source, inverse):
    del state
    if type(cotangent) is ad.Zero:
        return [cotangent, None, None]
    return [_permute_p.bind(cotangent, inverse, source), None, None]


def _batch(arguments, axes):
    state, source, inverse = arguments
    axis, *others = axes
    if any(other is not None for other in others):
        raise NotImplementedError("a permutation cannot differ between the elements of a vmap")
    # One more batch axis at the end: [components, states, batch * mapped].
    moved = jnp.moveaxis(state, axis, -1)
    flat = moved.reshape(*moved.shape[:2], -1)
    return _permute_p.bind(flat, source, inverse).reshape(moved.shape), moved.ndim - 1


_permute_p.def_impl(jax.jit(_read))
_permute_p.def_abstract_eval(lambda state, source, inverse: state)
mlir.register_lowering(_permute_p, mlir.lower_fun(_read, multiple_results=False))
ad.defjvp(_permute_p, lambda tangent, _, s, i: _permute_p.bind(tangent, s, i), None, None)
ad.primitive_transposes[_permute_p] = _transpose
batching.primitive_batchers[_permute_p] = _batch
