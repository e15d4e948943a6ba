"""One layer applied to a batch of states, and undone.

States are [components, 2^n, batch]. The batch is the last axis: permuting basis states then moves
whole rows, and a matrix on the leading wires is one product of two matrices. To let every group
of wires lead in turn, the order of the wires is rotated after each group; the last of these
moves is part of the entangler's permutation.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hqnn_jax.circuits.permutation import permute_states
from hqnn_jax.circuits.simulation.bits import BitMap, image_tables, labels, signs, split_signs
from hqnn_jax.circuits.simulation.components import Components, multiply
from hqnn_jax.circuits.simulation.schedule import Entangler, PhaseTerm

# Matrix units of reduced precision (TF32, bfloat16 passes) would break the norm of the state.
_PRECISION = jax.lax.Precision.HIGHEST
# Up to so many qubits, fixed phases are stored for every basis state.
_MAX_TABLE_QUBITS = 12


Permutation = Array | np.ndarray | tuple[Array | np.ndarray, Array | np.ndarray]


class LayerParameters(NamedTuple):
    """What a layer applies, as functions of the inputs.

    Attributes:
        matrices: for each number of wires that a group has, [groups, dim, dim] on components: one
            for each of `Structure.matrix_groups`, in that order.
        rotations: [wires, components, levels, levels, batch], those that differ between samples.
        phases: [terms, batch or 1], the entangler's phases in radians.
    """

    matrices: dict[int, Float[Array, "groups dim dim"]]
    rotations: Float[Array, "wires components levels levels batch"] | None
    phases: Float[Array, "terms columns"] | None


class Tables(NamedTuple):
    """What a layer applies whatever the inputs.

    Attributes:
        source: permutation of the basis states, or its `image_tables`.
        inverse: its inverse.
        factors: [components, 2^n], fixed phase factors.
        high: [terms, 2^⌊n/2⌋], sign of each phase on the higher bits.
        low: [terms, 2^⌈n/2⌉], sign of each phase on the lower bits.
    """

    source: Permutation | None
    inverse: Permutation | None
    factors: np.ndarray | None
    high: np.ndarray | None
    low: np.ndarray | None


@dataclass(frozen=True)
class Structure:
    """The form of a layer; layers of one form differ only in parameters and tables.

    Attributes:
        num_qubits: number of qubits.
        levels: values of a qubit's index: 2 in state vectors, 4 in vectors of Pauli words.
        groups: first wire and number of wires of each group, covering all wires.
        shared: for each group, whether it has a matrix, the same for all samples.
        per_sample: wires rotated sample by sample.
        permutes: whether the entangler permutes basis states.
        num_phases: number of phase terms computed from parameters.
        phases_per_sample: whether these differ between samples.
        has_factors: whether there are fixed phase factors.
    """

    num_qubits: int
    levels: int
    groups: tuple[tuple[int, int], ...]
    shared: tuple[bool, ...]
    per_sample: tuple[int, ...]
    permutes: bool
    num_phases: int
    phases_per_sample: bool
    has_factors: bool

    def matrix_groups(self, size: int) -> tuple[int, ...]:
        """The groups of so many wires that have a matrix, as their matrices are stacked."""
        return tuple(
            group
            for group, (_, own) in enumerate(self.groups)
            if own == size and self.shared[group]
        )

    @property
    def moves_last(self) -> bool:
        """Whether the last group's move is part of the permutation."""
        return self.permutes and any(self.shared) and len(self.groups) > 1

    def tables(self, entangler: Entangler | None, components: int) -> Tables:
        """The tables of a layer of this form with the given entangler."""
        source = inverse = factors = high = low = None
        if entangler is not None and self.permutes:
            total = entangler.source
            if self.moves_last:
                size = self.groups[-1][1]
                wires = list(range(self.num_qubits))
                total = BitMap.reordering(wires[-size:] + wires[:-size]).after(total)
            source, inverse = image_tables(total), image_tables(total.inverse())
        if self.has_factors:
            assert entangler is not None
            factors = _factors(entangler.phases, self.num_qubits, components)
        if self.num_phases:
            assert entangler is not None
            masks = [term.mask for term in entangler.phases]
            high, low = split_signs(masks, self.num_qubits)
        return Tables(source, inverse, factors, high, low)

    @property
    def num_stages(self) -> int:
        """Number of parts that are applied, and undone, one by one: the groups, the entangler."""
        return len(self.groups) + 1

    def apply(self, tables: Tables, parameters: LayerParameters, state: Components) -> Components:
        """Apply the layer."""
        for stage in range(self.num_stages):
            state = self.apply_stage(stage, tables, parameters, state)
        return state

    def undo(self, tables: Tables, parameters: LayerParameters, state: Components) -> Components:
        """Apply the inverse of the layer (where it is not unitary, the conjugate transpose)."""
        for stage in reversed(range(self.num_stages)):
            state = self.undo_stage(stage, tables, parameters, state)
        return state

    def apply_stage(
        self, stage: int, tables: Tables, parameters: LayerParameters, state: Components
    ) -> Components:
        """Apply one part of the layer.

        Args:
            stage: number of the part, below `num_stages`.
            tables: what the layer applies whatever the inputs.
            parameters: what it applies for these inputs.
            state: the states [components, levels^n, batch].
        """
        if stage < len(self.groups):
            first, size = self.groups[stage]
            matrix = self._matrix(stage, parameters)
            if matrix is not None:
                state = _multiply_leading(matrix, state)
            for wire, rotation in self._rotations(stage, parameters):
                state = _rotate_wire(rotation, wire - first if any(self.shared) else wire, state)
            return _lead_to_end(state, self.levels**size) if self._moves(stage) else state
        if tables.source is not None:
            assert tables.inverse is not None
            state = permute_states(state, _indices(tables.source), _indices(tables.inverse))
        for factor in _phase_factors(tables, parameters, state):
            state = multiply(factor, state)
        return state

    def undo_stage(
        self, stage: int, tables: Tables, parameters: LayerParameters, state: Components
    ) -> Components:
        """Undo one part of the layer; arguments as for `apply_stage`."""
        if stage < len(self.groups):
            first, size = self.groups[stage]
            if self._moves(stage):
                state = _end_to_lead(state, self.levels**size)
            for wire, rotation in self._rotations(stage, parameters):
                inverse = _conjugate(jnp.swapaxes(rotation, 1, 2))
                state = _rotate_wire(inverse, wire - first if any(self.shared) else wire, state)
            matrix = self._matrix(stage, parameters)
            return state if matrix is None else _multiply_leading(matrix.T, state)
        for factor in _phase_factors(tables, parameters, state):
            state = multiply(_conjugate(factor), state)
        if tables.source is not None:
            assert tables.inverse is not None
            state = permute_states(state, _indices(tables.inverse), _indices(tables.source))
        return state

    def _moves(self, group: int) -> bool:
        """Whether the order of the wires is rotated after a group."""
        return any(self.shared) and not (self.moves_last and group == len(self.groups) - 1)

    def _matrix(self, group: int, parameters: LayerParameters) -> Float[Array, "dim dim"] | None:
        """The matrix of a group, if it has one."""
        if not self.shared[group]:
            return None
        size = self.groups[group][1]
        own, matrices = self.matrix_groups(size), parameters.matrices[size]
        assert len(matrices) == len(own)
        return matrices[own.index(group)]

    def _rotations(
        self, group: int, parameters: LayerParameters
    ) -> list[tuple[int, Float[Array, "_components levels levels batch"]]]:
        """The wires of a group that are rotated sample by sample, with their matrices."""
        first, size = self.groups[group]
        if parameters.rotations is None:
            return []
        return [
            (wire, parameters.rotations[place])
            for place, wire in enumerate(self.per_sample)
            if first <= wire < first + size
        ]


