"""Expectation values of Pauli sums from a batch of state vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hqnn_jax.circuits.gates import Observable
from hqnn_jax.circuits.permutation import permute_states
from hqnn_jax.circuits.simulation.bits import BitMap, bit, signs, split_signs
from hqnn_jax.circuits.simulation.components import Components

# Up to so many numbers, signs of every output and basis state are stored; beyond, their factors.
_MAX_STORED_SIGNS = 2**20


@dataclass(frozen=True)
class Term:
    """A Pauli word times a coefficient: `output` gets Re Σ_j c (-1)^parity(j & mask) q_j.

    Here q_j = conj(ψ[j]) ψ[j ^ flips] and c is real or imaginary.
    """

    output: int
    mask: int
    coefficient: complex


@dataclass(frozen=True, eq=False)
class Expectation:
    """Expectation values of some observables, one output each.

    A Pauli word flips the bits where it has X or Y and gives each basis state a sign; words that
    flip the same bits share one product of the state with itself.

    Attributes:
        num_qubits: number of qubits.
        num_outputs: number of observables.
        terms: for each set of flipped bits, the words that flip them.
    """

    num_qubits: int
    num_outputs: int
    terms: dict[int, tuple[Term, ...]]

    @classmethod
    def of(cls, observables: Sequence[Observable], num_qubits: int) -> "Expectation":
        """Collect the words of some observables by the bits they flip."""
        terms: dict[int, list[Term]] = {}
        for output, observable in enumerate(observables):
            for coefficient, word in observable.terms:
                flips = sum(bit(wire, num_qubits) for wire, p in enumerate(word) if p in "XY")
                mask = sum(bit(wire, num_qubits) for wire, p in enumerate(word) if p in "YZ")
                # (Yψ)[j] = -i (-1)^j ψ[j ^ 1]
                factor = coefficient * (-1j) ** word.count("Y")
                terms.setdefault(flips, []).append(Term(output, mask, factor))
        by_flips = {flips: tuple(words) for flips, words in terms.items()}
        return cls(num_qubits, len(observables), by_flips)

    @property
    def is_diagonal(self) -> bool:
        """Whether the outputs depend on the probabilities of basis states alone."""
        return set(self.terms) <= {0}

    def before_permutation(self, source: BitMap) -> "Expectation":
        """The same outputs from the state before ψ'[j] = ψ[source(j)]; diagonal words only."""
        inverse = source.inverse()
        moved = tuple(
            Term(term.output, inverse.pull_back(term.mask), term.coefficient)
            for term in self.terms.get(0, ())
        )
        return Expectation(self.num_qubits, self.num_outputs, {0: moved} if moved else {})

    def __call__(self, state: Components) -> Float[Array, "outputs batch"]:
        """Expectation values of states [components, 2^n, batch]; zero where there is no term."""
        total = jnp.zeros((self.num_outputs, state.shape[-1]), state.dtype)
        for flips, terms in self.terms.items():
            flipped = _flip(state, flips)
            real = [term for term in terms if term.coefficient.real]
            imaginary = [term for term in terms if term.coefficient.imag]
            if real:
                products = state[0] * flipped[0]
                if len(state) == 2:
                    products += state[1] * flipped[1]
                total += self._sum(real, [t.coefficient.real for t in real], products)
            if imaginary and len(state) == 2:
                products = state[0] * flipped[1] - state[1] * flipped[0]
                total -= self._sum(imaginary, [t.coefficient.imag for t in imaginary], products)
        return total

    def _sum(
        self, terms: Sequence[Term], coefficients: Sequence[float], products: Float[Array, "n b"]
    ) -> Float[Array, "outputs batch"]:
        """Σ_j coefficient · sign · product for each output."""
        scatter = np.zeros((self.num_outputs, len(terms)))
        scatter[[term.output for term in terms], range(len(terms))] = coefficients
        masks = [term.mask for term in terms]
        if self.num_outputs * len(products) <= _MAX_STORED_SIGNS:
            return _matmul(scatter @ signs(masks, self.num_qubits), products)
        high, low = split_signs(masks, self.num_qubits)
        distinct, index = np.unique(low, axis=0, return_inverse=True)
        split = products.reshape(high.shape[1], low.shape[1], -1)
        lower = jnp.einsum(
            "kl,hlb->khb",
            jnp.asarray(distinct, products.dtype),
            split,
            precision=jax.lax.Precision.HIGHEST,
        )
        if len(distinct) < len(terms):
            lower = lower[index]
        values = jnp.sum(jnp.asarray(high, products.dtype)[..., None] * lower, axis=1)
        return _matmul(scatter, values)


def _flip(state: Components, flips: int) -> Components:
    if not flips:
        return state
    source = jnp.arange(state.shape[1], dtype=jnp.int32) ^ flips
    return permute_states(state, source, source)


def _matmul(weights: np.ndarray, values: Float[Array, "n batch"]) -> Float[Array, "outputs batch"]:
    # Full precision: TF32 would cost expectation values three digits.
    return jnp.matmul(
        jnp.asarray(weights, values.dtype), values, precision=jax.lax.Precision.HIGHEST
    )
