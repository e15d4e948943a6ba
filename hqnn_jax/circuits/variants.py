"""Variants of a circuit that lack a part of it, for ablations.

Both start from the captured gates, so that they exist for every circuit: a template or controlled
rotation has been decomposed by then.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from jaxtyping import Bool

from hqnn_jax.circuits.capture.quantum_function import queue
from hqnn_jax.circuits.circuit import Circuit
from hqnn_jax.circuits.gates import Gate
from hqnn_jax.errors import CircuitError

ENTANGLING_GATES = frozenset({"CNOT", "CZ"})
"""Gates of the gate set that can entangle; SWAP only exchanges two qubits."""


def without_entanglement(circuit: Circuit) -> Circuit:
    """The circuit without the gates that can entangle: its state is a product of qubit states.

    Every CNOT and CZ among the captured gates is left out, SWAP stays. What they were decomposed
    from keeps its one-qubit gates: of a controlled RZ by θ remain RZ(-θ/2) and RZ(θ/2), that is
    nothing. Angles, weights with their shape and initial values, observables and noise stay the
    same; a weight that no longer has an effect keeps its place and has gradient zero.

    Raises:
        CircuitError: features are the amplitudes of several qubits, which no product state has.
    """
    _refuse_amplitudes(circuit, _Reads.of(circuit))
    gates = tuple(gate for gate in circuit.gates if gate.name not in ENTANGLING_GATES)

    def function(features, weights):
        angles = circuit.angles(*map(jnp.asarray, (features, weights)))
        for gate in gates:
            _queue_gate(gate, angles)
        return _queue_measurements(circuit, features, weights)

    return replace(circuit, name=f"{circuit.name}_unentangled", gates=gates, function=function)


def product_of_rotations(circuit: Circuit) -> Circuit:
    """The circuit's encoding and observables around one general rotation per qubit.

    On each qubit: the one-qubit gates of the encoding, then qml.Rot with three weights; weights
    have the shape [num_qubits, 3]. Two-qubit gates and gates that read weights are left out. The
    latter divide a qubit's gates into blocks; of a block its gates up to the last that reads
    features belong to the encoding (a Hadamard before it, for example), unless all that the block
    reads has been read on that qubit before. So of data re-uploading the first upload is kept.
    The noise of the circuit stays.

    Raises:
        CircuitError: features are the amplitudes of several qubits, or an angle depends on features
            and weights together.
    """
    reads = _Reads.of(circuit)
    _refuse_amplitudes(circuit, reads)
    _refuse_trained_encoding(circuit, reads)
    encoding = [list(_encoding(circuit, wire, reads)) for wire in range(circuit.num_qubits)]
    angle_of = _WeightlessAngles(circuit)

    def function(features, weights):
        angles = angle_of(features)
        for wire, gates in enumerate(encoding):
            for gate in gates:
                _queue_gate(gate, angles)
            qml.Rot(weights[wire, 0], weights[wire, 1], weights[wire, 2], wire)
        return _queue_measurements(circuit, features, np.zeros(circuit.weights_shape))

    variant = Circuit.from_function(
        function,
        num_qubits=circuit.num_qubits,
        num_features=circuit.num_features,
        weights_shape=(circuit.num_qubits, 3),
        name=f"{circuit.name}_product",
    )
    return variant.with_noise(circuit.noise)


def _queue_gate(gate: Gate, angles: Sequence[Any] | jax.Array) -> None:
    operation = getattr(qml, gate.name)
    if gate.angle is None:
        operation(wires=gate.wires)
    else:
        operation(angles[gate.angle], wires=gate.wires)


def _queue_measurements(circuit: Circuit, features: Any, weights: Any) -> list[Any]:
    """Measure as the circuit's own quantum function does."""
    with qml.QueuingManager.stop_recording():
        tape = queue(circuit.function, features, weights, circuit.name)
    return [qml.apply(measurement) for measurement in tape.measurements]


class _WeightlessAngles:
    """The angles that do not depend on weights, one by one.

    Each is an expression of its own, so that the capture sees what it depends on.
    """

    def __init__(self, circuit: Circuit) -> None:
        self.function = circuit.angles
        self.positions = circuit.angles.feature_positions()
        with jax.enable_x64(True):
            zeros = jnp.zeros(circuit.weights_shape, jnp.float64)
            self.constants = np.asarray(circuit.angles.shared_angles(zeros)).tolist()

    def __call__(self, features: Any) -> list[Any]:
        """Angles in radians in the order of `Gate.angle`; those that read weights are undefined."""
        features = jnp.asarray(features)
        dtype = jnp.result_type(features, jnp.float32)
        zeros = jnp.zeros(self.function.weights_shape, dtype)
        computed = self.function.sample_angles(features.astype(dtype)[None], zeros)[0]
        return [
            self.constants[shared]
            if shared >= 0
            else (computed[place] if position is None else features[position])
            for shared, place, position in zip(
                self.function.shared.tolist(),
                self.function.per_sample.tolist(),
                self.positions,
                strict=True,
            )
        ]


