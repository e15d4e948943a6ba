"""Fisher information against PennyLane, and the effective dimension against its formula."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

from hqnn_jax.circuits import analysis
from hqnn_jax.errors import CircuitError
from tests.circuits.analysis.examples import make, product

KEY = jax.random.key(11)


def mixed_operations(features, weights):
    qml.RX(features[0], 0)
    qml.RY(features[1], 1)
    for layer in range(2):
        for qubit in range(2):
            qml.RY(weights[layer, qubit, 0], qubit)
            qml.RZ(weights[layer, qubit, 1], qubit)
        qml.CNOT([0, 1])


def mixed():
    """Complex amplitudes, and a phase of the state that depends on the weights."""

    def function(features, weights):
        mixed_operations(features, weights)
        return qml.expval(qml.Z(0))

    return make(function, 2, 2, (2, 2, 2))


def mixed_inputs(dtype):
    rng = np.random.default_rng(5)
    weights, features = rng.uniform(-3, 3, (2, 2, 2)), rng.uniform(-3, 3, (3, 2))
    return jnp.asarray(weights, dtype), jnp.asarray(features, dtype)


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_quantum_fisher_information_against_pennylane(x64):
    circuit = mixed()
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        weights, features = mixed_inputs(dtype)
        found = analysis.quantum_fisher_information(circuit, weights, features)
        assert found.dtype == dtype
    expected = np.zeros((8, 8))
    for sample in np.asarray(features):
        qnode = qml.QNode(
            lambda w, x=sample: circuit.function(x, w), qml.device("default.qubit", wires=2)
        )
        metric = qml.adjoint_metric_tensor(qnode)(pnp.array(weights, requires_grad=True))
        expected += 4 * np.reshape(metric, (8, 8)) / len(features)
    np.testing.assert_allclose(found, expected, atol=1e-12 if x64 else 1e-5)


def test_quantum_fisher_information_of_known_circuits():
    found = analysis.quantum_fisher_information(product(3), np.zeros(3), np.zeros((2, 0)))
    np.testing.assert_allclose(found, np.eye(3), atol=1e-6)

    def phase_only(features, weights):
        qml.RZ(weights[0], 0)
        qml.RX(2 * weights[1], 0)
        return qml.expval(qml.Z(0))

    found = analysis.quantum_fisher_information(
        make(phase_only, 1, 0, (2,)), np.array([0.3, 0.5]), np.zeros((1, 0))
    )
    np.testing.assert_allclose(found, [[0, 0], [0, 4]], atol=1e-6)


def test_classical_fisher_information_against_pennylane():
    circuit = mixed()
    weights, features = mixed_inputs(jnp.float32)

    def measured(weights):
        mixed_operations(np.asarray(features[0]), weights)
        return qml.probs(wires=[0, 1])

    qnode = qml.QNode(measured, qml.device("default.qubit", wires=2))
    expected = qml.gradients.classical_fisher(qnode)(pnp.array(weights, requires_grad=True))
    model = analysis.basis_probabilities(circuit)
    found = analysis.classical_fisher_information(model, weights, features[:1])
    np.testing.assert_allclose(found, np.reshape(expected, (8, 8)), atol=1e-4)
    quantum = analysis.quantum_fisher_information(circuit, weights, features[:1])
    assert np.min(np.linalg.eigvalsh(quantum - found)) > -1e-4
    # The information of a batch is a mean, not a sum.
    twice = analysis.classical_fisher_information(model, weights, features[jnp.array([0, 0])])
    np.testing.assert_allclose(twice, found, atol=1e-4)


def test_parity_of_a_product_state():
    """P(even) = (1 + Π cos w) / 2; a certain outcome has finite information."""
    circuit = product(3)
    model = analysis.parity_probabilities(circuit)
    weights, no_features = np.array([0.4, -1.1, 2.0]), jnp.zeros((1, 0))
    parity = np.prod(np.cos(weights))
    found = model(jnp.asarray(weights, jnp.float32), no_features)
    np.testing.assert_allclose(found, [[(1 + parity) / 2, (1 - parity) / 2]], atol=1e-6)
    slope = -parity * np.tan(weights)
    found = analysis.classical_fisher_information(model, jnp.asarray(weights), no_features)
    np.testing.assert_allclose(found, np.outer(slope, slope) / (1 - parity**2), atol=1e-5)
    certain = analysis.classical_fisher_information(model, jnp.zeros(3), no_features)
    np.testing.assert_array_equal(certain, np.zeros((3, 3)))


def test_sampled_fisher_information_is_that_of_drawn_weights():
    circuit = mixed()
    _, features = mixed_inputs(jnp.float32)
    found = analysis.sample_fisher_information(circuit, features, key=KEY, num_samples=4)
    model = analysis.parity_probabilities(circuit)
    information = jax.jit(partial(analysis.classical_fisher_information, model))
    for key, matrix in zip(jax.random.split(KEY, 4), found, strict=True):
        expected = information(circuit.init_weights(key), features)
        np.testing.assert_allclose(matrix, expected, atol=1e-4)
    with pytest.raises(CircuitError, match=r"features have shape \(2, 3\), expected \(batch, 2\)"):
        analysis.sample_fisher_information(circuit, features.T, key=KEY)


def test_effective_dimension_of_known_matrices():
    scale = 1e4 / (2 * np.pi * np.log(1e4))
    found = analysis.effective_dimension(np.tile(3 * np.eye(5), (2, 1, 1)), 1e4)
    np.testing.assert_allclose(found.dimension, 5 * np.log(1 + scale) / np.log(scale))
    # One direction out of three carries everything, and its normalised eigenvalue is 3.
    vector = np.array([1.0, 2.0, -2.0])
    matrix = np.outer(vector, vector)[None]
    found = analysis.effective_dimension(matrix, [1e4, 1e200], gamma=0.5)
    expected = np.log(1 + 1.5 * scale) / np.log(0.5 * scale)
    np.testing.assert_allclose(found.dimension[0], expected)
    np.testing.assert_allclose(found.dimension[1], 1, atol=0.01)  # the rank, for much data
    np.testing.assert_allclose(found.normalized, found.dimension / 3)
    # The mean is of determinants, and all matrices have the one normalisation.
    matrices = np.stack([np.diag([1.0, 0.0]), np.diag([2.0, 5.0])])
    found = analysis.effective_dimension(matrices, 1e4)
    factor = 2 / 4 * scale
    mean = np.mean(
        [np.sqrt(1 + factor), np.sqrt((1 + 2 * factor) * (1 + 5 * factor))],
    )
    np.testing.assert_allclose(found.dimension, 2 * np.log(mean) / np.log(scale))


def test_effective_dimension_refuses():
    with pytest.raises(CircuitError, match=r"= 0\.\d+; expected more than 1: take more data"):
        analysis.effective_dimension(np.eye(2)[None], 10)
    with pytest.raises(CircuitError, match="gamma=2"):
        analysis.effective_dimension(np.eye(2)[None], 1000, gamma=2.0)
    with pytest.raises(CircuitError, match="all Fisher matrices are zero"):
        analysis.effective_dimension(np.zeros((1, 2, 2)), 1000)
