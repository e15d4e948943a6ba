"""Fourier spectra against theory, the QNode and a least-squares fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import analysis
from hqnn_jax.circuits.engines import pauli_transfer
from hqnn_jax.errors import CircuitError
from tests.circuits.analysis.examples import make

KEY = jax.random.key(11)


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
def test_spectrum_of_known_circuits(x64):
    def function(features, weights):
        qml.RY(features[0], 0)
        qml.RY(weights[0], 0)
        qml.RX(2 * features[1], 1)
        return [qml.expval(qml.Z(0)), qml.expval(qml.Y(1)), qml.expval(qml.Z(0) @ qml.Y(1))]

    circuit = make(function, 2, 2, (1,))
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        found = analysis.fourier_spectrum(circuit, jnp.asarray([0.4], dtype), degrees=[1, 2])
        # cos(x + w), -sin 2y, and their product.
        cosine = np.array([np.exp(-0.4j), 0, np.exp(0.4j)]) / 2
        sine = np.array([-0.5j, 0, 0, 0, 0.5j])
        expected = np.zeros((3, 3, 5), complex)
        expected[0, :, 2] = cosine
        expected[1, 1] = sine
        expected[2] = np.outer(cosine, sine)
        assert found.coefficients.dtype == (jnp.complex128 if x64 else jnp.complex64)
        np.testing.assert_allclose(found.coefficients, expected, atol=1e-14 if x64 else 1e-6)
        found = analysis.fourier_spectrum(circuit, jnp.asarray([0.4], dtype))
        assert found.frequencies.degree == (1, 1)
        np.testing.assert_allclose(found.frequencies.values[1], [-2, 0, 2], atol=1e-6)
        expected = expected[:, :, ::2]
        np.testing.assert_allclose(found.coefficients, expected, atol=1e-6)


def reuploading():
    """Re-uploading, fractional slopes, a slope that is a weight, a feature that is not read."""

    def function(features, weights):
        for layer in range(2):
            qml.RX(features[0] + weights[layer], 0)
            qml.RY(-1.5 * features[2], 1)
            qml.CRZ(features[2], [1, 0])
            qml.RY(weights[2] * features[0], 1)
        return [qml.expval(qml.Y(0)), qml.expval(qml.Z(0) @ qml.X(1))]

    return make(function, 2, 3, (3,))


def test_spectrum_of_reuploading_reproduces_the_qnode():
    circuit = reuploading()
    weights = jnp.array([0.7, -1.1, 2.0])
    found = analysis.fourier_spectrum(circuit, weights)
    # Feature 0: 1 + 1 + 2 + 2. Feature 2: in halves, 2 · 3 + 2 · (1 + 1).
    np.testing.assert_allclose(found.frequencies.base, [1, 1, 0.5], rtol=1e-5)
    assert found.frequencies.degree == (6, 0, 10)
    assert found.coefficients.shape == (2, 13, 1, 21)
    mirrored = jnp.conj(found.coefficients[:, ::-1, ::-1, ::-1])
    np.testing.assert_allclose(found.coefficients, mirrored, atol=1e-6)
    features = jax.random.uniform(KEY, (4, 3), minval=-5, maxval=5)
    expected = circuit.to_jax("pennylane")(weights, features)
    np.testing.assert_allclose(found(features), expected, atol=2e-5)


def read_once():
    """Both features enter once, in an order other than their own, before entangling gates."""

    def function(features, weights):
        qml.Hadamard(0)
        qml.RZ(features[1], 0)
        qml.RY(features[0], 1)
        for layer in range(2):
            qml.CNOT([0, 1])
            qml.RX(weights[layer, 0], 0)
            qml.RY(weights[layer, 1], 1)
        return [qml.expval(qml.Z(0)), qml.expval(qml.Y(0) @ qml.X(1)), qml.expval(qml.X(0))]

    return make(function, 2, 2, (2, 2))


def fitted_coefficients(circuit, weights):
    """Coefficients on products of 1, cos x, sin x by least squares."""
    features = np.random.default_rng(4).uniform(-3, 3, (40, 2)).astype(np.float32)
    basis = np.stack([np.ones_like(features), np.cos(features), np.sin(features)], axis=2)
    products = np.einsum("bi,bj->bij", basis[:, 0], basis[:, 1]).reshape(40, 9)
    outputs = circuit.to_jax()(weights, features)
    return np.linalg.lstsq(products, np.asarray(outputs))[0].T.reshape(-1, 3, 3)


def test_spectrum_from_pauli_transfer_coefficients_is_that_of_the_grid(monkeypatch):
    circuit = read_once()
    weights = jnp.array([[0.3, -1.2], [2.1, 0.8]])
    expected = fitted_coefficients(circuit, weights)
    found = pauli_transfer.build_coefficients(circuit)(weights)
    np.testing.assert_allclose(found, expected, atol=1e-5)

    spectra = []
    build = pauli_transfer.build_coefficients
    monkeypatch.setattr(
        pauli_transfer, "build_coefficients", lambda c: spectra.append(c) or build(c)
    )
    exact = analysis.fourier_spectrum(circuit, weights)
    assert spectra == [circuit]
    # A spectrum larger than that of the circuit is taken from the grid.
    grid = analysis.fourier_spectrum(circuit, weights, degrees=[1, 2])
    assert spectra == [circuit]
    assert np.min(np.max(np.abs(grid.coefficients), axis=(1, 2))) > 0.1
    np.testing.assert_allclose(exact.coefficients, grid.coefficients[:, :, 1:4], atol=1e-6)


def test_spectrum_of_an_angle_that_is_a_feature_and_a_weight():
    circuit = make(lambda x, w: (qml.RY(x[0] + w[0], 0), qml.expval(qml.Z(0)))[-1], 1, 1, (1,))
    found = analysis.fourier_spectrum(circuit, jnp.array([0.4]))
    np.testing.assert_allclose(found.coefficients[0, 2], np.exp(0.4j) / 2, atol=1e-6)


def test_spectrum_is_a_differentiable_function_of_the_weights():
    circuit = make(lambda x, w: (qml.RY(x[0] + w[0] ** 2, 0), qml.expval(qml.Z(0)))[-1], 1, 1, (1,))
    weights = jnp.array([0.8])
    frequencies = analysis.find_frequencies(circuit, weights)
    coefficients = jax.jit(analysis.build_spectrum(circuit, frequencies))
    slope = jax.jacfwd(coefficients)(weights)[0, :, 0]
    # c_1 = exp(i w²) / 2.
    np.testing.assert_allclose(slope[2], 0.8j * np.exp(0.64j), atol=1e-6)


def test_spectrum_of_a_circuit_without_features_is_a_constant():
    circuit = make(lambda x, w: (qml.RY(w[0], 0), qml.expval(qml.Z(0)))[-1], 1, 0, (1,))
    found = analysis.fourier_spectrum(circuit, jnp.array([0.4]))
    np.testing.assert_allclose(found.coefficients, [np.cos(0.4)], atol=1e-6)


def test_spectrum_refuses_what_has_no_finite_series():
    def circuit(angle):
        return make(
            lambda x, w: (
                qml.RY(x[0], 0),
                qml.RX(0.9, 0),
                qml.RY(angle(x), 0),
                qml.expval(qml.Z(0)),
            )[-1],
            1,
            2,
            (1,),
        )

    weights = jnp.zeros(1)
    with pytest.raises(CircuitError, match="angle of RY on wire 0 is not a linear function"):
        analysis.fourier_spectrum(circuit(lambda x: jnp.tanh(x[1])), weights)
    with pytest.raises(CircuitError, match=r"feature 0 enters.*factors 1, 1.414.*no common base"):
        analysis.fourier_spectrum(circuit(lambda x: 2**0.5 * x[0]), weights)
    with pytest.raises(CircuitError, match=r"degrees \(1, 0\) differs from the circuit by \d"):
        analysis.fourier_spectrum(circuit(lambda x: x[0]), weights, degrees=[1, 0])
    with pytest.raises(CircuitError, match=r"degrees=\[2\]; expected one.*2 features"):
        analysis.fourier_spectrum(circuit(lambda x: x[0]), weights, degrees=[2])
    with pytest.raises(CircuitError, match=r"4004001 frequencies \(degrees \(1000, 1000\)\)"):
        analysis.fourier_spectrum(circuit(lambda x: x[0]), weights, degrees=[1000, 1000])
