"""Circuits made of Qiskit circuits."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Parameter, ParameterVector
from qiskit.circuit.library import PauliEvolutionGate, RZXGate, UGate, XGate
from qiskit.circuit.library import get_standard_gate_name_mapping as standard_gates
from qiskit.quantum_info import (
    Operator,
    Pauli,
    SparsePauliOp,
    Statevector,
    random_clifford,
    random_unitary,
)

from hqnn_jax.circuits import Circuit
from hqnn_jax.errors import CircuitError


def unitary_of(circuit: Circuit, *inputs) -> np.ndarray:
    """The matrix of a circuit's quantum function, wire 0 most significant."""
    tape = qml.tape.make_qscript(circuit.function)(*inputs)
    script = qml.tape.QuantumScript(tape.operations)
    return qml.math.toarray(qml.matrix(script, wire_order=range(circuit.num_qubits)))


def assert_same_unitary(quantum_circuit: QuantumCircuit, circuit: Circuit, *inputs):
    found = unitary_of(circuit, *inputs)
    expected = Operator(quantum_circuit.reverse_bits()).data
    overlap = np.vdot(found, expected)
    assert abs(overlap) == pytest.approx(len(found), abs=1e-9)


NOT_UNITARY = {"delay", "measure", "reset"}


@pytest.mark.parametrize("name", sorted(standard_gates().keys() - NOT_UNITARY))
def test_every_standard_gate_is_imported(name):
    gate = standard_gates()[name]
    angles = ParameterVector("weights", len(gate.params))
    values = np.linspace(0.4, 2.9, len(gate.params))
    qubits = [3, 1, 0, 4, 2][: gate.num_qubits]
    circuit = QuantumCircuit(max(qubits, default=0) + 1)
    circuit.append(gate.base_class(*angles), qubits)
    imported = Circuit.from_qiskit(circuit, "Z" * circuit.num_qubits, weights=angles)
    with jax.enable_x64(True):
        bound = circuit.assign_parameters(values[: circuit.num_parameters])
        assert_same_unitary(bound, imported, np.zeros(0), values)


def test_other_instructions_are_translated():
    circuit = QuantumCircuit(3)
    a, b = Parameter("lambda"), Parameter("$\\theta$")
    circuit.unitary(random_unitary(4, seed=1), [2, 0])
    circuit.append(PauliEvolutionGate(SparsePauliOp(["XX", "ZY"], [0.3, 1.2]), time=a), [1, 2])
    circuit.append(random_clifford(2, seed=1), [1, 0])
    circuit.append(XGate().control(2, ctrl_state=1), [0, 1, 2])
    circuit.append(UGate(a * b, b, 0.2 - a).control(), [2, 1])
    circuit.append(RZXGate(a / 3).inverse(), [0, 2])
    circuit.barrier()
    circuit.delay(100, 1)
    imported = Circuit.from_qiskit(circuit, "XYZ", features=[b], weights=[a], name="mixed")
    assert (imported.num_features, imported.weights_shape) == (1, (1,))
    with jax.enable_x64(True):
        bound = circuit.assign_parameters({a: 0.7, b: -1.9})
        assert_same_unitary(bound, imported, np.array([-1.9]), np.array([0.7]))


def test_imported_observables_are_in_qiskit_order():
    circuit = QuantumCircuit(3)
    circuit.h(0)
    observables = ["ZXI", Pauli("-IIX"), SparsePauliOp.from_list([("IYZ", 0.5), ("XII", -2.0)])]
    found = Circuit.from_qiskit(circuit, observables).observables
    expected = [((1.0, "IXZ"),), ((-1.0, "XII"),), ((0.5, "ZYI"), (-2.0, "IIX"))]
    assert [observable.terms for observable in found] == expected
    (single,) = Circuit.from_qiskit(circuit, "IIX").to_jax()(jnp.zeros(0), jnp.zeros((1, 0)))[0]
    assert float(single) == pytest.approx(1, abs=1e-6)


def test_imported_angle_with_a_cancelled_parameter():
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.rx(a - a + b, 0)
    circuit.ry(b + a - b, 0)
    imported = Circuit.from_qiskit(circuit, "Z", features=[a], weights=[b])
    assert [gate.name for gate in imported.gates] == ["RX", "RY"]
    np.testing.assert_allclose(imported.angles(jnp.array([0.5]), jnp.array([7.0])), [7.0, 0.5])


