"""Arithmetic on inputs as expressions of Qiskit's parameters."""

import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
import qiskit.qasm3
from qiskit.circuit import ParameterVector

from hqnn_jax.circuits import Circuit
from hqnn_jax.circuits.exchange import expressions as qiskit_expressions
from hqnn_jax.circuits.exchange.expressions import symbolic_angles
from hqnn_jax.circuits.exchange.openqasm import to_openqasm3
from hqnn_jax.circuits.exchange.to_qiskit import to_qiskit
from hqnn_jax.errors import CircuitError
from tests.circuits.exchange.examples import (
    EXPRESSIBLE,
    angle_circuit,
    angle_values,
    engine_values,
    estimate,
    inputs,
)


def numbers(expressions, symbols, values):
    """The value of each expression."""
    known = dict(zip(symbols, values, strict=True))
    return [
        e.bind({p: known[p] for p in e.parameters}).numeric() if hasattr(e, "bind") else e
        for e in expressions
    ]


def test_arithmetic_on_inputs_is_exact():
    circuit = angle_circuit(EXPRESSIBLE.values())
    x, w = ParameterVector("x", 2), ParameterVector("w", 6)
    symbolic = symbolic_angles(circuit.angles, list(x), list(w))
    weights, features = inputs(circuit)
    for sample, expected in zip(features, angle_values(circuit), strict=True):
        found = numbers(symbolic, [*x, *w], [*sample, *weights.ravel()])
        for name, ours, theirs in zip(EXPRESSIBLE, found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13, err_msg=name)


def test_wrong_expressions_are_noticed(monkeypatch):
    circuit = angle_circuit([lambda x, w: 2 * x[1], lambda x, w: jnp.sin(x[0]) + w[0, 0]])
    assert to_qiskit(circuit).circuit.size() == 2
    monkeypatch.setitem(qiskit_expressions._ELEMENTWISE, "sin", lambda x: x)
    with pytest.raises(CircuitError, match=r"angle of RX on wires \[0\] gets a wrong value"):
        to_qiskit(circuit)


def test_constants_without_symbols_stay_numbers():
    circuit = angle_circuit([EXPRESSIBLE["matrix"], lambda x, w: 0.1, lambda x, w: x[0] * 0 + 0.2])
    x, w = ParameterVector("x", 2), ParameterVector("w", 6)
    matrix, constant, cancelled = symbolic_angles(circuit.angles, list(x), list(w))
    assert matrix == 2 * x[0] + 0.5 * x[1]
    assert (constant, cancelled) == (0.1, 0.2)


@pytest.mark.parametrize(
    ("angle", "primitive"),
    [
        (lambda x, w: jnp.where(x[0] > 0, x[0], 0.0), "gt"),
        (lambda x, w: 2 * jnp.mod(x[1], 3.0), "rem"),
        (lambda x, w: jnp.arctan2(x[0], w[0, 1]), "atan2"),
        (lambda x, w: jnp.sort(x)[0], "sort"),
        (lambda x, w: w[x.astype(int)[0], 0], "convert_element_type"),
        (lambda x, w: (-2.0) ** x[0], "pow"),
    ],
)
def test_inexpressible_arithmetic_is_named_with_its_gate(angle, primitive):
    circuit = angle_circuit([lambda x, w: x[0], angle], name="odd")
    message = rf"'odd': the angle of RX on wires \[0\] is computed with '{primitive}"
    with pytest.raises(CircuitError, match=message):
        to_qiskit(circuit)
    exported = to_qiskit(circuit, precompute=True)
    expressions = [instruction.operation.params[0] for instruction in exported.circuit.data]
    assert expressions == [exported.features[0], exported.angles[1]]


def test_precomputed_angles_have_the_values():
    def function(features, weights):
        qml.RX(jnp.where(features[0] > weights[1], features[0], 0.2), 0)
        qml.RY(jnp.arctan2(weights[0], features[1]), 1)
        qml.RZ(features[2] * 2, 1)
        qml.CNOT([1, 0])
        return qml.expval(qml.Y(0)), qml.expval(qml.X(1)), qml.expval(qml.Z(1))

    circuit = Circuit.from_function(function, num_qubits=2, num_features=3, weights_shape=(2,))
    exported = to_qiskit(circuit, precompute=True)
    names = [parameter.name for parameter in exported.circuit.parameters]
    assert names == ["angles[0]", "angles[1]", "features[2]"]
    found = estimate(exported.circuit, exported.observables, exported.bind(*inputs(circuit)))
    np.testing.assert_allclose(found, engine_values(circuit), atol=1e-10)
    text = to_openqasm3(circuit, precompute=True)
    parsed = qiskit.qasm3.loads(text)
    assert {"angles_0", "angles_1"} <= {parameter.name for parameter in parsed.parameters}
    assert "ry(angles_1) q[1];\nrz(2.0*features_2) q[1];" in text


def test_arithmetic_that_no_angle_reads_does_not_matter():
    circuit = angle_circuit([lambda x, w: jnp.stack([jnp.arctan2(x[0], x[1]), 2 * x[0]])[1]])
    exported = to_qiskit(circuit)
    assert exported.circuit.data[0].operation.params == [2 * exported.features[0]]
