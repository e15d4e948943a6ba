"""What capture finds in a quantum function, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest

from hqnn_jax.circuits import Circuit, Gate, Inputs, Observable
from hqnn_jax.errors import CircuitError


def capture(function, num_qubits=2, num_features=2, weights_shape=(3,)):
    return Circuit.from_function(
        function,
        num_qubits=num_qubits,
        num_features=num_features,
        weights_shape=weights_shape,
        name="example",
    )


def test_gates_angles_and_dependence():
    def function(features, weights):
        qml.RX(weights[2], 1)
        qml.RY(features[1], 0)
        qml.RZ(0.25, 0)
        qml.CNOT([1, 0])
        qml.RX(features[0] * weights[0], 1)
        qml.RX(jnp.cos(weights[1]), 0)
        qml.Hadamard(1)
        return qml.expval(qml.Z(1))

    circuit = capture(function)
    assert circuit.gates == (
        Gate("RX", (1,), 0),
        Gate("RY", (0,), 1),
        Gate("RZ", (0,), 2),
        Gate("CNOT", (1, 0)),
        Gate("RX", (1,), 3),
        Gate("RX", (0,), 4),
        Gate("Hadamard", (1,)),
    )
    both = Inputs.FEATURES | Inputs.WEIGHTS
    expected_inputs = (Inputs.WEIGHTS, Inputs.FEATURES, Inputs(0), both, Inputs.WEIGHTS)
    assert circuit.angles.inputs == expected_inputs

    features, weights = jnp.array([0.5, -2.0]), jnp.array([1.5, 0.3, 4.0])
    expected = [4.0, -2.0, 0.25, 0.75, np.cos(0.3)]
    np.testing.assert_allclose(circuit.angles(features, weights), expected, rtol=1e-6)
    shared = [4.0, 0.25, np.cos(0.3)]
    np.testing.assert_allclose(circuit.angles.shared_angles(weights), shared, rtol=1e-6)
    batch = jnp.stack([features, 2 * features, -features])
    per_sample = circuit.angles.sample_angles(batch, weights)
    np.testing.assert_allclose(per_sample, [[-2.0, 0.75], [-4.0, 1.5], [2.0, -0.75]], rtol=1e-6)


def test_observables():
    def function(features, weights):
        return [
            qml.expval(qml.X(2) @ qml.Z(0)),
            qml.expval(0.5 * qml.Y(1) - qml.Z(1) @ qml.Z(1)),
            qml.probs(wires=[2]),
        ]

    circuit = capture(function, num_qubits=3)
    assert circuit.num_outputs == 4
    assert circuit.observables[0] == Observable(((1.0, "ZIX"),))
    assert {word: c for c, word in circuit.observables[1].terms} == {"IYI": 0.5, "III": -1.0}
    assert circuit.observables[2] == Observable(((0.5, "III"), (0.5, "IIZ")))
    assert circuit.observables[3] == Observable(((0.5, "III"), (-0.5, "IIZ")))
    assert circuit.observables[3].is_diagonal
    assert not circuit.observables[0].is_diagonal


def test_double_precision_reaches_the_angles():
    circuit = capture(
        lambda features, weights: (
            qml.RY(weights[0] * 0.1 + 1 / 3, 0),
            qml.RX(1 / 7, 0),
            qml.expval(qml.Z(0)),
        )[-1]
    )
    with jax.enable_x64(True):
        weights = jnp.array([1 / 9, 0.0, 0.0], jnp.float64)
        found = circuit.angles(jnp.zeros(2, jnp.float64), weights)
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(found, [0.1 / 9 + 1 / 3, 1 / 7], rtol=1e-15)


def test_angles_of_samples_do_not_spoil_gradients_of_shared_ones():
    """√(x w) has no finite derivative at x = 0, but the other angle does not depend on it."""

    def function(features, weights):
        qml.RY(jnp.sqrt(features[0] * weights[0]), 0)
        qml.RX(2 * weights[1], 0)
        return qml.expval(qml.Z(0))

    angles = capture(function).angles
    weights = jnp.array([0.5, 0.25, 0.0])
    gradient = jax.grad(lambda weights: angles.shared_angles(weights).sum())(weights)
    np.testing.assert_allclose(gradient, [0, 2, 0])


def measured(*operations):
    """A quantum function that applies operations, given as functions of (features, weights)."""

    def function(features, weights):
        for operation in operations:
            operation(features, weights)
        return qml.expval(qml.Z(0))

    return function


def python_branch(features, weights):
    if features[0] > 0:
        qml.X(0)
    return qml.expval(qml.Z(0))


def dropped_measurement(features, weights):
    qml.expval(qml.Z(0))
    return qml.expval(qml.Z(1))


REFUSED = {
    "mid_circuit": (measured(lambda x, w: qml.measure(0)), "mid-circuit measurement"),
    "channel": (measured(lambda x, w: qml.AmplitudeDamping(0.1, 1)), r"AmplitudeDamping.*\[1\]"),
    "wire_range": (
        measured(lambda x, w: qml.CNOT([0, 2])),
        "CNOT acts on wire 2; expected.*0 to 1",
    ),
    "wire_label": (measured(lambda x, w: qml.RX(w[0], "a")), "RX acts on wire 'a'"),
    "all_features": (measured(lambda x, w: qml.RX(x, 0)), r"RX.*angle of shape \(2,\)"),
    "branch": (python_branch, "uses the value of a feature or weight"),
    "counts": (lambda x, w: qml.counts(wires=0), "CountsMP.*not supported"),
    "sample": (lambda x, w: qml.sample(qml.Z(0)), "SampleMP.*not supported"),
    "variance": (lambda x, w: qml.var(qml.Z(0)), "VarianceMP.*not supported"),
    "hermitian": (lambda x, w: qml.expval(qml.Hermitian(np.eye(2), 0)), "Hermitian.*Pauli"),
    "coefficient": (lambda x, w: qml.expval(w[0] * qml.Z(0)), "coefficient that depends"),
    "nothing": (lambda x, w: qml.RX(x[0], 0), "returns RX; expected"),
    "none": (lambda x, w: None, "returns NoneType; expected"),
    "dropped": (dropped_measurement, "return every measurement once"),
    "template": (
        measured(lambda x, w: qml.BasicEntanglerLayers(w, wires=[0, 1])),
        "raised ValueError while it was captured: Weights tensor",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_operation_and_reason(name):
    function, message = REFUSED[name]
    with pytest.raises(CircuitError, match=message) as caught:
        capture(function)
    assert "\n" not in str(caught.value)
    assert "'example'" in str(caught.value)


def test_probabilities_of_many_wires_are_refused():
    with pytest.raises(CircuitError, match="9 wires; at most 8"):
        capture(lambda x, w: qml.probs(), num_qubits=9)


def test_no_qubits_is_refused():
    with pytest.raises(CircuitError, match="num_qubits=0"):
        capture(lambda x, w: qml.expval(qml.Z(0)), num_qubits=0)
