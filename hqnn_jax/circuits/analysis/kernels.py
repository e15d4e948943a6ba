"""Quantum kernels: similarities of samples measured by the states that encode them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from hqnn_jax.circuits.analysis.sampling import pure_states
from hqnn_jax.circuits.circuit import Circuit


def fidelity_kernel(
    circuit: Circuit,
) -> Callable[[ArrayLike, ArrayLike, ArrayLike], Float[Array, "left right"]]:
    """Return the kernel |⟨ψ(x)|ψ(y)⟩|² of the circuit's final states as a compiled pure function.

    The function is `k(weights[weights_shape], left[num_left, num_features],
    right[num_right, num_features]) -> [num_left, num_right]`, to be used under `jit`, `vmap` and
    `grad`; features are in radians. Entries lie in [0, 1] up to rounding; the matrix of a set with
    itself is positive semidefinite with ones on the diagonal. It raises CircuitError for inputs of
    the wrong shape.

    Source: Havlíček et al. 2019 (arXiv:1804.11326), the quantum kernel estimator, here exact from
    state vectors: every sample is simulated once, and all pairs are one matrix product. Gates
    behind the last one that reads features cancel, so a kernel has weights only where data are
    encoded between them.

    Raises:
        CircuitError: the circuit has noise, so that its states are no vectors.
    """
    states = pure_states(circuit)

    @jax.jit
    def kernel(weights: ArrayLike, left: ArrayLike, right: ArrayLike) -> Float[Array, "left right"]:
        of_left = circuit.checked_inputs(weights, left)
        of_right = circuit.checked_inputs(weights, right)
        rows, columns = len(of_left[1]), len(of_right[1])
        if not rows * columns:
            return jnp.zeros((rows, columns), jnp.result_type(of_left[0], of_right[0]))
        bras, kets = states(*of_left), states(*of_right)
        # Reduced precision (TF32) would leave a matrix that is not semidefinite.
        return jnp.abs(jnp.matmul(jnp.conj(bras), kets.T, precision="highest")) ** 2

    return kernel