def wire_groups(num_qubits: int, largest: int) -> tuple[tuple[int, int], ...]:
    """Divide the wires into few groups of at most `largest`: first wire and number of each."""
    parts = np.array_split(np.arange(num_qubits), -(-num_qubits // largest))
    return tuple((int(wires[0]), len(wires)) for wires in parts)


def has_fixed_factors(entangler: Entangler | None, num_qubits: int) -> bool:
    """Whether the entangler's phases are fixed and few enough to be stored as factors."""
    return (
        entangler is not None
        and bool(entangler.phases)
        and num_qubits <= _MAX_TABLE_QUBITS
        and all(term.angle is None for term in entangler.phases)
    )


def _factors(phases: tuple[PhaseTerm, ...], num_qubits: int, components: int) -> np.ndarray:
    odd = (1 - signs([term.mask for term in phases], num_qubits).astype(float)) / 2
    factor = np.exp(1j * (np.array([term.coefficient for term in phases]) @ odd))
    return np.stack([factor.real, factor.imag] if components == 2 else [factor.real.round()])


def _indices(permutation: Permutation) -> Int[Array, " states"]:
    return labels(*permutation) if isinstance(permutation, tuple) else jnp.asarray(permutation)


def _basis_phases(
    high: Array | np.ndarray, low: Array | np.ndarray, phases: Float[Array, "terms columns"]
) -> Float[Array, "states columns"]:
    """Σ_k θ_k parity(mask_k & j) = ½ Σ_k θ_k (1 - high_k low_k)."""
    first, second = jnp.asarray(high, phases.dtype), jnp.asarray(low, phases.dtype)
    weighted = second[:, :, None] * phases[:, None]
    alternating = jnp.einsum("kh,klb->hlb", first, weighted, precision=_PRECISION)
    total = jnp.sum(phases, axis=0) - alternating
    return total.reshape(-1, phases.shape[1]) / 2


def _phase_factors(
    tables: Tables, parameters: LayerParameters, state: Components
) -> list[Components]:
    """What the entangler multiplies basis states by."""
    factors = []
    if tables.factors is not None:
        factors.append(jnp.asarray(tables.factors, state.dtype)[..., None])
    if tables.high is not None:
        assert tables.low is not None
        assert parameters.phases is not None
        phases = _basis_phases(tables.high, tables.low, parameters.phases)
        # A circuit of real gates has phases 0 and π only.
        cosine = jnp.cos(phases)
        parts = [jnp.sign(cosine)] if len(state) == 1 else [cosine, jnp.sin(phases)]
        factors.append(jnp.stack(parts))
    return factors


def _conjugate(components: Components) -> Components:
    if len(components) == 1:
        return components
    return jnp.stack([components[0], -components[1]])


def _multiply_leading(matrix: Float[Array, "dim dim"], state: Components) -> Components:
    """Apply a matrix on components and the leading wires."""
    product = jnp.matmul(matrix, state.reshape(len(matrix), -1), precision=_PRECISION)
    return product.reshape(state.shape)


def _rotate_wire(
    rotation: Float[Array, "_components levels levels batch"], place: int, state: Components
) -> Components:
    """Apply matrices that differ between samples to the wire at a place."""
    levels = rotation.shape[1]
    split = state.reshape(len(state), levels**place, levels, -1, state.shape[-1])
    entries = rotation[:, :, :, None, None]
    rows = []
    for row in range(levels):
        terms = [multiply(entries[:, row, k], split[:, :, k]) for k in range(levels)]
        rows.append(sum(terms[1:], start=terms[0]))
    rotated = jnp.stack(rows, axis=2)
    return rotated.reshape(len(rotated), state.shape[1], -1)


def _lead_to_end(state: Components, size: int) -> Components:
    """Move the leading wires, whose index has `size` values, behind all others."""
    components, states, batch = state.shape
    if size == states:
        return state
    split = state.reshape(components, size, -1, batch)
    return jnp.swapaxes(split, 1, 2).reshape(components, states, batch)


def _end_to_lead(state: Components, size: int) -> Components:
    """Move the last wires, whose index has `size` values, before all others."""
    components, states, batch = state.shape
    if size == states:
        return state
    split = state.reshape(components, -1, size, batch)
    return jnp.swapaxes(split, 1, 2).reshape(components, states, batch)
