"""Matrices of one-qubit gates, all gates of a circuit in a few vectorised operations."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Inexact

from hqnn_jax.circuits.angles import AngleFunction
from hqnn_jax.circuits.gates import GATE_COEFFICIENTS, REAL_GATES, Gate
from hqnn_jax.circuits.permutation import read_rows
from hqnn_jax.circuits.simulation.batch import Size, common_columns
from hqnn_jax.circuits.simulation.trigonometry import cosine_sine

# Written out, the product of more gates takes XLA minutes to compile: it fuses the whole chain.
_MAX_WRITTEN_OUT = 12
_IDENTITY = np.array([np.eye(2), np.zeros((2, 2)), np.zeros((2, 2))])


class AngleValues(NamedTuple):
    """A function of the angles of one batch, by what the angles depend on.

    Attributes:
        shared: [angles, 1], for angles that do not depend on features.
        per_sample: [angles, batch], for those that do.
    """

    shared: Float[Array, "shared 1"]
    per_sample: Float[Array, "per_sample batch"]

    def read(
        self, angles: AngleFunction, indices: Sequence[int | None]
    ) -> Float[Array, "angles _"]:
        """Some values, by `Gate.angle`: one column, or one a sample if any depends on features.

        Where the index is None the value is zero, or any other that depends on nothing.
        """
        picked = np.array([-1 if index is None else index for index in indices], int)
        shared = np.append(angles.shared, -1)[picked]
        per_sample = np.append(angles.per_sample, -1)[picked]
        if np.all(per_sample < 0):
            return read_rows(self.shared, shared)
        own = read_rows(self.per_sample, per_sample)
        return own if np.all(shared < 0) else own + read_rows(self.shared, shared)


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
        shared_cosines, shared_sines = _half_angle_functions(values.shared)
        cosines, sines = _half_angle_functions(values.per_sample)
        return cls(values, AngleValues(shared_cosines, cosines), AngleValues(shared_sines, sines))

    @property
    def dtype(self) -> DTypeLike:
        """The float dtype of the inputs."""
        return self.values.shared.dtype

    @property
    def batch(self) -> Size:
        """Number of samples."""
        return self.values.per_sample.shape[1]


def _half_angle_functions(
    angles: Float[Array, "angles columns"],
) -> tuple[Float[Array, "angles columns"], Float[Array, "angles columns"]]:
    half = angles / 2
    # XLA's CPU backend does not fuse a concatenation along the last axis with what uses it.
    # That is what is wanted: fused, sines would be computed anew for every amplitude.
    both = jnp.concatenate(cosine_sine(half), axis=1)
    columns = angles.shape[1]
    cosine, sine = (
        jax.lax.slice_in_dim(both, first, first + columns, axis=1) for first in (0, columns)
    )
    return cosine, sine


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
        if not self.angles:
            count = self.coefficients.shape[2]
            return jnp.broadcast_to(
                jnp.eye(2, dtype=self._dtype(angles))[..., None], (count, 2, 2, 1)
            )
        if self.reads_features(function):
            columns = [self.columns(function, angles, column) for column in range(2)]
            return jnp.stack(columns, axis=2)
        # Few and small operations: all positions at once.
        indices = [index for position in self.angles for index in position]
        shape = (*self.coefficients.shape[1:3], 1, 1, 1)
        constant, cosine, sine = self._typed(angles)
        cosines = angles.cosines.read(function, indices).reshape(shape)
        sines = angles.sines.read(function, indices).reshape(shape)
        first, *others = jnp.unstack(constant + cosines * cosine + sines * sine)
        return functools.reduce(lambda product, matrix: _multiply(matrix, product), others, first)

    def columns(
        self, function: AngleFunction, angles: Angles, column: int = 0
    ) -> Inexact[Array, "sequences 2 columns"]:
        """One column of the product of each sequence: what it makes of |0⟩ or of |1⟩."""
        constant, cosine, sine = self._typed(angles)
        count = self.coefficients.shape[2]
        vector = [jnp.full((count, 1), row == column, self._dtype(angles)) for row in range(2)]
        cosines = [angles.cosines.read(function, indices) for indices in self.angles]
        sines = [angles.sines.read(function, indices) for indices in self.angles]
        if len(self.angles) <= _MAX_WRITTEN_OUT:
            for turn in zip(constant, cosine, sine, cosines, sines, strict=True):
                vector = _turned(vector, turn)
            return jnp.stack(vector, axis=1)
        batch = common_columns(*(values.shape[1] for values in cosines))
        turns = (constant, cosine, sine, *(_stack(values, batch) for values in (cosines, sines)))
        first, others = (tuple(part[places] for part in turns) for places in (0, slice(1, None)))
        vector, _ = jax.lax.scan(
            lambda vector, turn: (_turned(vector, turn), None), _turned(vector, first), others
        )
        return jnp.stack(vector, axis=1)

    def reads_features(self, function: AngleFunction) -> bool:
        """Whether any matrix differs between samples."""
        return any(
            index is not None and function.per_sample[index] >= 0
            for position in self.angles
            for index in position
        )

    def _dtype(self, angles: Angles) -> DTypeLike:
        return angles.dtype if self.is_real else jnp.result_type(angles.dtype, jnp.complex64)

    def _typed(self, angles: Angles) -> Inexact[Array, "3 gates sequences 2 2 1"]:
        coefficients = self.coefficients.real if self.is_real else self.coefficients
        return jnp.asarray(coefficients, self._dtype(angles))


def _turned(
    vector: list[Inexact[Array, "sequences _"]], turn: Sequence[Array]
) -> list[Inexact[Array, "sequences _"]]:
    """Vectors after a gate, given its coefficients and the cosines and sines of its angles.

    Entry by entry: with large batches, sums over rows and columns would be slow gradients.
    """
    constant, cosine, sine, cosines, sines = turn
    matrix = [
        [
            constant[:, row, k] + cosines * cosine[:, row, k] + sines * sine[:, row, k]
            for k in range(2)
        ]
        for row in range(2)
    ]
    return [matrix[row][0] * vector[0] + matrix[row][1] * vector[1] for row in range(2)]


def _stack(
    values: Sequence[Float[Array, "sequences _"]], batch: Size
) -> Float[Array, "gates sequences batch"]:
    return jnp.stack([jnp.broadcast_to(part, (len(part), batch)) for part in values])


def kronecker(
    matrices: Inexact[Array, "groups wires levels levels"],
) -> Inexact[Array, "groups dim dim"]:
    """The Kronecker product over the wires of each group, first wire outermost."""
    groups, wires, levels, _ = matrices.shape
    product = matrices[:, 0]
    for wire in range(1, wires):
        outer = product[:, :, None, :, None] * matrices[:, wire, None, :, None, :]
        product = outer.reshape(groups, levels ** (wire + 1), levels ** (wire + 1))
    return product


def _multiply(
    left: Inexact[Array, "sequences 2 2 _left"], right: Inexact[Array, "sequences 2 2 _right"]
) -> Inexact[Array, "sequences 2 2 _"]:
    return left[:, :, 0, None] * right[:, None, 0] + left[:, :, 1, None] * right[:, None, 1]
