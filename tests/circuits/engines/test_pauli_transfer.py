"""What the Pauli basis gives beyond expectation values of ideal circuits."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import (
    Circuit,
    NoiseModel,
    amplitude_damping,
    depolarizing,
    strongly_entangling,
)
from hqnn_jax.circuits.engines.pauli_transfer import build_coefficients, build_probabilities
from hqnn_jax.errors import CircuitError

UNOPTIMISED = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
NOISE = NoiseModel(
    one_qubit=[amplitude_damping(0.02)], two_qubit=[depolarizing(0.03, 2), depolarizing(0.01)]
)


def flops(circuit: Circuit, batch: int) -> float:
    weights = jnp.zeros(circuit.weights_shape)
    features = jnp.zeros((batch, circuit.num_features))
    lowered = jax.jit(circuit.to_jax("pauli_transfer")).lower(weights, features)
    return lowered.compile(UNOPTIMISED).cost_analysis()["flops"]


def test_a_noisy_sample_costs_what_an_ideal_one_costs():
    """Of the arithmetic, what grows with the batch is the same with and without noise."""
    ideal = strongly_entangling(3, 1)
    noisy = ideal.with_noise(NOISE)
    per_sample = {
        name: (flops(circuit, 300) - flops(circuit, 100)) / 200
        for name, circuit in (("ideal", ideal), ("noisy", noisy))
    }
    assert per_sample["ideal"] > 0
    np.testing.assert_allclose(per_sample["noisy"], per_sample["ideal"], rtol=0.01)


def test_coefficients_are_a_fourier_series():
    """Features on wires in another order than their numbers, with a feature-free wire between."""

    def function(features, weights):
        qml.RX(weights[0], 0)
        qml.RY(features[1], 0)
        qml.RX(features[0], 2)
        qml.RZ(weights[1], 2)
        qml.CNOT([0, 1])
        qml.CRX(weights[2], [1, 2])
        return qml.expval(qml.Z(2)), qml.expval(qml.X(0) @ qml.Y(2))

    circuit = Circuit.from_function(function, num_qubits=3, num_features=2, weights_shape=(3,))
    weights = np.array([0.4, -1.1, 2.3], np.float32)
    coefficients = build_coefficients(circuit)(jnp.asarray(weights))
    assert coefficients.shape == (2, 3, 3)
    features = np.random.default_rng(1).uniform(-3, 3, (5, 2)).astype(np.float32)
    basis = np.stack([np.ones_like(features), np.cos(features), np.sin(features)], axis=2)
    series = np.einsum("oij,bi,bj->bo", coefficients, basis[:, 0], basis[:, 1])
    np.testing.assert_allclose(series, circuit.to_jax()(weights, features), atol=1e-6)


def test_coefficients_of_reuploading_are_refused():
    def function(features, weights):
        for wire in (0, 1):
            qml.RY(features[0], wire)
        return qml.expval(qml.Z(0) @ qml.Z(1))

    circuit = Circuit.from_function(function, num_qubits=2, num_features=1, weights_shape=(0,))
    with pytest.raises(CircuitError, match="every feature to be the angle of exactly one rotation"):
        build_coefficients(circuit)


@pytest.mark.parametrize("noisy", [False, True])
def test_probabilities_match_the_density_matrix(noisy):
    def function(features, weights):
        qml.RY(features[0], 2)
        qml.RX(weights[0], 0)
        qml.CNOT([0, 1])
        qml.RZ(features[0] * weights[1], 1)
        qml.CNOT([2, 1])
        return qml.probs(wires=[0, 1, 2])

    def reference(features, weights):
        qml.RY(features[0], 2)
        damp(2)
        qml.RX(weights[0], 0)
        damp(0)
        for pair in ([0, 1], [2, 1]):
            qml.CNOT(pair)
            if noisy:
                for wire in pair:
                    qml.PhaseFlip(0.1, wire)
            if pair == [0, 1]:
                qml.RZ(features[0] * weights[1], 1)
                damp(1)
        return qml.probs(wires=[0, 1, 2])

    def damp(wire):
        if noisy:
            qml.AmplitudeDamping(0.2, wire)

    from hqnn_jax.circuits import phase_flip

    circuit = Circuit.from_function(function, num_qubits=3, num_features=1, weights_shape=(2,))
    if noisy:
        circuit = circuit.with_noise(
            NoiseModel(one_qubit=[amplitude_damping(0.2)], two_qubit=[phase_flip(0.1)])
        )
    weights = np.array([0.7, -1.9], np.float32)
    features = np.array([[0.3], [-2.1], [1.2]], np.float32)
    found = build_probabilities(circuit)(jnp.asarray(weights), jnp.asarray(features))
    qnode = qml.QNode(reference, qml.device("default.mixed", wires=3))
    expected = [qnode(sample, weights) for sample in features]
    np.testing.assert_allclose(found, expected, atol=1e-6)
