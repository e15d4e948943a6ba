"""Every engine against an independent QNode, which shares no code with the capture."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import Circuit, hqcnn2025, radhi2025, strongly_entangling
from hqnn_jax.circuits.engines.statevector import build_state
from hqnn_jax.errors import CircuitError


def everything(features, weights):
    """Re-uploading, arithmetic on inputs, controlled and adjoint gates, Pauli sums."""
    qml.BasisState(np.array([0, 1, 0]), wires=range(3))
    qml.AngleEmbedding(features, wires=[2, 0], rotation="X")
    qml.StronglyEntanglingLayers(weights[:1], wires=range(3))
    qml.CRX(features[0] * weights[0, 0, 0], wires=[2, 0])
    qml.adjoint(qml.T)(1)
    qml.RY(jnp.pi * jnp.tanh(features[1]) + 0.3, wires=1)
    qml.Toffoli([1, 2, 0])
    qml.IsingXY(weights[1, 2, 1] ** 2, wires=[1, 2])
    qml.IQPEmbedding(features, wires=[1, 2])
    qml.StronglyEntanglingLayers(weights[1:], wires=range(3))
    return (
        qml.expval(qml.X(0) @ qml.Y(2)),
        qml.expval(0.5 * qml.Y(1) - 1.5 * qml.Z(0) @ qml.Y(1) @ qml.X(2) + 0.25 * qml.I(0)),
        qml.probs(wires=[2, 0]),
    )


def everything_circuit() -> Circuit:
    return Circuit.from_function(everything, num_qubits=3, num_features=2, weights_shape=(2, 3, 3))


CIRCUITS = {
    "radhi2025": radhi2025,
    "strongly_entangling": lambda: strongly_entangling(4, 2),
    "hqcnn2025": lambda: hqcnn2025(3, 1),
    "one_qubit": lambda: strongly_entangling(1, 2),
    "everything": everything_circuit,
}


def reference(circuit: Circuit):
    """Samples one by one through a plain QNode."""
    device = qml.device("default.qubit", wires=circuit.num_qubits)
    qnode = qml.QNode(circuit.function, device, interface="jax")

    def sample(weights, features):
        return jnp.hstack(jax.tree.leaves(qnode(features, weights)))

    return jax.vmap(sample, (None, 0))


def asymmetric_inputs(circuit: Circuit, batch: int, dtype):
    """Angles without a symmetry that could hide a swapped wire, sample or layer."""
    rng = np.random.default_rng(7)
    weights = jnp.asarray(rng.uniform(-4, 5, circuit.weights_shape), dtype)
    features = jnp.asarray(rng.uniform(-2, 3, (batch, circuit.num_features)), dtype)
    cotangents = jnp.asarray(rng.normal(size=(batch, circuit.num_outputs)), dtype)
    return weights, features, cotangents


# The reference takes seconds to compile when optimised, and runs once.
UNOPTIMISED = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}


def value_and_gradients(function, weights, features, cotangents, compiler_options=None):
    def loss(weights, features):
        outputs = function(weights, features)
        return jnp.sum(cotangents * outputs), outputs

    gradient = jax.jit(jax.grad(loss, (0, 1), has_aux=True), compiler_options=compiler_options)
    gradients, outputs = gradient(weights, features)
    return outputs, *gradients


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize("name", CIRCUITS)
def test_values_and_gradients_match_qnode(name, x64):
    circuit = CIRCUITS[name]()
    with jax.enable_x64(x64):
        dtype = jnp.float64 if x64 else jnp.float32
        inputs = asymmetric_inputs(circuit, 7, dtype)
        expected = value_and_gradients(reference(circuit), *inputs, UNOPTIMISED)
        for engine, options in (("statevector", None), ("pennylane", UNOPTIMISED)):
            found = value_and_gradients(circuit.to_jax(engine), *inputs, options)
            for ours, theirs in zip(found, expected, strict=True):
                assert ours.dtype == dtype
                tolerance = 1e-10 if x64 else 1e-5
                np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def test_known_values_one_qubit():
    circuit = Circuit.from_function(
        lambda features, weights: (
            qml.RX(features[0], 0),
            qml.RZ(weights[0], 0),
            [qml.expval(qml.X(0)), qml.expval(qml.Y(0)), qml.expval(qml.Z(0))],
        )[-1],
        num_qubits=1,
        num_features=1,
        weights_shape=(1,),
    )
    x, w = np.array([0.4, -1.3]), 0.7
    # RX(x) turns z into (0, -sin x, cos x); RZ(w) turns that by w about z.
    expected = np.stack([np.sin(x) * np.sin(w), -np.sin(x) * np.cos(w), np.cos(x)], axis=1)
    found = circuit.to_jax()(np.array([w], np.float32), x[:, None].astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_known_values_two_qubits():
    circuit = Circuit.from_function(
        lambda features, weights: (
            qml.RY(features[0], 0),
            qml.RY(weights[0], 1),
            qml.CNOT([0, 1]),
            [qml.expval(qml.Z(1)), qml.expval(qml.Z(0) @ qml.Z(1)), qml.probs(wires=[0, 1])],
        )[-1],
        num_qubits=2,
        num_features=1,
        weights_shape=(1,),
    )
    x, w = 0.9, -0.4
    c, s = np.cos(x / 2) ** 2, np.sin(x / 2) ** 2
    d, t = np.cos(w / 2) ** 2, np.sin(w / 2) ** 2
    expected = [np.cos(x) * np.cos(w), np.cos(w), c * d, c * t, s * t, s * d]
    found = circuit.to_jax()(jnp.array([w]), jnp.array([[x]]))
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_wire_zero_is_most_significant():
    circuit = Circuit.from_function(
        lambda features, weights: (qml.X(0), qml.probs(wires=[0, 1, 2]))[-1],
        num_qubits=3,
        num_features=0,
        weights_shape=(0,),
    )
    found = circuit.to_jax()(jnp.zeros(0), jnp.zeros((2, 0)))
    np.testing.assert_allclose(found, np.tile(np.eye(8)[4], (2, 1)), atol=1e-7)


def test_parity_check_notices_swapped_wires_and_axes():
    """The inputs of the parity test tell wrong wires, samples and layers apart."""
    circuit = radhi2025()

    weights, features, _ = asymmetric_inputs(circuit, 7, jnp.float32)
    outputs = circuit.to_jax()(weights, features)
    scrambled = {
        "outputs": outputs[:, [1, 0, 2, 3, 4, 5]],
        "samples": circuit.to_jax()(weights, features[::-1]),
        "features": circuit.to_jax()(weights, features[:, [1, 0, 2, 3]]),
        "layers": circuit.to_jax()(weights[::-1], features),
        "wires": circuit.to_jax()(weights[:, ::-1], features),
        "axes": circuit.to_jax()(weights, features.T.reshape(features.shape)),
    }
    for what, wrong in scrambled.items():
        assert jnp.max(jnp.abs(wrong - outputs)) > 0.05, what


def test_vmap_over_weights():
    circuit = strongly_entangling(3, 2)
    evaluate = circuit.to_jax("statevector")
    _, features, _ = asymmetric_inputs(circuit, 5, jnp.float32)
    weights = jax.vmap(circuit.init_weights)(jax.random.split(jax.random.key(3), 4))
    found = jax.vmap(evaluate, (0, None))(weights, features)
    assert found.shape == (4, 5, 3)
    one_by_one = jnp.stack([evaluate(w, features) for w in weights])
    np.testing.assert_allclose(found, one_by_one, atol=1e-6)


def test_second_derivatives():
    circuit = radhi2025(2, 1)
    with jax.enable_x64(True):
        weights, features, _ = asymmetric_inputs(circuit, 1, jnp.float64)

        def second(function):
            scalar = lambda w: function(w, features)[0, 0]  # noqa: E731
            along = jnp.arange(1.0, 3.0).reshape(1, 2)
            slope = lambda w: jnp.vdot(jax.grad(scalar)(w), along)  # noqa: E731
            return jax.grad(slope)(weights)

        found = second(circuit.to_jax("statevector"))
        assert jnp.max(jnp.abs(found)) > 0.1
        np.testing.assert_allclose(found, second(reference(circuit)), atol=1e-10)
        forward = jax.hessian(lambda w: circuit.to_jax()(w, features)[0, 0])(weights)
        expected = jnp.einsum("abcd,cd->ab", forward, jnp.arange(1.0, 3.0).reshape(1, 2))
        np.testing.assert_allclose(found, expected, atol=1e-10)


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
        for layer in range(200):
            for wire in range(3):
                (qml.RY if real else qml.RX)(weights[layer, wire], wire)
                if not real:
                    qml.RZ(weights[layer, wire], wire)
            qml.CNOT([layer % 3, (layer + 1) % 3])
        return qml.expval(qml.Z(0))

    circuit = Circuit.from_function(
        function, num_qubits=3, num_features=3, weights_shape=(200, 3), name="deep"
    )
    weights, features, _ = asymmetric_inputs(circuit, 4, jnp.float32)
    state = jax.jit(build_state(circuit), compiler_options=UNOPTIMISED)
    states = state(weights, features)
    assert states.dtype == (jnp.float32 if real else jnp.complex64)
    np.testing.assert_allclose(jnp.sum(jnp.abs(states) ** 2, axis=1), 1, atol=2e-5)


def test_state_matches_pennylane_up_to_phase():
    circuit = everything_circuit()
    weights, features, _ = asymmetric_inputs(circuit, 3, jnp.float32)
    states = build_state(circuit)(weights, features)
    device = qml.device("default.qubit", wires=3)
    for row, sample in zip(states, features, strict=True):
        tape = qml.tape.make_qscript(circuit.function)(sample, weights)
        script = qml.tape.QuantumScript(tape.operations, [qml.state()])
        overlap = np.vdot(row, qml.execute([script], device)[0])
        np.testing.assert_allclose(abs(overlap), 1, atol=1e-5)


@pytest.mark.parametrize("engine", ["pennylane", "statevector"])
def test_wrong_shapes_are_reported(engine):
    evaluate = radhi2025().to_jax(engine)
    with pytest.raises(CircuitError, match=r"weights have shape \(6, 4\), expected \(4, 6\)"):
        evaluate(jnp.zeros((6, 4)), jnp.zeros((3, 4)))
    with pytest.raises(CircuitError, match=r"features have shape \(3, 6\), expected \(batch, 4\)"):
        evaluate(jnp.zeros((4, 6)), jnp.zeros((3, 6)))
    with pytest.raises(CircuitError, match=r"features have shape \(4,\)"):
        evaluate(jnp.zeros((4, 6)), jnp.zeros(4))


def test_unknown_engine_names_the_closest():
    with pytest.raises(CircuitError, match=r"'statevectr'.*pennylane.*Did you mean 'statevector'"):
        radhi2025().to_jax("statevectr")


def test_dtype_is_the_promoted_one_and_at_least_float32():
    circuit = radhi2025(2, 1)
    evaluate = circuit.to_jax()
    low = jnp.zeros((3, 2), jnp.bfloat16)
    assert evaluate(jnp.zeros((1, 2), jnp.bfloat16), low).dtype == jnp.float32
    assert evaluate(jnp.zeros((1, 2), jnp.int32), low).dtype == jnp.float32
    with jax.enable_x64(True):
        assert evaluate(jnp.zeros((1, 2), jnp.float64), low).dtype == jnp.float64
