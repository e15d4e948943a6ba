"""Export to Qiskit: parity with the engines and round trips."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from hqnn_jax.circuits import Circuit, hqcnn2025, radhi2025, strongly_entangling
from hqnn_jax.circuits.exchange.to_qiskit import QISKIT_NAMES, to_qiskit
from hqnn_jax.circuits.gates import GATE_SET
from hqnn_jax.errors import CircuitError
from tests.circuits.exchange.examples import (
    BATCH,
    UNOPTIMISED,
    WEIGHTS_SHAPE,
    engine_values,
    estimate,
    inputs,
    qnode_values,
    random_circuit,
)

LIBRARY = {
    "radhi2025": radhi2025,
    "strongly_entangling": lambda: strongly_entangling(4, 2),
    "hqcnn2025": lambda: hqcnn2025(3, 1),
    "one_qubit": lambda: strongly_entangling(1, 1),
}


@pytest.mark.parametrize("seed", range(3))
def test_random_circuit_matches_estimator(seed):
    circuit = random_circuit(seed)
    exported = to_qiskit(circuit)
    pub = exported.pub(*inputs(circuit))
    found = StatevectorEstimator().run([pub], precision=0).result()[0].data.evs
    np.testing.assert_allclose(found, engine_values(circuit), atol=1e-10)


@pytest.mark.parametrize("name", LIBRARY)
def test_library_circuit_matches_estimator(name):
    circuit = LIBRARY[name]()
    exported = to_qiskit(circuit)
    assert exported.circuit.num_qubits == circuit.num_qubits
    assert len(exported.features) == circuit.num_features
    assert len(exported.weights) == circuit.num_weights
    found = estimate(exported.circuit, exported.observables, exported.bind(*inputs(circuit)))
    np.testing.assert_allclose(found, engine_values(circuit), atol=1e-10)


def test_parity_check_notices_qubit_order():
    """A label that is not reversed, or a circuit whose qubits are, gives other values."""
    circuit = random_circuit(0)
    exported = to_qiskit(circuit)
    values = exported.bind(*inputs(circuit))
    expected = engine_values(circuit)
    as_written = [
        SparsePauliOp.from_list([(word, coefficient) for coefficient, word in observable.terms])
        for observable in circuit.observables
    ]
    wrong_labels = estimate(exported.circuit, as_written, values)
    wrong_qubits = estimate(exported.circuit.reverse_bits(), exported.observables, values)
    wrong_samples = estimate(exported.circuit, exported.observables, values[::-1])
    for wrong in (wrong_labels, wrong_qubits, wrong_samples):
        assert np.max(np.abs(wrong - expected)) > 0.05


def test_drawing_has_the_same_qubits():
    def function(features, weights):
        qml.RX(features[0], 0)
        qml.CNOT([0, 2])
        qml.RZ(2 * weights[0], 1)
        return qml.expval(0.5 * qml.Z(0) @ qml.X(2))

    circuit = Circuit.from_function(function, num_qubits=3, num_features=1, weights_shape=(1,))
    exported = to_qiskit(circuit)
    expected = QuantumCircuit(3)
    expected.rx(exported.features[0], 0)
    expected.cx(0, 2)
    expected.rz(2 * exported.weights[0], 1)
    assert exported.circuit == expected
    assert exported.observables == (SparsePauliOp("XIZ", 0.5),)


def test_every_gate_has_a_qiskit_name():
    assert QISKIT_NAMES.keys() == GATE_SET


def test_bind_follows_the_order_of_qiskit_and_leaves_out_unused_parameters():
    """Features 0 and 2 of 12 are unused, and no angle is read in the order of the inputs."""

    def function(features, weights):
        for i in (11, 3, 10, 1, 4, 5, 6, 7, 8, 9):
            qml.RX(features[i], 0)
        qml.RY(weights[1, 0], 0)
        return qml.expval(qml.Z(0))

    circuit = Circuit.from_function(function, num_qubits=1, num_features=12, weights_shape=(2, 2))
    exported = to_qiskit(circuit)
    weights, features = np.array([[20.0, 21], [22, 23]]), np.arange(36.0).reshape(3, 12)
    bound = exported.bind(weights, features)
    used = {parameter.name for parameter in exported.circuit.parameters}
    assert used == {f"features[{i}]" for i in (1, *range(3, 12))} | {"weights[2]"}
    expected = np.column_stack([features[:, 1], features[:, 3:], np.full(3, 22.0)])
    np.testing.assert_array_equal(bound, expected)


def test_bind_rejects_wrong_shapes():
    exported = to_qiskit(radhi2025(3, 2))
    with pytest.raises(CircuitError, match=r"weights have shape \(3, 2\), expected \(2, 3\)"):
        exported.bind(np.zeros((3, 2)), np.zeros((2, 3)))
    with pytest.raises(CircuitError, match=r"features have shape \(3,\), expected \(batch, 3\)"):
        exported.bind(np.zeros((2, 3)), np.zeros(3))


def test_circuit_without_inputs():
    def function(features, weights):
        qml.Hadamard(0)
        return qml.expval(qml.X(0)), qml.expval(qml.Z(0))

    circuit = Circuit.from_function(function, num_qubits=2, num_features=0, weights_shape=(0,))
    exported = to_qiskit(circuit)
    pub = exported.pub(np.zeros(0), np.zeros((3, 0)))
    found = StatevectorEstimator().run([pub], precision=0).result()[0].data.evs
    np.testing.assert_allclose(found, np.tile([1.0, 0.0], (3, 1)), atol=1e-12)


def test_fake_backend_keeps_values():
    circuit = random_circuit(1)
    manager = generate_preset_pass_manager(
        optimization_level=2, backend=FakeManilaV2(), seed_transpiler=4, initial_layout=[3, 1, 2, 0]
    )
    transpiled = to_qiskit(circuit).transpiled(manager)
    assert transpiled.circuit.num_qubits == 5
    pub = transpiled.pub(*inputs(circuit))
    found = StatevectorEstimator().run([pub], precision=0).result()[0].data.evs
    np.testing.assert_allclose(found, engine_values(circuit), atol=1e-8)


@pytest.mark.parametrize("seed", [1, 2])
def test_round_trip_preserves_values_and_parameters(seed):
    circuit = random_circuit(seed)
    exported = to_qiskit(circuit)
    back = Circuit.from_qiskit(
        exported.circuit,
        exported.observables,
        features=exported.features,
        weights=exported.weights,
        weights_shape=circuit.weights_shape,
    )
    assert (back.name, back.num_qubits) == (circuit.name, circuit.num_qubits)
    assert (back.num_features, back.weights_shape) == (circuit.num_features, circuit.weights_shape)
    assert back.observables == circuit.observables
    # Qiskit may exchange gates on different qubits.
    described = [
        sorted(
            (gate.name, gate.wires, -1 if gate.angle is None else c.angles.inputs[gate.angle].value)
            for gate in c.gates
        )
        for c in (back, circuit)
    ]
    assert described[0] == described[1]
    np.testing.assert_allclose(qnode_values(back), engine_values(circuit), atol=1e-10)


def test_round_trip_preserves_gradients():
    circuit = random_circuit(0)
    exported = to_qiskit(circuit)
    back = Circuit.from_qiskit(exported.circuit, exported.observables, weights_shape=WEIGHTS_SHAPE)
    cotangents = np.random.default_rng(3).normal(size=(BATCH, circuit.num_outputs))

    def gradients(which):
        loss = lambda w, x: jnp.sum(cotangents * which.to_jax("statevector")(w, x))  # noqa: E731
        return jax.jit(jax.grad(loss, (0, 1)), compiler_options=UNOPTIMISED)(*inputs(circuit))

    with jax.enable_x64(True):
        for ours, theirs in zip(gradients(back), gradients(circuit), strict=True):
            assert np.max(np.abs(theirs)) > 0.1
            np.testing.assert_allclose(ours, theirs, atol=1e-9)
