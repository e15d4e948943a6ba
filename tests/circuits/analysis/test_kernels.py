"""The fidelity kernel against PennyLane's states, and its properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import Circuit, NoiseModel, depolarizing
from hqnn_jax.circuits.analysis.kernels import fidelity_kernel
from hqnn_jax.circuits.library.embeddings import zz
from hqnn_jax.errors import CircuitError


def encode(features, weights):
    zz(features, range(3))
    for wire in range(3):
        qml.RX(weights[wire], wire)
    qml.AngleEmbedding(features, wires=range(3), rotation="Y")


def measured(features, weights):
    encode(features, weights)
    return qml.expval(qml.Z(0))


@pytest.fixture(scope="module")
def circuit():
    return Circuit.from_function(measured, num_qubits=3, num_features=3, weights_shape=(3,))


@pytest.fixture(scope="module")
def inputs():
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.uniform(0, 6, shape), jnp.float32)  # noqa: E731
    return draw(3), draw(5, 3), draw(2, 3)


def test_equals_the_fidelity_of_pennylanes_states(circuit, inputs):
    weights, left, right = inputs

    @qml.qnode(qml.device("default.qubit"))
    def state(features):
        encode(features, np.asarray(weights))
        return qml.state()

    bras, kets = (np.stack([state(np.asarray(x)) for x in part]) for part in (left, right))
    expected = np.abs(bras.conj() @ kets.T) ** 2
    found = fidelity_kernel(circuit)(weights, left, right)
    assert found.shape == (5, 2)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_set_with_itself_has_a_kernel_matrix(circuit, inputs):
    weights, left, _ = inputs
    matrix = np.asarray(fidelity_kernel(circuit)(weights, left, left))
    np.testing.assert_allclose(np.diag(matrix), 1, atol=1e-5)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-6)
    assert np.linalg.eigvalsh(matrix).min() > -1e-5
    assert (matrix + 2 * np.eye(5)).min() < 0.5


def test_works_under_vmap_and_follows_the_weights(circuit, inputs):
    weights, left, right = inputs
    kernel = fidelity_kernel(circuit)
    both = jax.vmap(kernel, (0, None, None))(jnp.stack([weights, weights + 1]), left, right)
    np.testing.assert_allclose(both[0], kernel(weights, left, right), atol=1e-5)
    assert np.abs(both[1] - both[0]).max() > 0.05


def test_noise_and_wrong_shapes_are_refused(circuit, inputs):
    weights, left, _ = inputs
    noisy = circuit.with_noise(NoiseModel(one_qubit=(depolarizing(0.1),)))
    with pytest.raises(CircuitError, match="noise"):
        fidelity_kernel(noisy)
    with pytest.raises(CircuitError, match="expected"):
        fidelity_kernel(circuit)(weights, left, left[:, :2])
