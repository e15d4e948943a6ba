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

from hqnn_jax.circuits.bits import BitMap, labels, signs, split_signs
from hqnn_jax.circuits.components import Components, multiply
from hqnn_jax.circuits.permutation import permute_states
from hqnn_jax.circuits.schedule import Entangler, PhaseTerm

# Matrix units of reduced precision (TF32, bfloat16 passes) would break the norm of the state.
_PRECISION = jax.lax.Precision.HIGHEST
# Up to so many qubits, permutations and fixed phases are stored for every basis state.
_MAX_TABLE_QUBITS = 12


class Parameters(NamedTuple):
    """What a layer applies, as functions of the inputs.

    Attributes:
        matrices: [groups, dim, dim] for each size of group, on components.
        rotations: [wires, components, 2, 2, batch], those that differ between samples.
        phases: [terms, batch or 1], the entangler's phases in radians.
    """

    matrices: tuple[Float[Array, "groups dim dim"], ...]
    rotations: Float[Array, "wires components 2 2 batch"] | None
    phases: Float[Array, "terms columns"] | None


class Tables(NamedTuple):
    """What a layer applies whatever the inputs.

    Attributes:
        source: permutation of the basis states, of each or of each bit.
        inverse: its inverse.
        factors: [components, 2^n], fixed phase factors.
        high: [terms, 2^⌊n/2⌋], sign of each phase on the higher bits.
        low: [terms, 2^⌈n/2⌉], sign of each phase on the lower bits.
    """

    source: np.ndarray | None
    inverse: np.ndarray | None
    factors: np.ndarray | None
    high: np.ndarray | None
    low: np.ndarray | None


@dataclass(frozen=True)
class Structure:
    """The form of a layer; layers of one form differ only in parameters and tables.

    Attributes:
        num_qubits: number of qubits.
        groups: first wire and number of wires of each group, covering all wires.
        shared: for each group, whether it has a matrix, the same for all samples.
        per_sample: wires rotated sample by sample.
        permutes: whether the entangler permutes basis states.
        num_phases: number of phase terms computed from parameters.
        phases_per_sample: whether these differ between samples.
        has_factors: whether there are fixed phase factors.
    """

    num_qubits: int
    groups: tuple[tuple[int, int], ...]
    shared: tuple[bool, ...]
    per_sample: tuple[int, ...]
    permutes: bool
    num_phases: int
    phases_per_sample: bool
    has_factors: bool

    @property
    def differs_between_samples(self) -> bool:
        """Whether the layer reads features."""
        return bool(self.per_sample) or self.phases_per_sample

    @property
    def _moves_last(self) -> bool:
        """Whether the last group's move is part of the permutation."""
        return self.permutes and any(self.shared) and len(self.groups) > 1

    def tables(self, entangler: Entangler | None, components: int) -> Tables:
        """The tables of a layer of this form with the given entangler."""
        source = inverse = factors = high = low = None
        if entangler is not None and self.permutes:
            total = entangler.source
            if self._moves_last:
                size = self.groups[-1][1]
                wires = list(range(self.num_qubits))
                total = BitMap.reordering(wires[-size:] + wires[:-size]).after(total)
            source, inverse = _stored(total), _stored(total.inverse())
        if self.has_factors:
            assert entangler is not None
            factors = _factors(entangler.phases, self.num_qubits, components)
        if self.num_phases:
            assert entangler is not None
            masks = [term.mask for term in entangler.phases]
            high, low = split_signs(masks, self.num_qubits)
        return Tables(source, inverse, factors, high, low)

    def apply(self, tables: Tables, parameters: Parameters, state: Components) -> Components:
        """Apply the layer."""
        state = self._rotate(parameters, state)
        if tables.source is not None:
            assert tables.inverse is not None
            source, inverse = self._permutation(tables.source, tables.inverse)
            state = permute_states(state, source, inverse)
        for factor in self._phase_factors(tables, parameters, state):
            state = multiply(factor, state)
        return state

    def undo(self, tables: Tables, parameters: Parameters, state: Components) -> Components:
        """Apply the inverse of the layer."""
        for factor in self._phase_factors(tables, parameters, state):
            state = multiply(_conjugate(factor), state)
        if tables.source is not None:
            assert tables.inverse is not None
            source, inverse = self._permutation(tables.source, tables.inverse)
            state = permute_states(state, inverse, source)
        return self._rotate_back(parameters, state)

    def _rotate(self, parameters: Parameters, state: Components) -> Components:
        rotations = dict(zip(self.per_sample, _unstack(parameters.rotations), strict=True))
        if not any(self.shared):
            for wire, rotation in rotations.items():
                state = _rotate_wire(rotation, wire, state)
            return state
        matrices = self._matrices(parameters)
        for group, (first, size) in enumerate(self.groups):
            if group in matrices:
                state = _multiply_leading(matrices[group], state)
            for wire in range(first, first + size):
                if wire in rotations:
                    state = _rotate_wire(rotations[wire], wire - first, state)
            if group < len(self.groups) - 1 or not self._moves_last:
                state = _lead_to_end(state, size)
        return state

    def _rotate_back(self, parameters: Parameters, state: Components) -> Components:
        inverse = {
            wire: _conjugate(jnp.swapaxes(rotation, 1, 2))
            for wire, rotation in zip(
                self.per_sample, _unstack(parameters.rotations), strict=True
            )
        }
        if not any(self.shared):
            for wire, rotation in inverse.items():
                state = _rotate_wire(rotation, wire, state)
            return state
        matrices = self._matrices(parameters)
        for group, (first, size) in reversed(list(enumerate(self.groups))):
            if group < len(self.groups) - 1 or not self._moves_last:
                state = _end_to_lead(state, size)
            for wire in range(first, first + size):
                if wire in inverse:
                    state = _rotate_wire(inverse[wire], wire - first, state)
            if group in matrices:
                state = _multiply_leading(matrices[group].T, state)
        return state

    def _matrices(self, parameters: Parameters) -> dict[int, Float[Array, "dim dim"]]:
        """The matrix of each group that has one."""
        sizes = sorted({size for _, size in self.groups})
        remaining = [list(_unstack(matrices)) for matrices in parameters.matrices]
        return {
            group: remaining[sizes.index(size)].pop(0)
            for group, (_, size) in enumerate(self.groups)
            if self.shared[group]
        }

    def _permutation(
        self, source: np.ndarray, inverse: np.ndarray
    ) -> tuple[Int[Array, " states"], Int[Array, " states"]]:
        if source.shape[-1] == 2**self.num_qubits:
            return jnp.asarray(source), jnp.asarray(inverse)
        return labels(source), labels(inverse)

    def _phase_factors(
        self, tables: Tables, parameters: Parameters, state: Components
    ) -> list[Components]:
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


