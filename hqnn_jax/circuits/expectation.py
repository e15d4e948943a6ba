"""Expectation values of Pauli sums from a batch of state vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from hqnn_jax.circuits.gates import Observable


@dataclass(frozen=True, eq=False)
class Expectation:
    """Static weights w such that outputs[o] = Re Σ_m Σ_j w_m[o, j] conj(ψ[j]) ψ[j ^ m].

    A Pauli word flips the bits m where it has X or Y, and gives each basis state a phase; words
    that flip the same bits share one product of the state with itself.

    Attributes:
        weights: for each m, the complex array w_m of shape [outputs, 2^n].
    """

    weights: dict[int, np.ndarray]

    @classmethod
    def of(cls, observables: Sequence[Observable], num_qubits: int) -> "Expectation":
        """Collect the weights of some observables, one output each."""
        states = np.arange(2**num_qubits)
        weights: dict[int, np.ndarray] = {}
        for output, observable in enumerate(observables):
            for coefficient, word in observable.terms:
                flips, phases = _action(word, states)
                if flips not in weights:
                    weights[flips] = np.zeros((len(observables), states.size), complex)
                weights[flips][output] += coefficient * phases
        return cls(weights)

    @property
    def is_diagonal(self) -> bool:
        """Whether the outputs depend on the probabilities of basis states alone."""
        return set(self.weights) <= {0}

    def after_permutation(self, source: np.ndarray) -> "Expectation":
        """The same outputs from the state before ψ'[j] = ψ[source[j]]; diagonal weights only."""
        permuted = {}
        for flips, weights in self.weights.items():
            permuted[flips] = np.empty_like(weights)
            permuted[flips][:, source] = weights
        return Expectation(permuted)

    def __call__(self, state: Inexact[Array, "states batch"]) -> Float[Array, "outputs batch"]:
        """Expectation values, in the real dtype of `state`; zero where there is no term."""
        total = jnp.zeros((), jnp.finfo(state.dtype).dtype)
        for flips, weights in self.weights.items():
            flipped = state[np.arange(len(state), dtype=np.int32) ^ flips] if flips else state
            products = jnp.conj(state) * flipped
            # A weight is real or imaginary according to the number of Y in its words.
            if np.any(weights.real):
                total += _matmul(weights.real, jnp.real(products))
            if np.any(weights.imag) and jnp.iscomplexobj(products):
                total -= _matmul(weights.imag, jnp.imag(products))
        num_outputs = len(next(iter(self.weights.values())))
        return jnp.broadcast_to(total, (num_outputs, state.shape[1]))


def _matmul(
    weights: np.ndarray, products: Float[Array, "states batch"]
) -> Float[Array, "outputs batch"]:
    # Full precision: TF32 would cost expectation values three digits.
    return jnp.matmul(
        jnp.asarray(weights, products.dtype), products, precision=jax.lax.Precision.HIGHEST
    )


def _action(word: str, states: np.ndarray) -> tuple[int, np.ndarray]:
    """The bits flipped by a Pauli word P, and p[j] with (Pψ)[j] = p[j] ψ[j ^ flips]."""
    flips = 0
    phases = np.ones(states.size, complex)
    for wire, letter in enumerate(word):
        shift = len(word) - 1 - wire
        sign = 1 - 2 * ((states >> shift) & 1)
        if letter in "XY":
            flips |= 1 << shift
        if letter == "Z":
            phases *= sign
        elif letter == "Y":
            phases *= -1j * sign
    return flips, phases
