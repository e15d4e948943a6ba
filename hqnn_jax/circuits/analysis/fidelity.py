"""Expressibility: how far a circuit's random states are from uniformly distributed ones.

Source: Sim, Johnson, Aspuru-Guzik, arXiv:1905.10876.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlogy
from jax.typing import DTypeLike
from jaxtyping import Array, Float
from scipy.stats import binom

from hqnn_jax.circuits.analysis.sampling import (
    Key,
    Numbers,
    draw_states,
    map_chunks,
    require,
)
from hqnn_jax.circuits.circuit import Circuit


class Expressibility(NamedTuple):
    """Divergence of a circuit's fidelities from those of Haar-random states, in nats.

    Attributes:
        divergence: D_KL(histogram || Haar), as in Sim et al.; 0 is as expressive as can be, and
            (2^n - 1) log(num_bins) is a circuit with a single state.
        standard_error: of `divergence`, to second order in the histogram's errors.
        bias: first-order bias of `divergence`, (filled bins - 1) / (2 num_samples), which can be
            subtracted (Miller and Madow).
        haar_divergence: the exact mean of `divergence` for Haar-random states, with the same
            number of samples and bins. A circuit near it cannot be told from Haar-random.
        probabilities: [num_bins], share of the fidelities in each bin of [0, 1].
        haar_probabilities: [num_bins], the exact probability of each bin.
        num_samples: number of fidelities.
    """

    divergence: float
    standard_error: float
    bias: float
    haar_divergence: float
    probabilities: Float[np.ndarray, " bins"]
    haar_probabilities: Float[np.ndarray, " bins"]
    num_samples: int


def expressibility(
    circuit: Circuit,
    *,
    key: Key,
    num_samples: int = 5000,
    num_bins: int = 75,
    features: Numbers | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Expressibility:
    """Estimate the expressibility of a circuit from fidelities of pairs of random states.

    The estimate grows with the number of samples in bins that Haar-random states hardly reach, so
    compare circuits at equal `num_samples` and `num_bins` only (Sim et al. use 5000 and 75). The
    function is not to be called under `jit` itself.

    Args:
        circuit: a circuit without noise.
        key: random key.
        num_samples: number of pairs, each of two independent draws of `circuit.init_weights`.
        num_bins: bins of equal width.
        features: the features of every state, one value for all or [num_features]; drawn
            uniformly from [-π, π) with the weights if not given.
        dtype: float dtype of the simulation.

    Raises:
        CircuitError: the circuit has noise, or there is no sample or no bin.
    """
    fidelities = sample_fidelities(
        circuit, key=key, num_samples=num_samples, features=features, dtype=dtype
    )
    return fidelity_divergence(fidelities, circuit.num_qubits, num_bins=num_bins)


def sample_fidelities(
    circuit: Circuit,
    *,
    key: Key,
    num_samples: int,
    features: Numbers | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, " samples"]:
    """Draw fidelities |⟨ψ|φ⟩|² of pairs of random states; see `expressibility`."""
    states = draw_states(circuit, features, dtype)
    _check_positive(num_samples, "num_samples")

    def fidelities(pairs: Array) -> Float[Array, " pairs"]:
        overlaps = jnp.sum(jnp.conj(states(pairs[:, 0])) * states(pairs[:, 1]), axis=1)
        return jnp.abs(overlaps) ** 2

    pairs = jax.random.split(key, (num_samples, 2))
    return jax.jit(lambda pairs: map_chunks(fidelities, pairs, 2 ** (circuit.num_qubits + 1)))(
        pairs
    )


def fidelity_divergence(
    fidelities: Float[Array | np.ndarray, " samples"], num_qubits: int, *, num_bins: int = 75
) -> Expressibility:
    """Compare fidelities of pairs of random states with those of Haar-random states.

    Args:
        fidelities: |⟨ψ|φ⟩|² of each pair.
        num_qubits: number of qubits of the states.
        num_bins: number of bins of equal width that [0, 1] is divided into.

    Raises:
        CircuitError: there is no fidelity or no bin.
    """
    _check_positive(len(fidelities), "num_samples")
    _check_positive(num_bins, "num_bins")
    num_samples = len(fidelities)
    # Rounding may carry a fidelity of 1 beyond the last bin.
    counts, _ = np.histogram(np.clip(fidelities, 0, 1), num_bins, (0, 1))
    probabilities = counts / num_samples
    log_haar = _log_haar_probabilities(num_qubits, num_bins)
    filled = counts > 0
    ratio = np.log(probabilities[filled]) - log_haar[filled]
    divergence = probabilities[filled] @ ratio
    degrees = np.sum(filled) - 1
    # Where the histogram is Haar's the first-order term vanishes, and 2 M D is chi-square.
    variance = (probabilities[filled] @ ratio**2 - divergence**2) / num_samples
    variance += degrees / (2 * num_samples**2)
    return Expressibility(
        divergence=float(divergence),
        standard_error=float(np.sqrt(max(variance, 0.0))),
        bias=float(degrees / (2 * num_samples)),
        haar_divergence=_mean_haar_divergence(log_haar, num_samples),
        probabilities=probabilities,
        haar_probabilities=np.exp(log_haar),
        num_samples=num_samples,
    )


def divergence_from_haar(
    fidelities: Float[Array, " samples"], num_qubits: int, *, num_bins: int = 75
) -> Float[Array, ""]:
    """`fidelity_divergence(...).divergence`, in nats, as a pure function under `jit` and `vmap`."""
    counts, _ = jnp.histogram(jnp.clip(fidelities, 0, 1), num_bins, (0, 1))
    shares = (counts / len(fidelities)).astype(fidelities.dtype)
    log_haar = jnp.asarray(_log_haar_probabilities(num_qubits, num_bins), fidelities.dtype)
    return jnp.sum(xlogy(shares, shares) - shares * log_haar)


def _check_positive(count: int, name: str) -> None:
    require(count >= 1, "Expressibility", f"{name}={count}; expected at least 1")


def _log_haar_probabilities(num_qubits: int, num_bins: int) -> Float[np.ndarray, " bins"]:
    """Logarithm of P(a ≤ F < b) = (1 - a)^(N-1) - (1 - b)^(N-1) for each bin, N = 2^num_qubits.

    Logarithms, because high fidelities of many qubits are rarer than the smallest float.
    """
    power = 2**num_qubits - 1
    remaining = np.arange(num_bins, -1, -1) / num_bins
    lower, upper = remaining[:-1], remaining[1:]
    return power * np.log(lower) + np.log1p(-((upper / lower) ** power))


def _mean_haar_divergence(log_haar: Float[np.ndarray, " bins"], num_samples: int) -> float:
    """The mean of Σ_b p_b log(p_b / q_b) over samples from q: each count is binomial."""
    counts = np.arange(1, num_samples + 1)
    share = counts / num_samples
    return float(
        sum(
            binom.pmf(counts, num_samples, np.exp(log_q)) @ (share * (np.log(share) - log_q))
            for log_q in log_haar
        )
    )
