"""Entangling capability: the mean Meyer–Wallach measure of a circuit's random states.

Source: Meyer and Wallach, quant-ph/0108104; in terms of purities: Brennen, quant-ph/0305094; as a
property of a circuit: Sim et al., arXiv:1905.10876.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Inexact

from hqnn_jax.circuits.analysis.sampling import (
    Key,
    Numbers,
    draw_states,
    map_chunks,
    require,
)
from hqnn_jax.circuits.circuit import Circuit


class EntanglingCapability(NamedTuple):
    """Meyer–Wallach measure Q of random states.

    Attributes:
        mean: mean of Q, the entangling capability; 0 without entanglement, at most 1.
        standard_error: of the mean.
        haar_mean: mean of Q over Haar-random states, (2^n - 2) / (2^n + 1).
        values: [num_samples], Q of each state, float64.
    """

    mean: float
    standard_error: float
    haar_mean: float
    values: Float[np.ndarray, " samples"]


def entangling_capability(
    circuit: Circuit,
    *,
    key: Key,
    num_samples: int = 1000,
    features: Numbers | None = None,
    dtype: DTypeLike = jnp.float32,
) -> EntanglingCapability:
    """Estimate the mean Meyer–Wallach measure over random weights.

    The function is not to be called under `jit` itself.

    Args:
        circuit: a circuit without noise.
        key: random key.
        num_samples: draws of `circuit.init_weights`, at least 2.
        features: the features of every state, one value for all or [num_features]; drawn
            uniformly from [-π, π) with the weights if not given.
        dtype: float dtype of the simulation.

    Raises:
        CircuitError: the circuit has noise, or there are fewer than two samples.
    """
    states = draw_states(circuit, features, dtype)
    require(
        num_samples >= 2,
        "Entangling capability",
        f"num_samples={num_samples}; expected at least 2",
    )

    def measure(keys: Array) -> Float[Array, " keys"]:
        return meyer_wallach(states(keys))

    keys = jax.random.split(key, num_samples)
    values = jax.jit(lambda keys: map_chunks(measure, keys, 2**circuit.num_qubits))(keys)
    values = np.asarray(values, np.float64)
    num_states = 2**circuit.num_qubits
    return EntanglingCapability(
        mean=float(values.mean()),
        standard_error=float(values.std(ddof=1) / np.sqrt(num_samples)),
        haar_mean=(num_states - 2) / (num_states + 1),
        values=values,
    )


def meyer_wallach(states: Inexact[Array, "*batch states"]) -> Float[Array, "*batch"]:
    """The Meyer–Wallach measure Q = 2 (1 - (1/n) Σ_q Tr ρ_q²) of normalised state vectors.

    ρ_q is the reduced state of qubit q, and 1 - Tr ρ_q² = 2 det ρ_q is what is computed.

    Args:
        states: state vectors of length 2^n, real or complex.

    Raises:
        CircuitError: the length is not a power of two.
    """
    *batch, num_states = states.shape
    num_qubits = num_states.bit_length() - 1
    require(
        num_qubits >= 1 and num_states == 2**num_qubits,
        "Meyer–Wallach measure",
        f"states have {num_states} amplitudes; expected 2, 4, 8, …",
    )
    determinants = []
    for qubit in range(num_qubits):
        split = states.reshape(*batch, 2**qubit, 2, -1)
        zero, one = split[..., 0, :], split[..., 1, :]
        populations = [jnp.sum(jnp.abs(part) ** 2, (-2, -1)) for part in (zero, one)]
        coherence = jnp.sum(jnp.conj(zero) * one, (-2, -1))
        determinants.append(populations[0] * populations[1] - jnp.abs(coherence) ** 2)
    # Rounding may give a product state a determinant just below zero.
    return jnp.clip(4 * jnp.mean(jnp.stack(determinants), axis=0), 0, 1)
