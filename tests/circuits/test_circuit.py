"""A circuit as its users see it: one sample, its line, its size, and as a QNode."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hqnn_jax.circuits import Circuit, NoiseModel, compose, depolarizing, radhi2025
from hqnn_jax.circuits.engines import ENGINES
from hqnn_jax.errors import CircuitError


def asymmetric(x, w):
    qml.RY(x[0], 0)
    qml.RX(x[1] * w[0, 1], 1)
    qml.CNOT([0, 1])
    qml.RZ(w[1, 2], 2)
    qml.CZ([1, 2])
    qml.RX(w[0, 0], 2)
    qml.CNOT([2, 0])
    return [qml.expval(qml.Z(0)), qml.expval(qml.X(1) @ qml.Y(2)), qml.probs(wires=[2])]


CIRCUIT = Circuit.from_function(asymmetric, num_qubits=3, num_features=2, weights_shape=(2, 3))
WEIGHTS = np.linspace(-1.3, 2.1, 6, dtype=np.float32).reshape(2, 3)
BATCH = np.array([[0.3, -1.2], [2.2, 0.7], [-0.4, 1.9]], np.float32)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_sample_as_well_as_a_batch(engine):
    evaluate = CIRCUIT.to_jax(engine)
    together = evaluate(WEIGHTS, BATCH)
    alone = jnp.stack([evaluate(WEIGHTS, sample) for sample in BATCH])
    assert alone.shape == (3, 4)
    np.testing.assert_allclose(alone, together, atol=2e-6)


def test_one_sample_under_transformations():
    evaluate = CIRCUIT.to_jax()
    jacobian = jax.jacrev(evaluate, 1)(WEIGHTS, BATCH[1])
    assert jacobian.shape == (4, 2)
    mapped = jax.vmap(evaluate, (None, 0))(WEIGHTS, BATCH)
    np.testing.assert_allclose(mapped, evaluate(WEIGHTS, BATCH), atol=2e-6)
    assert evaluate(weights=WEIGHTS, features=BATCH[0]).shape == (4,)


def test_one_sample_without_features():
    def function(x, w):
        qml.RY(w[0], 0)
        return qml.expval(qml.Z(0))

    circuit = Circuit.from_function(function, num_qubits=1, num_features=0, weights_shape=(1,))
    evaluate = circuit.to_jax()
    assert evaluate(np.ones(1), np.zeros(0)).shape == (1,)
    assert evaluate(np.ones(1), np.zeros((0, 0))).shape == (0, 1)


def test_one_sample_of_shots():
    draw = CIRCUIT.to_sampler(1000)
    one = draw(jax.random.key(0), WEIGHTS, BATCH[2])
    np.testing.assert_array_equal(one, draw(jax.random.key(0), WEIGHTS, BATCH[2:])[0])


def test_a_sample_of_another_length():
    with pytest.raises(CircuitError, match=r"features have shape \(3,\), expected \(batch, 2\)"):
        CIRCUIT.to_jax()(WEIGHTS, np.zeros(3))


def test_its_line():
    assert repr(CIRCUIT) == (
        "<Circuit 'asymmetric': 3 qubits, 2 features, weights (2, 3), 4 outputs, ideal>"
    )
    noisy = radhi2025(1, 1).with_noise(NoiseModel(one_qubit=(depolarizing(0.1),)))
    assert repr(noisy) == (
        "<Circuit 'radhi2025': 1 qubit, 1 feature, weights (1, 1), 1 output, noisy>"
    )


def test_specs():
    specs = CIRCUIT.specs()
    assert (specs.num_qubits, specs.num_features, specs.num_weights, specs.num_outputs) == (
        3, 2, 6, 4,
    )  # fmt: skip
    assert specs.gates == {"RX": 2, "CNOT": 2, "RY": 1, "RZ": 1, "CZ": 1}
    assert list(specs.gates)[:2] == ["RX", "CNOT"]
    assert (specs.num_gates, specs.data_entries) == (7, 2)
    assert (specs.depth, specs.two_qubit_depth) == (5, 3)


@given(st.integers(1, 4), st.integers(1, 3), st.sampled_from(["angle_y", "iqp", "zz"]))
@settings(max_examples=12, deadline=None)
def test_depth_is_that_of_pennylane(num_qubits, num_layers, embedding):
    circuit = compose(num_qubits, num_layers, embedding=embedding)
    gates = [
        getattr(qml, gate.name)(*([] if gate.angle is None else [0.1]), wires=gate.wires)
        for gate in circuit.gates
    ]
    specs = circuit.specs()
    assert specs.depth == qml.tape.QuantumScript(gates).graph.get_depth()
    both = [gate for gate in gates if len(gate.wires) == 2]
    assert specs.two_qubit_depth == qml.tape.QuantumScript(both).graph.get_depth()
    assert sum(specs.gates.values()) == len(gates)


def test_as_a_qnode():
    expected = CIRCUIT.to_jax()(WEIGHTS, BATCH[0])
    qnode = CIRCUIT.to_qnode("default.qubit", diff_method="backprop")
    assert isinstance(qnode, qml.QNode)
    found = np.concatenate([np.atleast_1d(value) for value in qnode(WEIGHTS, BATCH[0])])
    np.testing.assert_allclose(found, expected, atol=2e-6)
    device = qml.device("default.mixed", wires=3)
    mixed = CIRCUIT.to_qnode(device, interface="numpy", diff_method=None)
    assert mixed.device is device
    np.testing.assert_allclose(mixed(WEIGHTS, BATCH[0])[1], expected[1], atol=2e-6)
