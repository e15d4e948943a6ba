"""What capture finds in a quantum function, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
import scipy.sparse

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


MATRIX = np.array([[1.0, 2j, 0.5, 0], [-2j, 0.3, 1, -1j], [0.5, 1, -0.7, 0.2], [0, 1j, 0.2, 2]])
OBSERVABLES = {
    "hermitian": lambda: qml.Hermitian(MATRIX, [2, 0]),
    "product_with_matrix": lambda: qml.Hermitian(MATRIX, [2, 0]) @ qml.Y(1),
    "sum_with_matrix": lambda: (
        0.5 * qml.Hermitian(MATRIX, [0, 2]) + qml.X(1) - 0.3 * qml.Projector([1, 0], [1, 2])
    ),
    "projector_on_state": lambda: qml.Projector(np.array([0.6, 0, 0, 0.8j]), [2, 1]),
    "hamiltonian": lambda: qml.Hamiltonian([0.3, -2], [qml.X(0) @ qml.Y(2), qml.Hadamard(1)]),
    "linear_combination": lambda: qml.ops.LinearCombination([0.3, 1], [qml.Z(0), qml.X(2)]),
    "s_prod_of_prod": lambda: qml.s_prod(-0.4, qml.prod(qml.X(2), qml.Z(1), qml.Z(1), qml.Y(0))),
    "sparse": lambda: qml.SparseHamiltonian(scipy.sparse.csr_matrix(MATRIX), [1, 0]),
}


def superposition(measure):
    """A state without symmetry, then a measurement."""

    def function(features, weights):
        for wire in range(3):
            qml.RX(0.3 + 0.8 * wire, wire)
            qml.RZ(1.1 - 0.5 * wire, wire)
        qml.CNOT([0, 1])
        qml.RY(0.7, 1)
        qml.CNOT([1, 2])
        return measure()

    return function


def assert_measured_as_qnode(measures):
    """All measurements of one state at once: one compilation."""
    function = superposition(lambda: [measure() for measure in measures])
    circuit = capture(function, num_qubits=3, num_features=0, weights_shape=(0,))
    device = qml.device("default.qubit", wires=3)
    expected = np.hstack(qml.QNode(function, device, interface=None)(None, None))
    with jax.enable_x64(True):
        found = circuit.to_jax("statevector")(jnp.zeros(0, float), jnp.zeros((2, 0), float))
    np.testing.assert_allclose(found, [expected, expected], atol=1e-12)


def test_expectations_of_hermitian_operators():
    measures = [lambda make=make: qml.expval(make()) for make in OBSERVABLES.values()]
    assert_measured_as_qnode(measures)


def test_probabilities_of_pauli_words():
    assert_measured_as_qnode(
        [
            lambda: qml.probs(op=qml.X(2) @ qml.Y(0)),
            lambda: qml.probs(op=qml.Z(1)),
            lambda: qml.probs(wires=[2, 0]),
        ]
    )


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


def traced_matrix(w):
    return jnp.stack([jnp.array([1, 0j]), jnp.stack([0j, jnp.exp(1j * w[0])])])


REFUSED = {
    "mid_circuit": (measured(lambda x, w: qml.measure(0)), "mid-circuit measurement"),
    "conditional": (
        measured(lambda x, w: qml.cond(qml.measure(0), qml.X)(1)),
        r"on wires \[0\] is a mid-circuit measurement",
    ),
    "traced_wire": (measured(lambda x, w: qml.X(x[0])), "PauliX acts on a wire that depends on"),
    "traced_matrix": (
        measured(lambda x, w: qml.QubitUnitary(traced_matrix(w), 0)),
        r"QubitUnitary on wires \[0\].*no angles with a derivative everywhere; use qml.Rot",
    ),
    "controlled_traced_matrix": (
        measured(lambda x, w: qml.ctrl(qml.QubitUnitary(traced_matrix(w), 0), 1)),
        r"C.*QubitUnitary.*on wires \[1, 0\].*no angles with a derivative",
    ),
    "traced_power": (
        measured(lambda x, w: qml.pow(qml.X(0), x[0])),
        "decomposed into gates that depend on the value of a feature or weight",
    ),
    "not_unitary": (
        measured(lambda x, w: qml.exp(qml.X(0), x[0])),
        r"Exp on wires \[0\] raised.*needs an imaginary coefficient",
    ),
    "no_decomposition": (
        measured(lambda x, w: qml.exp(qml.X(0) + qml.Z(0), 1j * w[0])),
        r"Exp on wires \[0\] has no decomposition into CNOT",
    ),
    "qutrit": (measured(lambda x, w: qml.TShift(0)), r"TShift on wires \[0\]"),
    "dynamic_wire": (measured(lambda x, w: qml.allocate(1)), "Allocate on wires"),
    "state": (lambda x, w: qml.state(), "StateMP.*not supported"),
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
    "not_hermitian": (
        lambda x, w: qml.expval(qml.X(0) @ qml.Y(0)),
        r"Prod on wires \[0\] is not Hermitian: the coefficient of Z\(0\) is 1j",
    ),
    "large_matrix": (
        lambda x, w: qml.expval(qml.Hermitian(np.eye(128), range(7))),
        "Hermitian.*nor a matrix on at most 6 wires",
    ),
    "traced_hermitian": (
        lambda x, w: qml.expval(qml.Hermitian(w[0] * np.eye(2), 0)),
        "Hermitian.*coefficient that depends",
    ),
    "probabilities_of_sum": (
        lambda x, w: qml.probs(op=qml.X(0) + qml.Z(1)),
        r"qml.probs of observable Sum on wires \[0, 1\]; expected a Pauli word",
    ),
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
        capture(function, num_qubits=7 if name == "large_matrix" else 2)
    assert "\n" not in str(caught.value)
    assert "'example'" in str(caught.value)


def test_probabilities_of_many_wires_are_refused():
    with pytest.raises(CircuitError, match="9 wires; at most 8"):
        capture(lambda x, w: qml.probs(), num_qubits=9)


def test_no_qubits_is_refused():
    with pytest.raises(CircuitError, match="num_qubits=0"):
        capture(lambda x, w: qml.expval(qml.Z(0)), num_qubits=0)