@dataclass(frozen=True)
class _Reads:
    """What each gate's angle depends on, found by changing the inputs.

    Attributes:
        features: [num_angles, num_features].
        weights: [num_angles].
        only_direction: [num_angles], features, but not their common scale.
    """

    features: Bool[np.ndarray, "angles features"]
    weights: Bool[np.ndarray, " angles"]
    only_direction: Bool[np.ndarray, " angles"]

    @classmethod
    def of(cls, circuit: Circuit) -> "_Reads":
        """Look at a circuit's angles."""
        count, shape = circuit.num_features, circuit.weights_shape
        draw = np.random.default_rng(0).uniform
        evaluate = jax.jit(jax.vmap(circuit.angles))
        changed = []
        # Somewhere in all of these ranges even a function such as max(x, 0) is not constant.
        for limits in ((0.2, 2.8), (-2.8, -0.2), (-2.8, 2.8)):
            features, other_features = draw(*limits, (2, count))
            weights, other_weights = draw(*limits, shape), draw(*limits, shape)
            one_by_one = np.where(np.eye(count), other_features, features)
            points = [
                (features, weights),
                (features, other_weights),
                (2 * features, weights),
                *((some_other, weights) for some_other in one_by_one),
            ]
            stacked = (np.stack(parts) for parts in zip(*points, strict=True))
            angles = np.asarray(evaluate(*(jnp.asarray(part, jnp.float32) for part in stacked)))
            changed.append(~np.isclose(angles[1:], angles[0], rtol=1e-5, atol=1e-6))
        by_weights, by_scale, *by_feature = np.any(changed, axis=0)
        features_read = np.array(by_feature, bool).reshape(count, -1).T
        return cls(features_read, by_weights, features_read.any(axis=1) & ~by_scale)

    def features_of(self, gate: Gate) -> Bool[np.ndarray, " features"]:
        """Whether a gate depends on each feature."""
        if gate.angle is None:
            return np.zeros(self.features.shape[1], bool)
        return self.features[gate.angle]


def _refuse_trained_encoding(circuit: Circuit, reads: _Reads) -> None:
    for gate in circuit.gates:
        if gate.angle is not None and reads.weights[gate.angle] and reads.features_of(gate).any():
            raise CircuitError(
                f"Circuit '{circuit.name}': the angle of {gate.name} on wire {gate.wires[0]} "
                "depends on features and weights together, so that its encoding is itself trained "
                "and no product of rotations has it; expected separate gates"
            )


def _encoding(circuit: Circuit, wire: int, reads: _Reads) -> Iterator[Gate]:
    """The gates that encode features on a wire; see `product_of_rotations`."""
    known = np.zeros(circuit.num_features, bool)
    for block in _blocks(circuit, wire, reads):
        found = [place for place, gate in enumerate(block) if reads.features_of(gate).any()]
        read = sum((reads.features_of(gate) for gate in block), np.zeros_like(known))
        if np.any(read & ~known):
            yield from block[: found[-1] + 1]
            known = known | read


def _blocks(circuit: Circuit, wire: int, reads: _Reads) -> Iterator[list[Gate]]:
    """The one-qubit gates on a wire between those that read weights."""
    block: list[Gate] = []
    for gate in circuit.gates:
        if gate.wires != (wire,):
            continue
        if gate.angle is not None and reads.weights[gate.angle]:
            yield block
            block = []
        else:
            block.append(gate)
    yield block


def _refuse_amplitudes(circuit: Circuit, reads: _Reads) -> None:
    """Raise CircuitError where features are the amplitudes of a state of several qubits.

    Such a state is prepared by rotations with CNOTs between them on one wire (see
    `state_preparation`), by angles that do not change when all features are scaled.
    """
    # Wires whose last gates are such a rotation, and whether a CNOT on it has followed.
    turned: dict[int, bool] = {}
    for gate in circuit.gates:
        *controls, wire = gate.wires
        if gate.angle is not None and reads.only_direction[gate.angle]:
            if turned.get(wire):
                raise CircuitError(
                    f"Circuit '{circuit.name}': features are the amplitudes of several qubits, "
                    "which are entangled by that alone; expected an embedding by rotations"
                )
            turned[wire] = False
        elif gate.name == "CNOT" and wire in turned:
            turned[wire] = True
        else:
            controls.append(wire)
        for other in controls:
            turned.pop(other, None)
