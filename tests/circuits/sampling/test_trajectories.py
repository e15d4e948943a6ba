"""Quantum trajectories against density matrices: values, gradients and standard errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from scipy import stats

from hqnn_jax.circuits import Circuit
from hqnn_jax.circuits.noise.channels import (
    Channel,
    amplitude_damping,
    bit_flip,
    depolarizing,
    over_rotation,
    phase_damping,
    thermal_relaxation,
)
from hqnn_jax.circuits.noise.model import NoiseModel, ReadoutError
from hqnn_jax.circuits.sampling.trajectories import build
from hqnn_jax.errors import CircuitError

NUM_QUBITS = 3


def function(features, weights):
    qml.RX(features[0], 0)
    qml.RY(weights[0], 2)
    qml.CNOT([2, 0])
    qml.RZ(features[1], 0)
    qml.RY(weights[1], 1)
    qml.SWAP([0, 1])
    qml.CZ([1, 2])
    qml.RX(weights[2] * features[0], 1)
    qml.CNOT([0, 1])
    return [qml.expval(qml.Z(0)), qml.expval(qml.X(0) @ qml.Y(2) + 0.5 * qml.Z(1))]


@pytest.fixture(scope="module")
def circuit():
    return Circuit.from_function(
        function, num_qubits=NUM_QUBITS, num_features=2, weights_shape=(3,)
    )


WEIGHTS = np.array([0.7, -1.1, 1.3], np.float32)
FEATURES = np.array([[0.9, -0.6], [-1.7, 0.35]], np.float32)

# A two-qubit channel whose chances depend on the state: decay of |11⟩ to |01⟩, with a phase.
_DECAY = np.zeros((2, 4, 4), complex)
_DECAY[0] = np.diag([1, 1, 1j, np.sqrt(0.6)])
_DECAY[1, 1, 3] = np.sqrt(0.4)

MODELS = {
    "unitaries": NoiseModel(
        one_qubit=(bit_flip(0.1), phase_damping(0.3)),
        two_qubit=(depolarizing(0.15, 2), over_rotation("CZ", 0.2)),
        over_rotation=0.1,
        readout={0: ReadoutError(0.05, 0.2)},
    ),
    "jumps": NoiseModel(
        one_qubit=(amplitude_damping(0.25),),
        two_qubit=(amplitude_damping(0.2),),
        gates={
            "SWAP": (thermal_relaxation(1.0, 1.5, 0.3, 0.2), depolarizing(0.1)),
            "CZ": (Channel(_DECAY),),
        },
    ),
}


def exact(noise):
    """The noisy circuit on default.mixed, `f(weights, features) -> [batch, outputs]`."""
    device = qml.device("default.mixed", wires=NUM_QUBITS)

    @qml.qnode(device, interface="jax")
    def evaluate(weights, features):
        with qml.QueuingManager.stop_recording():
            tape = qml.tape.make_qscript(function)(features, weights)
        for operation in tape.operations:
            wires = tuple(operation.wires)
            qml.apply(operation)
            excess = noise.over_rotation.get(operation.name)
            if excess:
                getattr(qml, operation.name)(excess, wires)
            default = noise.one_qubit if len(wires) == 1 else noise.two_qubit
            for channel in noise.gates.get(operation.name, default):
                for place in [wires] if channel.num_wires == len(wires) else [[w] for w in wires]:
                    qml.QubitChannel(list(channel.kraus), wires=place)
        error = noise.readout or {0: ReadoutError(0.0, 0.0)}
        # ⟨Z⟩ as read: 1 - 2 p(1|0) in |0⟩ and 2 p(0|1) - 1 in |1⟩.
        values = [1 - 2 * error[0].p1_given_0, 2 * error[0].p0_given_1 - 1]
        scale = (values[0] - values[1]) / 2
        offset = (values[0] + values[1]) / 2
        return (
            qml.expval(scale * qml.Z(0) + offset * qml.I(0)),
            qml.expval((scale * qml.X(0) + offset * qml.I(0)) @ qml.Y(2) + 0.5 * qml.Z(1)),
        )

    return jax.vmap(lambda w, x: jnp.stack(evaluate(w, x)), (None, 0))


def value_and_gradients(outputs, cotangents):
    def loss(weights, features):
        found = outputs(weights, features)
        return jnp.vdot(cotangents, found[0]), found

    return jax.grad(loss, (0, 1), has_aux=True)


def on_numpy(function, *inputs):
    """Compiled without optimisation, for one run; results as numpy arrays."""
    options = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}
    return jax.tree.map(np.asarray, jax.jit(function, compiler_options=options)(*inputs))


@pytest.mark.parametrize("name", MODELS)
def test_values_and_gradients_match_density_matrices(circuit, name):
    noise = MODELS[name]
    repeats, count = 100, 40
    reference = exact(noise)
    with jax.enable_x64(True):
        inputs = jnp.asarray(WEIGHTS, jnp.float64), jnp.asarray(FEATURES, jnp.float64)
        cotangents = jnp.array([[1.0, -0.7], [0.4, 1.2]])
        expected, (means,) = on_numpy(
            value_and_gradients(lambda w, x: (reference(w, x),), cotangents), *inputs
        )
        simulate = build(circuit.with_noise(noise), count, chunk=20)

        def run(key):
            outputs = lambda w, x: simulate(key, w, x)  # noqa: E731
            return value_and_gradients(outputs, cotangents)(*inputs)

        keys = jax.random.split(jax.random.key(4), repeats)
        found, estimates = on_numpy(lambda keys: jax.lax.map(run, keys), keys)

    ideal = circuit.to_jax("statevector")(WEIGHTS, FEATURES)
    assert np.max(np.abs(ideal - means)) > 0.1
    for ours, theirs in ((estimates.means, means), *zip(found, expected, strict=True)):
        assert ours.dtype == np.float64
        error = np.std(ours, axis=0, ddof=1) / np.sqrt(repeats)
        assert np.max(error) < 0.05
        assert np.max(np.abs(np.mean(ours, axis=0) - theirs) / error) < 4
    # The errors that each run states are the spread between runs.
    ratio = np.var(estimates.means, axis=0, ddof=1) / np.mean(estimates.standard_errors**2, axis=0)
    low, high = stats.chi2.ppf([1e-4, 1 - 1e-4], repeats - 1) / (repeats - 1)
    assert np.all((low < ratio) & (ratio < high))


def test_trajectories_do_not_depend_on_chunks(circuit):
    noisy = circuit.with_noise(MODELS["unitaries"])
    keys = jax.random.split(jax.random.key(1), 2)
    parts = build(noisy, 11, chunk=4)(keys[0], WEIGHTS, FEATURES)
    assert parts.means.shape == parts.standard_errors.shape == (2, 2)
    assert parts.means.dtype == jnp.float32
    both = jax.vmap(build(noisy, 11), (0, None, None))(keys, WEIGHTS, FEATURES)
    np.testing.assert_allclose(both.means[0], parts.means, atol=1e-5)
    np.testing.assert_allclose(both.standard_errors[0], parts.standard_errors, atol=1e-5)
    assert np.max(np.abs(both.means[1] - both.means[0])) > 0.01


def test_without_noise_all_trajectories_are_the_exact_state(circuit):
    found = build(circuit, 2)(jax.random.key(0), WEIGHTS, FEATURES)
    expected = circuit.to_jax("statevector")(WEIGHTS, FEATURES)
    np.testing.assert_allclose(found.means, expected, atol=1e-5)
    np.testing.assert_allclose(found.standard_errors, 0, atol=1e-6)


def test_twelve_qubits():
    """Damped rotations, then noisy CNOTs of pairs, whose values have a closed form."""
    gamma, probability = 0.3, 0.1

    def pairs(features, weights):
        for wire in range(12):
            qml.RY(weights[wire] + features[0], wire)
        for wire in range(0, 12, 2):
            qml.CNOT([wire, wire + 1])
        return [qml.expval(qml.Z(wire)) for wire in range(12)]

    circuit = Circuit.from_function(pairs, num_qubits=12, num_features=1, weights_shape=(12,))
    noise = NoiseModel(
        one_qubit=(amplitude_damping(gamma),), two_qubit=(depolarizing(probability, 2),)
    )
    weights = np.linspace(0.2, 2.9, 12, dtype=np.float32)
    features = np.array([[0.3], [-0.5], [1.1]], np.float32)
    found = build(circuit.with_noise(noise), 200)(jax.random.key(5), weights, features)
    damped = gamma + (1 - gamma) * np.cos(weights + features)
    expected = np.array(damped)
    expected[:, 1::2] *= damped[:, ::2]
    expected *= 1 - 16 / 15 * probability
    deviation = np.abs(found.means - expected) / found.standard_errors
    assert np.max(deviation) < 4.5
    assert np.max(found.standard_errors) < 1 / np.sqrt(199)


def test_refused(circuit):
    with pytest.raises(CircuitError, match="num_trajectories=1; expected at least 2"):
        build(circuit, 1)
    with pytest.raises(CircuitError, match="chunk=0"):
        build(circuit, 5, chunk=0)
    with pytest.raises(CircuitError, match=r"features have shape \(2, 3\)"):
        build(circuit, 5)(jax.random.key(0), WEIGHTS, np.zeros((2, 3), np.float32))
    noisy = circuit.with_noise(NoiseModel(couplings=frozenset({(0, 1)})))
    with pytest.raises(CircuitError, match=r"CNOT acts on wires \[2, 0\]"):
        build(noisy, 5)
