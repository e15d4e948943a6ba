"""Gates as real matrices on vectors of Pauli coefficients.

The Pauli vector of a state ρ is r[w] = Tr(P_w ρ), with one letter I, X, Y, Z (0 to 3) for each wire
in the base-4 digits of w, wire 0 most significant. A map E becomes the Pauli transfer matrix
R[a, b] = 2^-k Tr(P_a E(P_b)); unitaries and channels alike are real matrices on real vectors.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Inexact

from hqnn_jax.circuits.angles import AngleFunction
from hqnn_jax.circuits.gates import GATE_COEFFICIENTS, Gate
from hqnn_jax.circuits.noise.channels import TWO_QUBIT_MATRICES, Channel, pauli_words
from hqnn_jax.circuits.simulation.rotations import Angles, RotationStack, is_per_sample

ZERO_STATE = np.array([1.0, 0.0, 0.0, 1.0])
"""Pauli vector of |0⟩."""

_PRECISION = jax.lax.Precision.HIGHEST


@dataclass(frozen=True, eq=False)
class Chain:
    """One-qubit gates and channels on a wire, in order.

    Attributes:
        links: runs of gates, each with the transfer matrix [4, 4] of a channel after it, if any.
    """

    links: tuple[tuple[tuple[Gate, ...], np.ndarray | None], ...] = ()

    @classmethod
    def of(cls, items: Sequence[Gate | np.ndarray]) -> "Chain":
        """Group gates and channels in order of application."""
        links: list[tuple[tuple[Gate, ...], np.ndarray | None]] = []
        run: list[Gate] = []
        for item in items:
            if isinstance(item, Gate):
                run.append(item)
            elif not run and links:
                gates, channel = links[-1]
                assert channel is not None
                links[-1] = (gates, item @ channel)
            else:
                links.append((tuple(run), item))
                run = []
        if run:
            links.append((tuple(run), None))
        return cls(tuple(links))

    def is_per_sample(self, function: AngleFunction) -> bool:
        """Whether any gate depends on features."""
        return any(is_per_sample(gates, function) for gates, _ in self.links)


@dataclass(frozen=True, eq=False)
class ChainStack:
    """Chains whose transfer matrices are computed all at once.

    Attributes:
        unitaries: for each position in the chains, its run of gates.
        channels: for each position, the channels after it, [chains, 4, 4]; None if there is none.
    """

    unitaries: tuple[RotationStack, ...]
    channels: tuple[np.ndarray | None, ...]

    @classmethod
    def of(cls, chains: Sequence[Chain]) -> "ChainStack":
        """Stack chains; short ones are filled up with identities."""
        unitaries, channels = [], []
        for position in range(max((len(chain.links) for chain in chains), default=0)):
            links = [c.links[position] if position < len(c.links) else ((), None) for c in chains]
            unitaries.append(RotationStack.of([gates for gates, _ in links]))
            matrices = [np.eye(4) if channel is None else channel for _, channel in links]
            noisy = any(channel is not None for _, channel in links)
            channels.append(np.array(matrices) if noisy else None)
        return cls(tuple(unitaries), tuple(channels))

    def matrices(
        self, function: AngleFunction, angles: Angles
    ) -> Float[Array, "chains 4 4 columns"]:
        """The transfer matrix of each chain; one column, or one a sample."""
        product: Array | None = None
        for stack, channels in zip(self.unitaries, self.channels, strict=True):
            transfer = _unitary_transfers(stack.matrices(function, angles), angles.dtype)
            if channels is not None:
                transfer = _multiply(jnp.asarray(channels, angles.dtype)[..., None], transfer)
            product = transfer if product is None else _multiply(transfer, product)
        assert product is not None
        return product


@functools.cache
def rotation_coefficients(name: str) -> np.ndarray:
    """Matrices [3, 4, 4] such that a gate's transfer matrix is A + cos θ B + sin θ C.

    From the values at 0, π/2 and π; B and C vanish for a gate without angle.
    """

    def at(angle: float) -> np.ndarray:
        constant, cosine, sine = GATE_COEFFICIENTS[name]
        unitary = constant + np.cos(angle / 2) * cosine + np.sin(angle / 2) * sine
        return Channel(unitary[None].astype(complex)).transfer_matrix

    if not GATE_COEFFICIENTS[name][1:].any():
        return np.array([at(0.0), np.zeros((4, 4)), np.zeros((4, 4))])
    constant = (at(0.0) + at(np.pi)) / 2
    return np.array([constant, (at(0.0) - at(np.pi)) / 2, at(np.pi / 2) - constant])


@functools.cache
def two_qubit_transfer(name: str) -> np.ndarray:
    """The transfer matrix [16, 16] of a two-qubit gate."""
    return Channel(TWO_QUBIT_MATRICES[name][None]).transfer_matrix


def _unitary_transfers(
    unitaries: Inexact[Array, "gates 2 2 batch"], dtype: DTypeLike
) -> Float[Array, "gates 4 4 batch"]:
    """The transfer matrices ½ Tr(P_a U P_b U†) of one-qubit unitaries, bilinear in U."""
    words = pauli_words(1)
    # Entry (a, b) from the products u[i, k] conj(u[j, l]).
    entries = np.einsum("aji,bkl->abikjl", words, words).reshape(16, 16) / 2
    gates, _, _, batch = unitaries.shape
    flat = unitaries.reshape(gates, 4, batch)
    products = (flat[:, :, None] * jnp.conj(flat[:, None])).reshape(gates, 16, batch)
    real = jnp.einsum(
        "ep,gpb->geb", jnp.asarray(entries.real, dtype), jnp.real(products), precision=_PRECISION
    )
    if jnp.iscomplexobj(products):
        imaginary = jnp.asarray(entries.imag, dtype)
        real -= jnp.einsum("ep,gpb->geb", imaginary, jnp.imag(products), precision=_PRECISION)
    return real.reshape(gates, 4, 4, batch)


def _multiply(
    left: Float[Array, "chains 4 4 _left"], right: Float[Array, "chains 4 4 _right"]
) -> Float[Array, "chains 4 4 columns"]:
    return jnp.sum(left[:, :, :, None] * right[:, None], axis=2)
