"""State preparation from traced amplitudes: state, gradient, and what happens at zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import Circuit
from hqnn_jax.circuits.engines.statevector import build_state
from hqnn_jax.circuits.state_preparation import prepare_state

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
