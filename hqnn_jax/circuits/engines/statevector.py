"""Exact simulation on a batch of state vectors, layer by layer.

Per layer (see `schedule`): one-qubit gates are combined into one matrix per group of neighbouring
wires, shared by the whole batch where no feature enters; the entangler is a gather and a phase.
The first layer acts on |0…0⟩ and is an outer product. Arithmetic is real when every gate is.

The batch is the last axis, of size 1 as long as no feature has entered: permuting basis states
moves whole rows, of which the gradient (a scatter) is many times faster on CPU than of columns.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from hqnn_jax.circuits.definition import Circuit
from hqnn_jax.circuits.expectation import Expectation
from hqnn_jax.circuits.gates import REAL_GATES, Gate
from hqnn_jax.circuits.rotations import RotationStack, kronecker, product_state
from hqnn_jax.circuits.schedule import Entangler, Layer, schedule

# Wires whose one-qubit gates are applied as one matrix; on CPU, at 4–8 qubits, 3 was best overall
# of 2, 3 and 4.
_GROUP_SIZE = 3
# Reduced-precision matrix units (TF32, bfloat16 passes) would break the norm of the state.
_PRECISION = jax.lax.Precision.HIGHEST


def build(circuit: Circuit) -> Callable[..., Float[Array, "batch outputs"]]:
    """Return `evaluate(weights, features[batch, num_features]) -> [batch, num_outputs]`.

    The inputs have one float dtype, which is that of the arithmetic and of the output.
    """
    layers = schedule(circuit.gates, circuit.num_qubits)
    expectation = Expectation.of(circuit.observables, circuit.num_qubits)
    last = layers[-1]
    if last.entangler is not None and expectation.is_diagonal:
        # Phases do not change probabilities, and permuting the observables' diagonals instead
        # of the state costs nothing.
        expectation = expectation.after_permutation(last.entangler.source)
        layers = (*layers[:-1], Layer(last.rotations, None))
    evolution = _Evolution.of(circuit, layers)

    def evaluate(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outputs"]:
        outputs = expectation(evolution(weights, features))
        return jnp.broadcast_to(outputs.T, (features.shape[0], circuit.num_outputs))

    return evaluate


def build_state(circuit: Circuit) -> Callable[..., Inexact[Array, "batch states"]]:
    """Return `state(weights, features[batch, num_features]) -> [batch, 2^num_qubits]`.

    The final states are defined up to a global phase. They are real where every gate of the
    circuit is real, else complex, in the precision of the inputs.
    """
    evolution = _Evolution.of(circuit, schedule(circuit.gates, circuit.num_qubits))

    def state(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Inexact[Array, "batch states"]:
        states = evolution(weights, features)
        return jnp.broadcast_to(states.T, (features.shape[0], states.shape[0]))

    return state


@dataclass(frozen=True)
class _Kind:
    """What blocks have in common to be computed together.

    Attributes:
        num_wires: number of wires.
        per_sample: whether the matrix depends on features, and so differs between samples.
    """

    num_wires: int
    per_sample: bool


@dataclass(frozen=True)
class _Block:
    """One-qubit gates of a layer on neighbouring wires; `index` is its place in its kind."""

    first_wire: int
    kind: _Kind
    index: int


@dataclass(frozen=True, eq=False)
class _Evolution:
    """The map from inputs to final states.

    Attributes:
        circuit: the circuit.
        position: for each `Gate.angle`, its place in [0, shared angles, per-sample angles].
        first: rotations of the first layer, one on each wire.
        first_per_sample: whether any of these depends on features.
        stacks: rotations of the other layers, wire after wire and block after block.
        layers: blocks and entangler of each layer; the first has no blocks.
    """

    circuit: Circuit
    position: np.ndarray
    first: RotationStack
    first_per_sample: bool
    stacks: dict[_Kind, RotationStack]
    layers: tuple[tuple[list[_Block], Entangler | None], ...]

    @classmethod
    def of(cls, circuit: Circuit, layers: Sequence[Layer]) -> "_Evolution":
        """Divide the layers' rotations into blocks."""
        angles = circuit.angles
        num_shared = np.sum(angles.shared >= 0)
        position = 1 + np.where(angles.shared >= 0, angles.shared, num_shared + angles.per_sample)
        first = [layers[0].rotations.get(wire, ()) for wire in range(circuit.num_qubits)]
        sequences: dict[_Kind, list[tuple[Gate, ...]]] = {}
        planned: list[tuple[list[_Block], Entangler | None]] = [([], layers[0].entangler)]
        for layer in layers[1:]:
            blocks = []
            for wires, per_sample in _divide(layer, circuit):
                kind = _Kind(len(wires), per_sample)
                stacked = sequences.setdefault(kind, [])
                blocks.append(_Block(wires[0], kind, len(stacked) // len(wires)))
                stacked += [layer.rotations.get(wire, ()) for wire in wires]
            planned.append((blocks, layer.entangler))
        return cls(
            circuit=circuit,
            position=position,
            first=RotationStack.of(first, position),
            first_per_sample=any(_is_per_sample(gates, circuit) for gates in first),
            stacks={kind: RotationStack.of(gates, position) for kind, gates in sequences.items()},
            layers=tuple(planned),
        )

    @property
    def is_real(self) -> bool:
        """Whether real arithmetic is enough."""
        return all(gate.name in REAL_GATES for gate in self.circuit.gates)

    def __call__(
        self, weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Inexact[Array, "states columns"]:
        """The final states: one column a sample, or one for all if no gate reads a feature."""
        dtype = weights.dtype if self.is_real else jnp.result_type(weights, jnp.complex64)
        angles = self._angles(weights, features)
        matrices = {}
        for kind, stack in self.stacks.items():
            rotations = stack.matrices(angles[kind.per_sample], dtype)
            rotations = rotations.reshape(-1, kind.num_wires, *rotations.shape[1:])
            matrices[kind] = jnp.unstack(kronecker(rotations))
        state = product_state(self.first.matrices(angles[self.first_per_sample], dtype))
        for blocks, entangler in self.layers:
            for block in blocks:
                state = _rotate(state, matrices[block.kind][block.index], block.first_wire)
            if entangler is not None:
                state = self._entangle(state, entangler, angles)
        return state

    def _angles(
        self, weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> dict[bool, Float[Array, "angles columns"]]:
        """Angles in the order of `position`: [shared + 1, 1] and, per sample, [all + 1, batch]."""
        shared = jnp.pad(self.circuit.angles.shared_angles(weights), (1, 0))[:, None]
        per_sample = self.circuit.angles.sample_angles(features, weights).T
        for_each = jnp.broadcast_to(shared, (len(shared), len(features)))
        return {False: shared, True: jnp.concatenate([for_each, per_sample])}

    def _entangle(
        self,
        state: Inexact[Array, "states columns"],
        entangler: Entangler,
        angles: dict[bool, Float[Array, "..."]],
    ) -> Inexact[Array, "states new_columns"]:
        if not entangler.is_diagonal:
            state = state[entangler.source]
        if entangler.angles:
            position = self.position[list(entangler.angles)]
            per_sample = bool(np.any(position >= len(angles[False])))
            bits = jnp.asarray(entangler.bits.T, angles[False].dtype)
            phase = jnp.matmul(bits, angles[per_sample][position], precision=_PRECISION)
            phase += jnp.asarray(entangler.phase[:, None], phase.dtype)
            return state * jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
        if np.any(entangler.phase):
            factor = np.exp(1j * entangler.phase[:, None])
            return state * jnp.asarray(factor.real if self.is_real else factor, state.dtype)
        return state


def _divide(layer: Layer, circuit: Circuit) -> Iterator[tuple[list[int], bool]]:
    """Divide the wires that a layer rotates into blocks, and say which depend on features.

    A matrix of several wires costs more arithmetic and saves passes over the states, which pays
    where it is shared by the batch and is a matrix product.
    """
    count = -(-circuit.num_qubits // _GROUP_SIZE)
    for group in np.array_split(np.arange(circuit.num_qubits), count):
        wires = group.tolist()
        reads_feature = [_is_per_sample(layer.rotations.get(wire, ()), circuit) for wire in wires]
        if any(reads_feature):
            for wire, per_sample in zip(wires, reads_feature, strict=True):
                if wire in layer.rotations:
                    yield [wire], per_sample
        elif not layer.rotations.keys().isdisjoint(wires):
            yield wires, False


def _is_per_sample(gates: Sequence[Gate], circuit: Circuit) -> bool:
    """Whether any of the gates depends on features."""
    per_sample = circuit.angles.per_sample
    return any(gate.angle is not None and per_sample[gate.angle] >= 0 for gate in gates)


def _rotate(
    state: Inexact[Array, "states columns"],
    matrix: Inexact[Array, "dim dim matrix_columns"],
    first_wire: int,
) -> Inexact[Array, "states new_columns"]:
    """Apply a matrix to neighbouring wires from `first_wire`; shared if it has one column."""
    num_states, columns = state.shape
    dim = matrix.shape[0]
    if matrix.shape[2] == 1:
        split = state.reshape(2**first_wire, dim, -1)
        result = jnp.einsum("ij,ljr->lir", matrix[:, :, 0], split, precision=_PRECISION)
        return result.reshape(num_states, columns)
    split = state.reshape(2**first_wire, 1, dim, -1, columns)
    result = jnp.sum(matrix[None, :, :, None] * split, axis=2)
    return result.reshape(num_states, -1)
