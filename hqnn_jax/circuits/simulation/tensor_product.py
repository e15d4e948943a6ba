"""Tensor product of batches of vectors as primitives of its own.

The gradient of a product with broadcasting is a sum over one axis, which XLA's CPU backend leaves
unvectorised. Here that sum is a primitive too, written out term by term where it is short.
"""

import functools

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from hqnn_jax.circuits.simulation.batch import Size, common_columns, nominal

# Longer sums, and those for few samples, are left to the compiler.
_MAX_WRITTEN_OUT = 16
_MIN_COLUMNS = 32

_product_p = Primitive("batched_tensor_product")
_contract_p = Primitive("batched_contraction")


def tensor_product(
    a: Float[Array, "first columns_a"], b: Float[Array, "second columns_b"]
) -> Float[Array, "first second columns"]:
    """Return out[i, j, s] = a[i, s] b[j, s]; an argument with one column serves all samples."""
    return _product_p.bind(a, b)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return a[:, None] * b[None]


def _contract(array: jax.Array, vector: jax.Array, *, axis: int, columns: Size) -> jax.Array:
    """Σ_k array[.., k, ..] vector[k] over axis 0 or 1; also over samples if `columns` is 1."""
    length = vector.shape[0]
    if array.shape[2] == 1:
        matrix = array[..., 0] if axis == 1 else array[..., 0].T
        total = jnp.matmul(matrix, vector, precision=jax.lax.Precision.HIGHEST)
    elif length > _MAX_WRITTEN_OUT or nominal(array.shape[2]) < _MIN_COLUMNS:
        total = jnp.sum(array * jnp.expand_dims(vector, 1 - axis), axis=axis)
    else:
        rows = [jax.lax.index_in_dim(array, k, axis, keepdims=False) for k in range(length)]
        total = functools.reduce(jnp.add, map(jnp.multiply, rows, vector))
    if columns == 1 != total.shape[1]:
        ones = jnp.ones((total.shape[1], 1), total.dtype)
        total = jnp.matmul(total, ones, precision=jax.lax.Precision.HIGHEST)
    return total


def _product_shape(a, b):
    return a.update(shape=(a.shape[0], b.shape[0], common_columns(a.shape[1], b.shape[1])))


def _contract_shape(array, vector, *, axis, columns):
    del vector
    return array.update(shape=(array.shape[1 - axis], columns))


def _first_gradient(cotangent, a, b):
    return _contract_p.bind(cotangent, b, axis=1, columns=a.aval.shape[1])


def _second_gradient(cotangent, a, b):
    return _contract_p.bind(cotangent, a, axis=0, columns=b.aval.shape[1])


def _array_gradient(cotangent, array, vector, *, axis, columns):
    del columns
    product = _product_p.bind(*((cotangent, vector) if axis == 1 else (vector, cotangent)))
    return jnp.broadcast_to(product, (*product.shape[:2], array.aval.shape[2]))


def _vector_gradient(cotangent, array, vector, *, axis, columns):
    del columns
    # The index of `array` that is left is summed against the cotangent.
    return _contract_p.bind(array, cotangent, axis=1 - axis, columns=vector.aval.shape[1])


def _batch_with(function):
    """Batching by the plain formula: it loses only the written-out gradient."""

    def rule(arguments, axes, **parameters):
        mapped = jax.vmap(lambda *a: function(*a, **parameters), axes)
        return mapped(*arguments), 0

    return rule


def _define(primitive, function, shape, gradients, static=()):
    primitive.def_impl(jax.jit(function, static_argnames=static))
    primitive.def_abstract_eval(shape)
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))
    ad.defbilinear(primitive, *gradients)
    batching.primitive_batchers[primitive] = _batch_with(function)


_define(_product_p, _product, _product_shape, (_first_gradient, _second_gradient))
_define(
    _contract_p,
    _contract,
    _contract_shape,
    (_array_gradient, _vector_gradient),
    ("axis", "columns"),
)
