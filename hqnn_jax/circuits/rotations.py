"""Matrices of one-qubit gates, all gates of a circuit in a few vectorised operations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Inexact

from hqnn_jax.circuits.angles import AngleFunction
from hqnn_jax.circuits.gates import GATE_COEFFICIENTS, REAL_GATES, Gate

Entries = list[list[Inexact[Array, "sequences _"]]]
"""2×2 matrices by rows and columns, one for each sequence and sample."""

_IDENTITY = np.array([np.eye(2), np.zeros((2, 2)), np.zeros((2, 2))])


class AngleValues(NamedTuple):
    """A function of the angles of one batch, by what the angles depend on.

    Attributes:
        shared: [angles, 1], for angles that do not depend on features.
        per_sample: [angles, batch], for those that do.
    """

    shared: Float[Array, "shared 1"]
    per_sample: Float[Array, "per_sample batch"]

    def map(self, function: Callable[[Array], Array]) -> "AngleValues":
        """Apply an elementwise function."""
        return AngleValues(function(self.shared), function(self.per_sample))

    def read(self, angles: AngleFunction, indices: Sequence[int]) -> Float[Array, "angles _"]:
        """Some values, by `Gate.angle`: one column, or one a sample if any depends on features."""
        picked = list(indices)
        shared, per_sample = angles.shared[picked], angles.per_sample[picked]
        if np.all(shared >= 0):
            return self.shared[shared]
        if np.all(per_sample >= 0):
            return self.per_sample[per_sample]
        batch = self.per_sample.shape[1]
        every = jnp.concatenate(
            [jnp.broadcast_to(self.shared, (len(self.shared), batch)), self.per_sample]
        )
        return every[np.where(shared >= 0, shared, len(self.shared) + per_sample)]


class Angles(NamedTuple):
    """Angles of one batch, and the cosines and sines of their halves, each computed once.

    Attributes:
        values: the angles in radians.
        cosines: cos(θ/2).
        sines: sin(θ/2).
    """

    values: AngleValues
    cosines: AngleValues
    sines: AngleValues

    @classmethod
    def of(
        cls,
        function: AngleFunction,
        weights: Float[Array, "..."],
        features: Float[Array, "batch features"],
    ) -> "Angles":
        """Evaluate the angle function, in the dtype of the inputs."""
        shared = function.shared_angles(weights)[:, None]
        values = AngleValues(shared, function.sample_angles(features, weights).T)
        half = values.map(lambda angles: angles / 2)
        return cls(values, half.map(jnp.cos), half.map(jnp.sin))

    @property
    def dtype(self) -> DTypeLike:
        """The float dtype of the inputs."""
        return self.values.shared.dtype

    @property
    def batch(self) -> int:
        """Number of samples."""
        return self.values.per_sample.shape[1]


def is_per_sample(gates: Sequence[Gate], angles: AngleFunction) -> bool:
    """Whether any of the gates depends on features."""
    return any(gate.angle is not None and angles.per_sample[gate.angle] >= 0 for gate in gates)


@dataclass(frozen=True, eq=False)
class RotationStack:
    """Sequences of one-qubit gates, whose products are computed all at once.

    Compile time would otherwise grow with the number of gates.

    Attributes:
        coefficients: [3, gates, sequences, 2, 2, 1], see `GATE_COEFFICIENTS`; sequences of
            unequal length are filled up with identities at their end.
        angles: for each position in the sequences, the `Gate.angle` of each sequence, or None
            where the matrix does not depend on it; no list at all where no matrix does.
        is_real: whether every matrix is real.
    """

    coefficients: np.ndarray
    angles: tuple[tuple[int | None, ...], ...]
    is_real: bool

    @classmethod
    def of(cls, sequences: Sequence[tuple[Gate, ...]]) -> "RotationStack":
        """Stack sequences of gates, given in order of application; an empty one is 1."""
        length = max(map(len, sequences), default=0)
        coefficients = np.zeros((3, length, len(sequences), 2, 2), complex)
        coefficients[:] = _IDENTITY[:, None, None]
        angles: list[list[int | None]] = [[None] * len(sequences) for _ in range(length)]
        for s, gates in enumerate(sequences):
            for g, gate in enumerate(gates):
                coefficients[:, g, s] = GATE_COEFFICIENTS[gate.name]
                angles[g][s] = gate.angle
        real = all(gate.name in REAL_GATES for gates in sequences for gate in gates)
        return cls(coefficients[..., None], tuple(map(tuple, angles)), real)

    def matrices(
        self, function: AngleFunction, angles: Angles
    ) -> Inexact[Array, "sequences 2 2 columns"]:
        """The product of each sequence, real where every coefficient is.

        One column if no angle depends on features, else one a sample.
        """
        coefficients = self.coefficients.real if self.is_real else self.coefficients
        dtype = angles.dtype if self.is_real else jnp.result_type(angles.dtype, jnp.complex64)
        identity = [[jnp.full((coefficients.shape[2], 1), a == b, dtype) for b in (0, 1)]
                    for a in (0, 1)]  # fmt: skip
        product: Entries | None = None
        for position, indices in enumerate(self.angles):
            constant, cosine, sine = jnp.asarray(coefficients[:, position], dtype)
            cosines = _read(function, angles.cosines, indices)
            sines = _read(function, angles.sines, indices)
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
        product = identity if product is None else product
        # XLA's CPU backend does not fuse a concatenation along the last axis with what uses it.
        # That is what is wanted: fused, sines would be computed anew for every amplitude.
        entries = jnp.concatenate([*product[0], *product[1]], axis=-1)
        return entries.reshape(len(entries), 2, 2, -1)


def kronecker(matrices: Inexact[Array, "groups wires 2 2"]) -> Inexact[Array, "groups dim dim"]:
    """The Kronecker product over the wires of each group, first wire outermost."""
    groups, wires = matrices.shape[:2]
    product = matrices[:, 0]
    for wire in range(1, wires):
        outer = product[:, :, None, :, None] * matrices[:, wire, None, :, None, :]
        product = outer.reshape(groups, 2 ** (wire + 1), 2 ** (wire + 1))
    return product


def _read(
    function: AngleFunction, values: AngleValues, indices: Sequence[int | None]
) -> Float[Array, "sequences columns"]:
    """The values at one position of all sequences; where none is used, any will do."""
    used = [index for index in indices if index is not None]
    if not used:
        return jnp.zeros((len(indices), 1), values.shared.dtype)
    return values.read(function, [used[0] if index is None else index for index in indices])


def _multiply(left: Entries, right: Entries) -> Entries:
    return [
        [left[row][0] * right[0][column] + left[row][1] * right[1][column] for column in range(2)]
        for row in range(2)
    ]
