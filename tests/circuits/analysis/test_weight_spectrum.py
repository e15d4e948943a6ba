"""Spectra in single weights against dense grids and known series."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits.analysis.weight_spectrum import build_weight_power, find_weight_frequencies
from hqnn_jax.circuits.noise.channels import depolarizing
from hqnn_jax.circuits.noise.model import NoiseModel
from hqnn_jax.errors import CircuitError
from tests.circuits.analysis.examples import make


def shared_weights():
    """A rotation, a weight that is read twice, a controlled rotation, a weight that is not read."""

    def function(features, weights):
        qml.RY(features[0], 0)
        qml.RX(weights[0, 0], 0)
        qml.RY(weights[0, 1] + features[1], 1)
        qml.CRX(weights[1, 0], [0, 1])
        qml.RZ(2 * weights[0, 1], 0)
        qml.RX(0.7, 0)
        return [qml.expval(qml.Z(0)), qml.expval(qml.Z(0) @ qml.Y(1)), qml.expval(qml.X(1))]

    return make(function, 2, 2, (2, 2))


def dense_power(evaluate, weights, features, position, period):
    """Power by multiples of 2π / period, from a grid much finer than needed."""
    size = 24
    grid = np.tile(np.asarray(weights), (size, 1, 1))
    grid[:, *position] += period * np.arange(size) / size
    outputs = evaluate(jnp.asarray(grid), features)
    transform = np.fft.fft(np.asarray(outputs, np.float64), axis=0) / size
    power = np.mean(np.abs(transform) ** 2, axis=(1, 2))
    return np.concatenate([power[:1], power[1 : size // 2] + power[: size // 2 : -1]])


@pytest.mark.parametrize("noisy", [False, True], ids=["ideal", "noisy"])
def test_power_is_that_of_a_dense_grid(noisy):
    circuit = shared_weights()
    if noisy:
        circuit = circuit.with_noise(NoiseModel(gates={"RX": (depolarizing(0.1),)}))
    weights = jnp.asarray([[0.7, -1.1], [2.0, 0.4]])
    features = jax.random.uniform(jax.random.key(2), (5, 2), minval=-3.0, maxval=3.0)
    frequencies = find_weight_frequencies(circuit)
    assert frequencies.degree == (1, 3, 2, 0)
    np.testing.assert_allclose(frequencies.base, [1, 1, 0.5, 1], rtol=1e-5)
    evaluate = jax.jit(jax.vmap(circuit.to_jax(), (0, None)))
    power = jax.jit(build_weight_power(circuit, frequencies))
    found = power(weights, features)
    assert found.shape == (4, 4)
    for row, (position, base) in enumerate(zip(np.ndindex(2, 2), frequencies.base, strict=True)):
        expected = dense_power(evaluate, weights, features, position, 2 * np.pi / base)
        np.testing.assert_allclose(found[row], expected[:4], atol=1e-6)
    moved = weights.at[0, 1].set(0.3)
    again = power(moved, features)
    np.testing.assert_allclose(again[1], found[1], atol=1e-6)  # its own value does not matter
    assert not np.allclose(again[0], found[0], atol=1e-3)


def test_power_in_float64_of_a_known_circuit():
    def function(features, weights):
        qml.RY(features[0], 0)
        qml.RX(weights[0], 0)
        return [qml.expval(qml.Z(0)), qml.expval(qml.X(0))]

    circuit = make(function, 1, 1, (1,))
    with jax.enable_x64(True):
        features = jnp.asarray([[0.3], [1.1], [-2.0]], jnp.float64)
        power = build_weight_power(circuit, find_weight_frequencies(circuit))
        found = power(jnp.asarray([0.9], jnp.float64), features)
        assert found.dtype == jnp.float64
    # cos x cos w, and sin x.
    x = np.asarray(features)
    expected = [np.mean(np.sin(x) ** 2) / 2, np.mean(np.cos(x) ** 2) / 4]
    np.testing.assert_allclose(found, [expected], rtol=1e-12)


def test_weights_without_a_finite_spectrum_are_refused():
    def circuit(angle):
        return make(lambda x, w: (qml.RY(angle(x, w), 0), qml.expval(qml.Z(0)))[-1], 1, 1, (2,))

    with pytest.raises(CircuitError, match=r"angle of RY on wire 0 is not a linear.*weights"):
        find_weight_frequencies(circuit(lambda x, w: x[0] * w[1]))
    with pytest.raises(CircuitError, match=r"angle of RY on wire 0 is not a linear.*weights"):
        find_weight_frequencies(circuit(lambda x, w: w[0] ** 2))