def _stored(permutation: BitMap) -> np.ndarray:
    num_qubits = len(permutation.columns)
    columns = np.array(permutation.columns, np.int32)
    if num_qubits > _MAX_TABLE_QUBITS:
        return columns
    images = np.zeros(1, np.int32)
    for column in columns:
        images = np.concatenate([images[:, None], images[:, None] ^ column], axis=1).ravel()
    return images


def _basis_phases(
    high: Array | np.ndarray, low: Array | np.ndarray, phases: Float[Array, "terms columns"]
) -> Float[Array, "states columns"]:
    """Σ_k θ_k parity(mask_k & j) = ½ Σ_k θ_k (1 - high_k low_k)."""
    first, second = jnp.asarray(high, phases.dtype), jnp.asarray(low, phases.dtype)
    weighted = second[:, :, None] * phases[:, None]
    alternating = jnp.einsum("kh,klb->hlb", first, weighted, precision=_PRECISION)
    total = jnp.sum(phases, axis=0) - alternating
    return total.reshape(-1, phases.shape[1]) / 2


def _unstack(stacked: Array | None) -> tuple[Array, ...]:
    return () if stacked is None else tuple(jnp.unstack(stacked))


def _conjugate(components: Components) -> Components:
    if len(components) == 1:
        return components
    return jnp.stack([components[0], -components[1]])


def _multiply_leading(matrix: Float[Array, "dim dim"], state: Components) -> Components:
    """Apply a matrix on components and the leading wires."""
    product = jnp.matmul(matrix, state.reshape(len(matrix), -1), precision=_PRECISION)
    return product.reshape(state.shape)


def _rotate_wire(
    rotation: Float[Array, "components 2 2 batch"], place: int, state: Components
) -> Components:
    """Apply one-qubit gates that differ between samples to the wire at a place."""
    split = state.reshape(len(state), 2**place, 2, -1, state.shape[-1])
    zero, one = split[:, :, 0], split[:, :, 1]
    entries = rotation[:, :, :, None, None]
    rows = [
        multiply(entries[:, row, 0], zero) + multiply(entries[:, row, 1], one) for row in range(2)
    ]
    rotated = jnp.stack(rows, axis=2)
    return rotated.reshape(len(rotated), state.shape[1], -1)


def _lead_to_end(state: Components, size: int) -> Components:
    """Move the leading wires behind all others."""
    components, states, batch = state.shape
    if 2**size == states:
        return state
    split = state.reshape(components, 2**size, -1, batch)
    return jnp.swapaxes(split, 1, 2).reshape(components, states, batch)


def _end_to_lead(state: Components, size: int) -> Components:
    """Move the last wires before all others."""
    components, states, batch = state.shape
    if 2**size == states:
        return state
    split = state.reshape(components, -1, 2**size, batch)
    return jnp.swapaxes(split, 1, 2).reshape(components, states, batch)