def test_final_measurements_are_dropped():
    circuit = QuantumCircuit(2)
    circuit.rx(0.3, 1)
    circuit.measure_all()
    assert [gate.name for gate in Circuit.from_qiskit(circuit, "ZI").gates] == ["RX"]
    assert circuit.num_clbits == 2


def mid_circuit_measurement(circuit):
    circuit.measure(1, 0)
    circuit.x(1)


def conditional(circuit):
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)


def hidden_reset(circuit):
    inner = QuantumCircuit(1)
    inner.reset(0)
    circuit.append(inner.to_instruction(), [1])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (mid_circuit_measurement, r"instruction 'measure' on qubits \[1\]"),
        (conditional, r"instruction 'if_else' on qubits \[0\]"),
        (lambda circuit: circuit.reset(1), r"instruction 'reset' on qubits \[1\]"),
        (hidden_reset, r"instruction 'reset' on qubits \[1\]"),
        (
            lambda circuit: circuit.initialize([0, 1], 0),
            r"instruction 'initialize' on qubits \[0\]",
        ),
        (lambda circuit: circuit.append(Gate("odd", 2, []), [0, 1]), "cannot translate.*odd"),
        (lambda circuit: circuit.rx(Parameter("t"), 0), "neither features nor weights: t;"),
    ],
)
def test_import_refuses(build, message):
    circuit = QuantumCircuit(2, 1, name="bad")
    build(circuit)
    with pytest.raises(CircuitError, match=f"Circuit 'bad': .*{message}"):
        Circuit.from_qiskit(circuit, "ZZ")


def test_import_refuses_parameters_and_observables_that_do_not_fit():
    a, b = ParameterVector("a", 2)
    circuit = QuantumCircuit(2, name="bad")
    circuit.rx(a, 0)
    circuit.ry(2**b, 1)
    with pytest.raises(CircuitError, match=r"more than once .*: a\[0\]"):
        Circuit.from_qiskit(circuit, "ZZ", features=[a, b], weights=[a])
    with pytest.raises(CircuitError, match=r"weights_shape=\(3,\) has 3 elements, .* 2 weights"):
        Circuit.from_qiskit(circuit, "ZZ", weights=[a, b], weights_shape=(3,))
    with pytest.raises(CircuitError, match=r"cannot convert the angle 2\*\*a\[1\] to SymPy"):
        Circuit.from_qiskit(circuit, "ZZ", features=[a, b])
    with pytest.raises(CircuitError, match="no observables"):
        Circuit.from_qiskit(circuit, [], features=[a, b])
    with pytest.raises(CircuitError, match="observable 'ZQ' is not made of"):
        Circuit.from_qiskit(circuit, "ZQ", features=[a, b])
    with pytest.raises(CircuitError, match="3 qubits, the circuit has 2"):
        Circuit.from_qiskit(circuit, "ZZZ", features=[a, b])
    for coefficient in (1j, np.array([a])):
        with pytest.raises(CircuitError, match="expected real numbers"):
            Circuit.from_qiskit(circuit, SparsePauliOp("ZZ", coefficient), features=[a, b])


# Names that mean something in SymPy, in JAX, in Python, or nothing anywhere.
NAMES = ["cos", "exp", "log", "abs", "x", "sign", "arcsin", "array", "E", "I", "pi", "S", "lambda",
         "None", "float", "jax", "x y", "θ[0]", "2*x", ""]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_parameter(name):
    first, second = Parameter(name), Parameter("tan" if name == "x" else "sqrt")
    circuit = QuantumCircuit(2)
    circuit.rx(2 * first + second.cos() + first.arcsin(), 0)
    circuit.ry((first * second).exp() + second.sin(), 1)
    circuit.rz((first + second).abs() + (first**0.5 + 1).log() + first.sign() * second.tan(), 0)
    circuit.cx(0, 1)
    circuit.h(0)
    bound = circuit.assign_parameters({first: 0.4, second: 0.7})
    expected = Statevector(bound).expectation_value(SparsePauliOp("ZX")).real
    imported = Circuit.from_qiskit(circuit, "ZX", features=[first], weights=[second])
    with jax.enable_x64(True):
        found = imported.to_jax("statevector")(np.array([0.7]), np.array([[0.4]]))
    np.testing.assert_allclose(found, [[expected]], atol=1e-9)


@pytest.mark.parametrize("observables", ["", [""], "Z"])
def test_import_refuses_a_circuit_without_qubits(observables):
    with pytest.raises(CircuitError, match="'bad': the Qiskit circuit has no qubits"):
        Circuit.from_qiskit(QuantumCircuit(0, name="bad"), observables)
