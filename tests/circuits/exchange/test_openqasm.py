"""Export to OpenQASM 3, read back by Qiskit and by OpenQASM's own parser."""

import math

import numpy as np
import openqasm3
import pennylane as qml
import pytest
import qiskit.qasm3

from hqnn_jax.circuits import Circuit
from hqnn_jax.circuits.exchange.openqasm import to_openqasm3
from hqnn_jax.circuits.exchange.to_qiskit import to_qiskit
from tests.circuits.exchange.examples import (
    EXPRESSIBLE,
    angle_circuit,
    angle_values,
    engine_values,
    estimate,
    inputs,
    random_circuit,
)


@pytest.mark.parametrize("seed", [1, 2])
def test_openqasm_is_read_back_by_qiskit(seed):
    """Where functions are left out, their values are inputs like the features."""
    circuit = random_circuit(seed)
    program = to_openqasm3(circuit, precompute=True)
    parsed = qiskit.qasm3.loads(program)
    weights, features = inputs(circuit)
    named = [
        {f"features_{i}": value for i, value in enumerate(sample)}
        | {f"weights_{i}": value for i, value in enumerate(weights.ravel())}
        | {f"angles_{i}": value for i, value in enumerate(angle)}
        for sample, angle in zip(features, angle_values(circuit), strict=True)
    ]
    values = np.array([[known[p.name] for p in parsed.parameters] for known in named])
    assert any(p.name.startswith("angles_") for p in parsed.parameters)
    assert any(p.name.startswith("features_") for p in parsed.parameters)
    found = estimate(parsed, to_qiskit(circuit).observables, values)
    np.testing.assert_allclose(found, engine_values(circuit), atol=1e-10)


def test_openqasm_expressions_have_the_angles_values():
    """Arithmetic in OpenQASM 3 reads as Python does, once its functions are defined."""
    circuit = angle_circuit(EXPRESSIBLE.values(), name="my\nangles")
    text = to_openqasm3(circuit)
    program = openqasm3.parse(text)
    declared = [s for s in program.statements if isinstance(s, openqasm3.ast.IODeclaration)]
    assert [s.identifier.name for s in declared] == [
        *("features_0", "features_1"),
        *(f"weights_{i}" for i in range(6)),
    ]
    gates = [s for s in program.statements if isinstance(s, openqasm3.ast.QuantumGate)]
    assert [gate.name.name for gate in gates] == ["rx"] * len(EXPRESSIBLE)
    weights, features = inputs(circuit)
    known = {f"features_{i}": value for i, value in enumerate(features[1])}
    known |= {f"weights_{i}": value for i, value in enumerate(weights.ravel())}
    known |= {f: getattr(math, f) for f in ("sin", "cos", "tan", "exp", "log", "sqrt")}
    known |= {"arcsin": math.asin, "arccos": math.acos, "arctan": math.atan}
    expected = angle_values(circuit)[1]
    for name, gate, theirs in zip(EXPRESSIBLE, gates, expected, strict=True):
        ours = eval(openqasm3.dumps(gate.arguments[0]), {"__builtins__": {"float": float}}, known)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12, err_msg=name)


def test_openqasm_text():
    def function(features, weights):
        qml.RX(features[1] ** 2 / 3, 2)
        qml.CNOT([2, 0])
        qml.RY(0.1, 1)
        return qml.expval(0.5 * qml.Z(0) - 1.5 * qml.X(2)), qml.expval(qml.Y(1))

    circuit = Circuit.from_function(
        function, num_qubits=3, num_features=2, weights_shape=(1,), name="small"
    )
    lines = [
        "// small",
        "// output 0: +0.5 ZII -1.5 IIX",
        "// output 1: +1.0 IYI",
        "OPENQASM 3.0;",
        'include "stdgates.inc";',
        "input float[64] features_0;",
        "input float[64] features_1;",
        "input float[64] weights_0;",
        "qubit[3] q;",
        "rx(0.3333333333333333*(features_1*features_1)) q[2];",
        "cx q[2], q[0];",
        "ry(0.1) q[1];",
    ]
    assert to_openqasm3(circuit).splitlines() == lines
    assert qiskit.qasm3.loads(to_openqasm3(circuit)).num_parameters == 3
