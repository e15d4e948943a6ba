"""Matrices of one-qubit gates, all gates of a circuit in a few vectorised operations."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Inexact

from hqnn_jax.circuits.gates import GATE_COEFFICIENTS, Gate

Entries = list[list[Inexact[Array, "sequences batch"]]]
"""2×2 matrices by rows and columns, one for each sequence and sample."""

_IDENTITY = np.array([np.eye(2), np.zeros((2, 2)), np.zeros((2, 2))])


@dataclass(frozen=True, eq=False)
class RotationStack:
    """Sequences of one-qubit gates, whose products are computed all at once.

    Compile time would otherwise grow with the number of gates.

    Attributes:
        coefficients: [3, gates, sequences, 2, 2, 1], see `GATE_COEFFICIENTS`; sequences of
            unequal length are filled up with identities.
        angles: [gates, sequences], where each gate's angle is in the vector of angles.
    """

    coefficients: np.ndarray
    angles: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[tuple[Gate, ...]], position: np.ndarray) -> "RotationStack":
        """Stack sequences of gates, given in order of application.

        Args:
            sequences: the gates of each sequence; an empty one is the identity.
            position: for each `Gate.angle`, its place in the vector of angles.
        """
        length = max(1, *map(len, sequences))
        coefficients = np.zeros((3, length, len(sequences), 2, 2), complex)
        coefficients[:] = _IDENTITY[:, None, None]
        angles = np.zeros((length, len(sequences)), np.int32)
        for s, gates in enumerate(sequences):
            for g, gate in enumerate(gates):
                coefficients[:, g, s] = GATE_COEFFICIENTS[gate.name]
                angles[g, s] = 0 if gate.angle is None else position[gate.angle]
        return cls(coefficients[..., None], angles)

    def matrices(
        self, angles: Float[Array, "angles batch"], dtype: DTypeLike
    ) -> Inexact[Array, "sequences 2 2 batch"]:
        """The product of each sequence; `dtype` is real only if every coefficient is."""
        coefficients = self.coefficients
        if not jnp.issubdtype(dtype, jnp.complexfloating):
            coefficients = coefficients.real
        half = angles[self.angles] / 2
        product: Entries | None = None
        for gate, (cosines, sines) in enumerate(zip(jnp.cos(half), jnp.sin(half), strict=True)):
            constant, cosine, sine = jnp.asarray(coefficients[:, gate], dtype)
            matrix = [
                [
                    constant[:, row, column]
                    + cosines * cosine[:, row, column]
                    + sines * sine[:, row, column]
                    for column in range(2)
                ]
                for row in range(2)
            ]
            product = matrix if product is None else _multiply(matrix, product)
        assert product is not None
        # XLA's CPU backend does not fuse a concatenation along the last axis with what uses it.
        # That is what is wanted: fused, sines would be computed anew for every amplitude.
        entries = jnp.concatenate([*product[0], *product[1]], axis=-1)
        return entries.reshape(len(entries), 2, 2, -1)


def kronecker(
    matrices: Inexact[Array, "groups wires 2 2 batch"],
) -> Inexact[Array, "groups dim dim batch"]:
    """The Kronecker product over the wires of each group, first wire outermost."""
    groups, wires, _, _, batch = matrices.shape
    product = matrices[:, 0]
    for wire in range(1, wires):
        outer = product[:, :, None, :, None] * matrices[:, wire, None, :, None, :]
        product = outer.reshape(groups, 2 ** (wire + 1), 2 ** (wire + 1), batch)
    return product


def product_state(
    matrices: Inexact[Array, "wires 2 2 batch"],
) -> Inexact[Array, "states batch"]:
    """The state that one gate on each wire makes of |0…0⟩."""
    factors = list(matrices[:, :, 0])
    while len(factors) > 1:
        # In a balanced tree only the last product has the size of the state.
        pairs = zip(factors[0::2], factors[1::2], strict=False)
        products = [(a[:, None] * b[None]).reshape(-1, a.shape[1]) for a, b in pairs]
        factors = products + factors[len(factors) - len(factors) % 2 :]
    return factors[0]


def _multiply(left: Entries, right: Entries) -> Entries:
    return [
        [left[row][0] * right[0][column] + left[row][1] * right[1][column] for column in range(2)]
        for row in range(2)
    ]
