"""Complex arrays as real ones with a leading axis of components: [1, ...] real, [2, ...] complex.

Matrix products of complex numbers take a slow path on CPU, and circuits of real gates need no
imaginary part at all; one code serves both.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from hqnn_jax.circuits.simulation.tensor_product import tensor_product

Components = Float[Array, "_components ..."]


def to_components(array: Inexact[Array, "..."], count: int) -> Components:
    """The real part, and the imaginary part if `count` is 2."""
    if count == 1:
        return jnp.real(array)[None]
    return jnp.stack([jnp.real(array), jnp.imag(array)])


def from_components(components: Components) -> Inexact[Array, "..."]:
    """The array itself: real for one component, complex for two."""
    if len(components) == 1:
        return components[0]
    return components[0] + 1j * components[1]


def multiply(a: Components, b: Components) -> Components:
    """Elementwise product with broadcasting."""
    if len(a) == 1 or len(b) == 1:
        return a * b
    return jnp.stack([a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]])


def real_matrices(
    matrices: Inexact[Array, "matrices rows columns"], count: int
) -> Float[Array, "matrices real_rows real_columns"]:
    """The matrices that act on components in place of complex ones: [[Re, -Im], [Im, Re]].

    With `count` 1 the matrices must be real, and stay as they are.
    """
    if count == 1:
        return jnp.real(matrices)
    real, imag = jnp.real(matrices), jnp.imag(matrices)
    upper = jnp.concatenate([real, -imag], axis=2)
    lower = jnp.concatenate([imag, real], axis=2)
    return jnp.concatenate([upper, lower], axis=1)


def product_state(factors: Sequence[Components]) -> Components:
    """The tensor product of states [components, 2, batch], first outermost; batches may be 1."""
    if len(factors) == 1:
        return factors[0]
    # Of two halves each time, so that only the last product has the size of the state.
    half = len(factors) // 2
    return _tensor_product(product_state(factors[:half]), product_state(factors[half:]))


def _tensor_product(a: Components, b: Components) -> Components:
    if len(a) == 1 or len(b) == 1:
        products = [tensor_product(x, y) for x in a for y in b]
    else:
        products = [
            tensor_product(a[0], b[0]) - tensor_product(a[1], b[1]),
            tensor_product(a[0], b[1]) + tensor_product(a[1], b[0]),
        ]
    return jnp.stack([product.reshape(-1, product.shape[-1]) for product in products])
