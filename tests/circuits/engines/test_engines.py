"""What all engines have in common: states, dtypes, compilation, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import Circuit, radhi2025, strongly_entangling
from hqnn_jax.circuits.engines import statevector, why_not
from hqnn_jax.circuits.noise.channels import depolarizing
from hqnn_jax.circuits.noise.model import NoiseModel
from hqnn_jax.errors import CircuitError
from tests.circuits.engines.examples import UNOPTIMISED, asymmetric_inputs, make


def test_same_shapes_are_traced_once():
    traces = []

    def function(features, weights):
        traces.append(1)
        qml.RY(features[0], 0)
        qml.RX(weights[0] * 2, 0)
        return qml.expval(qml.Z(0))

    circuit = Circuit.from_function(function, num_qubits=1, num_features=1, weights_shape=(1,))
    evaluate = circuit.to_jax()
    for value in (0.1, 0.2, 0.3):
        evaluate(jnp.array([value]), jnp.full((4, 1), value))
    assert evaluate._cache_size() == 1
    # The engine works from the capture: it never calls the quantum function again.
    assert len(traces) == 1


@pytest.mark.parametrize("real", [True, False])
def test_norm_is_preserved_at_depth_200(real):
    def function(features, weights):
        qml.AngleEmbedding(features, wires=range(3), rotation="Y")
        for number in range(200):
            for wire in range(3):
                (qml.RY if real else qml.RX)(weights[number, wire], wire)
                if not real:
                    qml.RZ(weights[number, wire], wire)
            qml.CNOT([number % 3, (number + 1) % 3])
        return qml.expval(qml.Z(0))

    circuit = Circuit.from_function(
        function, num_qubits=3, num_features=3, weights_shape=(200, 3), name="deep"
    )
    weights, features, _ = asymmetric_inputs(circuit, 4, jnp.float32)
    state = jax.jit(statevector.build_state(circuit), compiler_options=UNOPTIMISED)
    states = state(weights, features)
    assert states.dtype == (jnp.float32 if real else jnp.complex64)
    np.testing.assert_allclose(jnp.sum(jnp.abs(states) ** 2, axis=1), 1, atol=2e-5)


def test_state_matches_pennylane_up_to_phase():
    circuit = make("everything")
    weights, features, _ = asymmetric_inputs(circuit, 3, jnp.float32)
    state = jax.jit(statevector.build_state(circuit), compiler_options=UNOPTIMISED)
    states = state(weights, features)
    device = qml.device("default.qubit", wires=3)
    for row, sample in zip(np.asarray(states), np.asarray(features, float), strict=True):
        tape = qml.tape.make_qscript(circuit.function)(sample, np.asarray(weights, float))
        script = qml.tape.QuantumScript(tape.operations, [qml.state()])
        overlap = np.vdot(row, qml.execute([script], device)[0])
        np.testing.assert_allclose(abs(overlap), 1, atol=1e-5)


@pytest.mark.parametrize(
    "engine", ["auto", "pennylane", "statevector", "unitary", "pauli_transfer"]
)
def test_wrong_shapes_are_reported(engine):
    evaluate = radhi2025().to_jax(engine)
    with pytest.raises(CircuitError, match=r"weights have shape \(6, 4\), expected \(4, 6\)"):
        evaluate(jnp.zeros((6, 4)), jnp.zeros((3, 4)))
    with pytest.raises(CircuitError, match=r"features have shape \(3, 6\), expected \(batch, 4\)"):
        evaluate(jnp.zeros((4, 6)), jnp.zeros((3, 6)))
    # Four features alone are one sample.
    with pytest.raises(CircuitError, match=r"features have shape \(5,\), expected \(batch, 4\)"):
        evaluate(jnp.zeros((4, 6)), jnp.zeros(5))


def test_unknown_engine_names_the_closest():
    with pytest.raises(CircuitError, match=r"'statevectr'.*pennylane.*Did you mean 'statevector'"):
        radhi2025().to_jax("statevectr")


@pytest.mark.parametrize(
    ("circuit", "engine", "reason"),
    [
        (lambda: make("everything"), "unitary", "features enter after the first layer"),
        (lambda: strongly_entangling(14, 1), "unitary", r"4\^14 entries, and 13 qubits are the"),
        (lambda: strongly_entangling(13, 1), "pauli_transfer", r"4\^13 coeff.*'statevector'"),
    ],
)
def test_an_engine_that_does_not_apply_says_why(circuit, engine, reason):
    with pytest.raises(CircuitError, match=f"engine '{engine}' does not apply: .*{reason}"):
        circuit().to_jax(engine)


def test_ideal_engines_refuse_noise():
    ideal = radhi2025(2, 1)
    noisy = ideal.with_noise(NoiseModel(one_qubit=(depolarizing(0.02),)))
    for engine in ("pennylane", "statevector", "unitary"):
        with pytest.raises(CircuitError, match="ideal circuits only; with noise use 'pauli_tran"):
            noisy.to_jax(engine)
        # A model without any noise changes nothing.
        assert why_not(ideal.with_noise(NoiseModel()), engine) is None
    assert why_not(noisy, "pauli_transfer") is None


def test_dtype_is_the_promoted_one_and_at_least_float32():
    circuit = radhi2025(2, 1)
    evaluate = circuit.to_jax()
    low = jnp.zeros((3, 2), jnp.bfloat16)
    assert evaluate(jnp.zeros((1, 2), jnp.bfloat16), low).dtype == jnp.float32
    assert evaluate(jnp.zeros((1, 2), jnp.int32), low).dtype == jnp.float32
    with jax.enable_x64(True):
        assert evaluate(jnp.zeros((1, 2), jnp.float64), low).dtype == jnp.float64
