"""Fisher information, quantum and classical, and the effective dimension.

Sources: Meyer, arXiv:2103.15191 (Fisher information of parameterised circuits); Abbas et al.,
arXiv:2011.00027 (effective dimension).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from hqnn_jax.circuits.analysis.sampling import Key, Numbers, map_chunks, pure_states, require
from hqnn_jax.circuits.circuit import Circuit

Probabilities = Callable[
    [Float[Array, "..."], Float[Array, "batch features"]], Float[Array, "batch outcomes"]
]
"""(weights, features[batch, num_features]) -> probabilities of the outcomes of each sample."""

_PRECISION = jax.lax.Precision.HIGHEST
_DIMENSION = "Effective dimension"


class EffectiveDimension(NamedTuple):
    """Effective dimension of a model against the number of data it is trained on.

    Attributes:
        num_data: [sizes], number of data n.
        dimension: [sizes], effective dimension.
        num_weights: number of weights d.
        gamma: the constant γ.
    """

    num_data: Float[np.ndarray, " sizes"]
    dimension: Float[np.ndarray, " sizes"]
    num_weights: int
    gamma: float

    @property
    def normalized(self) -> Float[np.ndarray, " sizes"]:
        """Effective dimension as a share of the number of weights."""
        return self.dimension / self.num_weights


def quantum_fisher_information(
    circuit: Circuit, weights: ArrayLike, features: ArrayLike
) -> Float[Array, "weights weights"]:
    """The quantum Fisher information matrix in the weights, mean over a batch of features.

    F_ij = 4 Re(⟨∂_i ψ|∂_j ψ⟩ - ⟨∂_i ψ|ψ⟩⟨ψ|∂_j ψ⟩), four times the Fubini–Study metric; it does
    not depend on the phase of ψ(w). Source: arXiv:2103.15191, eq. (27).

    Args:
        circuit: a circuit without noise.
        weights: weights of shape `weights_shape`; rows and columns of the result are the weights
            in C order.
        features: [batch, num_features]; for a circuit without features [batch, 0].

    Raises:
        CircuitError: the circuit has noise, or the inputs have the wrong shape.
    """
    states = pure_states(circuit)
    weights, features = _promoted(circuit, weights, features)

    def matrix(
        weights: Float[Array, "..."], features: Float[Array, " features"]
    ) -> Float[Array, "weights weights"]:
        psi = states(weights, features[None])[0]
        tangents = jax.jacfwd(states)(weights, features[None]).reshape(len(psi), -1)
        along = jnp.matmul(jnp.conj(psi), tangents, precision=_PRECISION)
        overlaps = jnp.matmul(jnp.conj(tangents.T), tangents, precision=_PRECISION)
        return 4 * jnp.real(overlaps - jnp.outer(jnp.conj(along), along))

    @jax.jit
    def mean(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "weights weights"]:
        batched = jax.vmap(partial(matrix, weights))
        return jnp.mean(map_chunks(batched, features, amplitudes), axis=0)

    amplitudes = 2**circuit.num_qubits * (1 + circuit.num_weights)
    return mean(weights, features)


def classical_fisher_information(
    probabilities: Probabilities, weights: Float[Array, "..."], features: Float[Array, "batch _"]
) -> Float[Array, "weights weights"]:
    """The Fisher information matrix of a model p(y|x; w), mean over a batch of features.

    F_ij = Σ_y ∂_i p(y) ∂_j p(y) / p(y), without outcomes of probability zero. Source:
    arXiv:2103.15191, eq. (15). For a measured state it is at most the quantum one.

    Args:
        probabilities: the model, for example `basis_probabilities(circuit)`, or a hybrid network
            with everything but the weights of interest held fixed.
        weights: weights; rows and columns of the result are its elements in C order.
        features: [batch, num_features].
    """

    @jax.jit
    def mean(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "weights weights"]:
        values = probabilities(weights, features)
        slopes = jax.jacfwd(probabilities)(weights, features).reshape(*values.shape, -1)
        possible = values > 0
        inverse = jnp.where(possible, 1 / jnp.where(possible, values, 1), 0)
        total = jnp.einsum("byi,by,byj->ij", slopes, inverse, slopes, precision=_PRECISION)
        return total / len(features)

    return mean(weights, features)


def basis_probabilities(circuit: Circuit) -> Probabilities:
    """The 2^num_qubits outcomes of measuring every qubit, basis state 0…0 first.

    Raises:
        CircuitError: the circuit has noise.
    """
    states = pure_states(circuit)

    def probabilities(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outcomes"]:
        return jnp.abs(states(weights, features)) ** 2

    return probabilities


def parity_probabilities(circuit: Circuit) -> Probabilities:
    """The two classes of Abbas et al.: even and odd number of ones among all qubits.

    Raises:
        CircuitError: the circuit has noise.
    """
    outcomes = basis_probabilities(circuit)
    is_odd = np.array([state.bit_count() % 2 for state in range(2**circuit.num_qubits)])
    classes = np.stack([1 - is_odd, is_odd], axis=1)

    def probabilities(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outcomes"]:
        values = outcomes(weights, features)
        return jnp.matmul(values, jnp.asarray(classes, values.dtype), precision=_PRECISION)

    return probabilities


def sample_fisher_information(
    circuit: Circuit,
    features: ArrayLike,
    *,
    key: Key,
    num_samples: int = 100,
    probabilities: Probabilities | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "samples weights weights"]:
    """Classical Fisher information matrices at random weights, for `effective_dimension`.

    Args:
        circuit: the circuit whose `init_weights` gives the weights.
        features: [batch, num_features], the data; Abbas et al. draw 100 samples from a standard
            normal distribution.
        key: random key.
        num_samples: draws of the weights.
        probabilities: the model; `parity_probabilities(circuit)` if not given.
        dtype: float dtype of the simulation.

    Raises:
        CircuitError: there is no sample, the circuit has noise, or features have the wrong shape.
    """
    require(num_samples >= 1, "Fisher information", f"num_samples={num_samples}; expected 1")
    model = parity_probabilities(circuit) if probabilities is None else probabilities
    data = jnp.asarray(features, dtype)
    _check_features(circuit, data)

    def matrix(key: Key) -> Float[Array, "weights weights"]:
        return classical_fisher_information(model, circuit.init_weights(key, dtype), data)

    amplitudes = 2**circuit.num_qubits * (1 + circuit.num_weights) * len(data)
    keys = jax.random.split(key, num_samples)
    return jax.jit(lambda keys: map_chunks(jax.vmap(matrix), keys, amplitudes))(keys)


def effective_dimension(
    fisher: Float[Array | np.ndarray, "samples weights weights"],
    num_data: Numbers,
    *,
    gamma: float = 1.0,
) -> EffectiveDimension:
    """The effective dimension of Abbas et al., eq. (2), from Fisher matrices at random weights.

    d_γ,n = 2 log(mean_w √det(1 + κ F̂(w))) / log κ with κ = γ n / (2π log n) and
    F̂ = d F / mean_w Tr F, so that the mean trace of F̂ is the number of weights d. The means stand
    for integrals over the parameter space; the logarithm of a mean of few samples is too low on
    average. As n grows, d_γ,n tends to the largest rank of F.

    Args:
        fisher: Fisher matrices at weights drawn uniformly from the parameter space.
        num_data: numbers of data n, one or several.
        gamma: the constant γ, in (0, 1].

    Raises:
        CircuitError: γ is not in (0, 1], κ is not above 1, or all matrices are zero.
    """
    sizes = np.atleast_1d(np.asarray(num_data, np.float64))
    scale = _checked_resolution(sizes, gamma)
    matrices = np.asarray(fisher, np.float64)
    num_weights = matrices.shape[-1]
    mean_trace = np.trace(matrices, axis1=1, axis2=2).mean()
    require(
        mean_trace > 0,
        _DIMENSION,
        "all Fisher matrices are zero; expected outcomes that depend on the weights",
    )
    # Rounding gives a singular matrix eigenvalues just below zero.
    eigenvalues = np.clip(np.linalg.eigvalsh(matrices) * num_weights / mean_trace, 0, None)
    log_volume = 0.5 * np.sum(np.log1p(scale[:, None, None] * eigenvalues), axis=-1)
    highest = log_volume.max(axis=1, keepdims=True)
    log_mean = highest[:, 0] + np.log(np.mean(np.exp(log_volume - highest), axis=1))
    return EffectiveDimension(sizes, 2 * log_mean / np.log(scale), num_weights, gamma)


def local_effective_dimension(
    fisher: Float[Array, "weights weights"], num_data: int, *, gamma: float = 1.0
) -> Float[Array, ""]:
    """The normalised effective dimension at one point of the parameter space.

    d_γ,n / d = log det(1 + κ F̂) / (d log κ) with κ = γ n / (2π log n) and F̂ = d F / Tr F: the
    local effective dimension of Abbas et al., arXiv:2112.04807, over a ball of weights so small
    that F is the same everywhere in it. For many data it is 1 / d where one direction in the space
    of weights decides everything, and 1 where all count; it is 0 where no outcome depends on the
    weights. A pure function, to be used under `jit` and `vmap`.

    Args:
        fisher: Fisher information matrix at the weights.
        num_data: number of data n.
        gamma: the constant γ, in (0, 1].

    Raises:
        CircuitError: γ is not in (0, 1], or κ is not above 1.
    """
    # Python's numbers keep the dtype of the matrix.
    scale = float(_checked_resolution(np.array([float(num_data)]), gamma)[0])
    num_weights = fisher.shape[-1]
    trace = jnp.trace(fisher)
    eigenvalues = jnp.linalg.eigvalsh(fisher) * num_weights
    # Rounding gives a singular matrix eigenvalues just below zero.
    eigenvalues = jnp.clip(eigenvalues / jnp.where(trace > 0, trace, 1), 0, None)
    return jnp.sum(jnp.log1p(scale * eigenvalues)) / (num_weights * float(np.log(scale)))


def _checked_resolution(sizes: Float[np.ndarray, " sizes"], gamma: float) -> np.ndarray:
    """κ = γ n / (2π log n) for each number of data n."""
    require(0 < gamma <= 1, _DIMENSION, f"gamma={gamma}; expected a number in (0, 1]")
    require(np.all(sizes >= 2), _DIMENSION, f"num_data={sizes.tolist()}; expected at least 2")
    scale = gamma * sizes / (2 * np.pi * np.log(sizes))
    require(
        np.all(scale > 1),
        _DIMENSION,
        f"num_data={sizes.tolist()} with gamma={gamma} gives gamma n / (2 pi log n) = "
        f"{scale.min():.3g}; expected more than 1: take more data",
    )
    return scale


def _promoted(
    circuit: Circuit, weights: ArrayLike, features: ArrayLike
) -> tuple[Float[Array, "..."], Float[Array, "batch features"]]:
    """Inputs in their common float dtype, float32 at least, after a look at their shapes."""
    dtype = jnp.result_type(weights, features, jnp.float32)
    found, data = jnp.asarray(weights, dtype), jnp.asarray(features, dtype)
    require(
        found.shape == circuit.weights_shape,
        f"Circuit '{circuit.name}'",
        f"weights have shape {found.shape}, expected {circuit.weights_shape}",
    )
    _check_features(circuit, data)
    return found, data


def _check_features(circuit: Circuit, features: Array) -> None:
    require(
        features.ndim == 2 and features.shape[1] == circuit.num_features and len(features) > 0,
        f"Circuit '{circuit.name}'",
        f"features have shape {features.shape}, expected (batch, {circuit.num_features}) with at "
        "least one sample",
    )
