"""Reduced Bloch vectors, against states known by hand and PennyLane's density matrices."""

import jax.numpy as jnp
import numpy as np
import pennylane as qml

from hqnn_jax.circuits import Circuit, NoiseModel, ReadoutError, depolarizing
from hqnn_jax.circuits.analysis import bloch_vectors


def function(features, weights):
    """Wire 0 and 1 entangled to a degree that the feature says, wire 2 turned on its own."""
    qml.RY(features[0], 0)
    qml.CNOT([0, 1])
    qml.RX(weights[0], 2)
    return qml.expval(qml.Z(0))


CIRCUIT = Circuit.from_function(function, num_qubits=3, num_features=1, weights_shape=(1,))


def test_vectors_of_a_state_that_is_known():
    angle, turn = np.array([0.0, 0.7, np.pi / 2]), 0.4
    found = bloch_vectors(CIRCUIT)(jnp.array([turn]), angle[:, None])
    assert found.shape == (3, 3, 3)
    entangled = np.stack([0 * angle, 0 * angle, np.cos(angle)], axis=1)
    alone = np.tile([0, -np.sin(turn), np.cos(turn)], (3, 1))
    np.testing.assert_allclose(found, np.stack([entangled, entangled, alone], 1), atol=1e-6)


def test_vectors_with_noise_are_those_before_the_readout():
    noise = NoiseModel(one_qubit=(depolarizing(0.3),), readout=ReadoutError(0.1, 0.2))
    angle, turn = 0.7, 0.4
    found = bloch_vectors(CIRCUIT.with_noise(noise))(jnp.array([turn]), jnp.array([[angle]]))
    shrunk = np.linalg.norm(np.asarray(found[0, 2]))
    device = qml.device("default.mixed", wires=1)

    @qml.qnode(device)
    def exact():
        qml.RX(turn, 0)
        qml.DepolarizingChannel(0.3, 0)
        return qml.expval(qml.Y(0)), qml.expval(qml.Z(0))

    np.testing.assert_allclose(found[0, 2], [0, *exact()], atol=1e-6)
    assert shrunk < 0.9
