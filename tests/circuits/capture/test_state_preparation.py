"""State preparation from traced amplitudes: state, gradient, and what happens at zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import Circuit
from hqnn_jax.circuits.capture.state_preparation import prepare_state
from hqnn_jax.circuits.engines.statevector import build_state
from hqnn_jax.errors import CircuitError

UNOPTIMISED = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}


def prepared_state(amplitudes_of, num_features):
    def function(features, weights):
        prepare_state(amplitudes_of(features), range(3))
        return qml.expval(qml.Z(0))

    circuit = Circuit.from_function(
        function, num_qubits=3, num_features=num_features, weights_shape=(0,)
    )
    return circuit, build_state(circuit)


def test_real_amplitudes_keep_the_state_real():
    circuit, state = prepared_state(lambda x: x, 8)
    assert {gate.name for gate in circuit.gates} == {"RY", "CNOT"}
    assert len(circuit.gates) == 7 + 6
    with jax.enable_x64(True):
        features = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8)))
        found = jax.jit(state, compiler_options=UNOPTIMISED)(jnp.zeros(0), features)
        expected = features / jnp.linalg.norm(features, axis=1, keepdims=True)
        signs = jnp.sign(jnp.sum(found * expected, axis=1, keepdims=True))
        np.testing.assert_allclose(signs * found, expected, atol=1e-12)


SPARSE = np.array(
    [
        [1.0, 0.0, -2.0, 0.5, 0.0, 3.0, -1.0, 0.0],  # zeros, but no empty pair
        [0.0, 0.0, -2.0, 0.5, 0.0, 0.0, 0.0, 0.0],  # empty pairs and an empty half
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ]
)


@pytest.mark.parametrize("is_complex", [False, True])
def test_gradients_at_zeros_are_finite(is_complex):
    amplitudes_of = (lambda x: x * jnp.exp(0.7j * jnp.arange(8))) if is_complex else (lambda x: x)
    _, state = prepared_state(amplitudes_of, 8)
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        matrix = rng.normal(size=(8, 8)) + (1j * rng.normal(size=(8, 8)) if is_complex else 0)
        observable = jnp.asarray(matrix + matrix.conj().T)

        def value(features):
            psi = state(jnp.zeros(0), features[None])[0]
            return jnp.real(jnp.vdot(psi, observable @ psi))

        def exact(features):
            psi = amplitudes_of(features) / jnp.linalg.norm(features)
            return jnp.real(jnp.vdot(psi, observable @ psi))

        both = jax.jit(jax.value_and_grad(value), compiler_options=UNOPTIMISED)
        for row, features in enumerate(jnp.asarray(SPARSE)):
            found, gradient = both(features)
            assert jnp.all(jnp.isfinite(gradient))
            if row < 2:
                np.testing.assert_allclose(found, exact(features), atol=1e-12)
            if row == 0 and not is_complex:
                np.testing.assert_allclose(gradient, jax.grad(exact)(features), atol=1e-12)


def function_of(kind):
    """Amplitudes from features, in each of the ways that normalise, and a trained gate."""

    def function(features, weights):
        if kind == "embedding":
            qml.AmplitudeEmbedding(features, wires=[0, 1], normalize=True)
        elif kind == "padded":
            qml.AmplitudeEmbedding(features[:3], wires=[0, 1], pad_with=0.0)
        elif kind == "state":
            qml.StatePrep(features, wires=[0, 1], normalize=True)
        elif kind == "complex":
            phases = jnp.exp(0.7j * jnp.arange(4))
            qml.AmplitudeEmbedding(features * phases, wires=[0, 1], normalize=True)
        else:
            prepare_state(features, [0, 1])
        qml.RY(weights[0], 0)
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(0)), qml.expval(qml.Z(1) @ qml.X(0)), qml.expval(qml.Y(1))

    return function


KINDS = ["embedding", "padded", "state", "complex", "prepare_state"]
DIRECTIONS = np.array([[1.0, 2, 3, 0], [1.0, 1, -2, 0], [0, 0, 1.0, 0], [2.0, -1, 0, 0]])


@pytest.mark.parametrize("engine", ["pennylane", "statevector"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_norm_has_a_value_and_a_gradient(kind, engine):
    """The zero vector gives |0…0⟩ without a gradient, and others their direction."""
    circuit = Circuit.from_function(
        function_of(kind), num_qubits=2, num_features=4, weights_shape=(1,)
    )
    evaluate = circuit.to_jax(engine)
    for dtype, scales in ((np.float32, [1e-37, 1e-30, 1e-20, 1e20, 1e30, 1e38]),
                          (np.float64, [1e-300, 1e-200, 1e200, 1e307])):  # fmt: skip
        with jax.enable_x64(dtype == np.float64):
            weights = jnp.array([0.3], dtype)
            scaled = [DIRECTIONS * scale for scale in scales]
            features = jnp.asarray(np.concatenate([np.zeros((1, 4)), *scaled]), dtype)
            expected = np.tile(evaluate(weights, jnp.asarray(DIRECTIONS, dtype)), (len(scales), 1))
            both = jax.jit(jax.value_and_grad(lambda w, x: jnp.sum(evaluate(w, x)), (0, 1)))
            found = np.asarray(evaluate(weights, features))
            _, (of_weights, of_features) = both(weights, features)
            assert np.all(np.isfinite(of_weights))
            assert np.all(np.isfinite(of_features))
            np.testing.assert_array_equal(of_features[0], 0)
        tolerance = 1e-5 if dtype == np.float32 else 1e-12
        np.testing.assert_allclose(found[1:], expected, atol=tolerance)
        np.testing.assert_allclose(found[0], [np.cos(0.3), 0, 0], atol=tolerance)


@pytest.mark.parametrize("scale", [0.0, 1e-200, 1.0, 1e200])
def test_known_vectors(scale):
    """The same for numbers that a circuit is written with."""

    def function(features, weights):
        qml.AmplitudeEmbedding(scale * np.array([1.0, 2, 3]), wires=[0, 1], pad_with=0.0)
        return qml.probs(wires=[0, 1])

    circuit = Circuit.from_function(function, num_qubits=2, num_features=0, weights_shape=(0,))
    expected = np.array([1.0, 4, 9, 0]) / 14 if scale else [1, 0, 0, 0]
    for engine in ("statevector", "pennylane"):
        found = circuit.to_jax(engine)(jnp.zeros(0), jnp.zeros((1, 0)))
        np.testing.assert_allclose(found, [expected], atol=1e-6)


def test_pennylane_is_left_as_it_was():
    original = qml.StatePrep._preprocess
    test_known_vectors(1.0)
    assert qml.StatePrep._preprocess is original
    with pytest.raises(CircuitError, match="State must be of length 4; got length 3"):
        Circuit.from_function(
            lambda x, w: (qml.StatePrep(x, [0, 1], normalize=True), qml.expval(qml.Z(0)))[1],
            num_qubits=2,
            num_features=3,
            weights_shape=(0,),
        )
    assert qml.StatePrep._preprocess is original
