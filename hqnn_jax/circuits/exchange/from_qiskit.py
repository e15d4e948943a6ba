"""Import of a Qiskit circuit as a PennyLane quantum function."""

import builtins
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import pennylane as qml
import sympy
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import (
    CircuitInstruction,
    ControlFlowOp,
    Parameter,
    ParameterExpression,
    ParameterVector,
    ParameterVectorElement,
)
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Pauli, SparsePauliOp
from sympy.printing.numpy import JaxPrinter

from hqnn_jax.circuits.capture.quantum_function import QuantumFunction
from hqnn_jax.circuits.exchange.expressions import to_sympy
from hqnn_jax.errors import CircuitError

# Gates that both libraries have with the same parameters and the same order of qubits; all others
# are translated to these by Qiskit's transpiler.
_GATES: dict[str, Callable[..., Any]] = {
    "ccx": qml.Toffoli,
    "ch": qml.CH,
    "cp": qml.ControlledPhaseShift,
    "crx": qml.CRX,
    "cry": qml.CRY,
    "crz": qml.CRZ,
    "cswap": qml.CSWAP,
    "cx": qml.CNOT,
    "cy": qml.CY,
    "cz": qml.CZ,
    "h": qml.Hadamard,
    "iswap": qml.ISWAP,
    "p": qml.PhaseShift,
    "rx": qml.RX,
    "rxx": qml.IsingXX,
    "ry": qml.RY,
    "ryy": qml.IsingYY,
    "rz": qml.RZ,
    "rzz": qml.IsingZZ,
    "s": qml.S,
    "sdg": qml.adjoint(qml.S),
    "swap": qml.SWAP,
    "sx": qml.SX,
    "t": qml.T,
    "tdg": qml.adjoint(qml.T),
    "u": qml.U3,
    "x": qml.X,
    "y": qml.Y,
    "z": qml.Z,
}
# Without effect on an expectation value of an ideal circuit.
_IGNORED = frozenset({"barrier", "delay", "global_phase", "id"})
# What the transpiler leaves as it is, or hides in a definition.
_IRREVERSIBLE = frozenset({"initialize", "measure", "reset", "store"})
_MAX_IMAGINARY = 1e-12

QiskitObservable: TypeAlias = SparsePauliOp | Pauli | str
"""An observable in Qiskit's order: in a label, qubit 0 comes last."""


class ReadFunction(NamedTuple):
    """A Qiskit circuit as a quantum function, with the sizes `Circuit.from_function` asks for."""

    function: QuantumFunction
    num_qubits: int
    num_features: int
    weights_shape: tuple[int, ...]
    name: str


class _Instruction(NamedTuple):
    """A gate, its angles (a number, or the position of the value in a list), and its wires."""

    gate: Callable[..., Any]
    angles: tuple[float | int, ...]
    wires: list[int]


def read_qiskit(
    quantum_circuit: QuantumCircuit,
    observables: QiskitObservable | Sequence[QiskitObservable],
    *,
    features: Sequence[Parameter] | ParameterVector | None = None,
    weights: Sequence[Parameter] | ParameterVector | None = None,
    weights_shape: tuple[int, ...] | None = None,
    name: str | None = None,
) -> ReadFunction:
    """Read a Qiskit circuit and the observables to measure.

    Measurements at the end, such as `measure_all` makes, are dropped: the outputs are the
    expectation values of the observables. Wire q is qubit q.

    Args:
        quantum_circuit: gates of any kind that Qiskit can translate to standard gates. Angles, in
            radians, are numbers, parameters or expressions in parameters.
        observables: one per output, in Qiskit's order of labels, in which qubit 0 comes last.
        features: the parameters that are features, in order; if not given, the elements of the
            parameter vector called "features", none without such a vector.
        weights: the parameters that are weights, in order; if not given, the elements of the
            parameter vector called "weights", none without such a vector.
        weights_shape: shape of the circuit's weights, filled in C order; [number of weights] if
            not given.
        name: name for messages and reports; the Qiskit circuit's name if not given.

    Raises:
        CircuitError: a measurement before the end, a reset, control flow, an instruction without
            definition, a parameter that is neither feature nor weight, or both, an expression
            that SymPy cannot take over, or observables that do not fit; the message names it.
    """
    name = name or str(quantum_circuit.name)
    if not quantum_circuit.num_qubits:
        raise CircuitError(
            f"Circuit '{name}': the Qiskit circuit has no qubits; expected one or more"
        )
    feature_parameters = _parameters(quantum_circuit, features, "features")
    weight_parameters = _parameters(quantum_circuit, weights, "weights")
    inputs = (*feature_parameters, *weight_parameters)
    _check_parameters(quantum_circuit, inputs, name)
    shape = (len(weight_parameters),) if weights_shape is None else tuple(weights_shape)
    if math.prod(shape) != len(weight_parameters):
        raise CircuitError(
            f"Circuit '{name}': weights_shape={shape} has {math.prod(shape)} elements, but the "
            f"Qiskit circuit has {len(weight_parameters)} weights"
        )
    given = list(observables) if isinstance(observables, list | tuple) else [observables]
    if not given:
        raise CircuitError(f"Circuit '{name}': no observables; a circuit has one output for each")
    measured = [_observable(o, quantum_circuit.num_qubits, name) for o in given]
    return ReadFunction(
        function=_quantum_function(_translated(quantum_circuit, name), inputs, measured, name),
        num_qubits=quantum_circuit.num_qubits,
        num_features=len(feature_parameters),
        weights_shape=shape,
        name=name,
    )


def _parameters(
    circuit: QuantumCircuit, given: Sequence[Parameter] | ParameterVector | None, name: str
) -> tuple[Parameter, ...]:
    """The parameters given, else the elements of the circuit's parameter vector of that name."""
    if given is not None:
        return tuple(given)
    for parameter in circuit.parameters:
        if isinstance(parameter, ParameterVectorElement) and parameter.vector.name == name:
            return tuple(parameter.vector)
    return ()


def _check_parameters(circuit: QuantumCircuit, inputs: Sequence[Parameter], name: str) -> None:
    twice = [parameter.name for parameter, count in Counter(inputs).items() if count > 1]
    if twice:
        raise CircuitError(
            f"Circuit '{name}': parameters given more than once among features and weights: "
            f"{', '.join(twice)}"
        )
    known = set(inputs)
    unknown = [p.name for p in circuit.parameters if p not in known]
    if unknown:
        raise CircuitError(
            f"Circuit '{name}': parameters that are neither features nor weights: "
            f"{', '.join(unknown)}; give them in features= or weights=, or assign numbers to them"
        )


def _translated(circuit: QuantumCircuit, name: str) -> QuantumCircuit:
    """The circuit without final measurements, in the gates of `_GATES`."""
    circuit = circuit.remove_final_measurements(inplace=False)
    for instruction in circuit.data:
        operation = instruction.operation
        if isinstance(operation, ControlFlowOp) or operation.name in _IRREVERSIBLE:
            raise _not_unitary(operation.name, circuit, instruction, name)
    try:
        translated = transpile(circuit, basis_gates=[*_GATES, "id"], optimization_level=0)
    except QiskitError as error:
        reason = str(error.message).split("\n", maxsplit=1)[0]
        raise CircuitError(
            f"Circuit '{name}': Qiskit cannot translate the circuit to standard gates: {reason}"
        ) from error
    for instruction in translated.data:
        if instruction.operation.name not in _GATES.keys() | _IGNORED:
            raise _not_unitary(instruction.operation.name, translated, instruction, name)
    return translated


def _not_unitary(
    operation: str, circuit: QuantumCircuit, instruction: CircuitInstruction, name: str
) -> CircuitError:
    qubits = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
    return CircuitError(
        f"Circuit '{name}': instruction '{operation}' on qubits {qubits} is not a gate with a "
        "definition; expected unitary gates, and measurements at the end only"
    )


def _quantum_function(
    circuit: QuantumCircuit,
    inputs: Sequence[Parameter],
    observables: Sequence[Any],
    name: str,
) -> QuantumFunction:
    """The PennyLane quantum function that applies the gates of a translated circuit."""
    # What an angle is read from: the inputs, then the expressions in them.
    pool: dict[ParameterExpression, int] = {p: position for position, p in enumerate(inputs)}
    instructions: list[_Instruction] = []
    for data in circuit.data:
        if data.operation.name in _IGNORED:
            continue
        angles = tuple(
            pool.setdefault(parameter, len(pool))
            if isinstance(parameter, ParameterExpression)
            else float(parameter)
            for parameter in data.operation.params
        )
        wires = [circuit.find_bit(qubit).index for qubit in data.qubits]
        instructions.append(_Instruction(_GATES[data.operation.name], angles, wires))
    num_inputs = len(inputs)
    compute = _compiled(list(pool)[num_inputs:], inputs, name)

    def function(features: Any, weights: Any) -> list[Any]:
        flat = jnp.ravel(weights)
        values = [features[i] for i in range(len(features))]
        values += [flat[i] for i in range(num_inputs - len(values))]
        values += compute(*values)
        for gate, angles, wires in instructions:
            gate(*(a if isinstance(a, float) else values[a] for a in angles), wires=wires)
        return [qml.expval(observable) for observable in observables]

    return function


class _DoublePrinter(JaxPrinter):
    """Writes constants with all their digits; SymPy leaves out the last two."""

    def _print_Float(self, expr: Any) -> str:
        return repr(float(expr))


def _compiled(
    expressions: Sequence[ParameterExpression], inputs: Sequence[Parameter], name: str
) -> Callable[..., list[Any]]:
    """A function of the inputs' values that evaluates the expressions in JAX."""
    symbolic = [to_sympy(expression, name) for expression in expressions]
    settings = {"fully_qualified_modules": False, "inline": True}
    symbols = [sympy.Symbol(parameter.name) for parameter in inputs]
    # Names of parameters are free. One that means something in the code written here is replaced;
    # others stay, since the order of terms, and with it the last bits, follows the names.
    clash = any(hasattr(jnp, p.name) or hasattr(builtins, p.name) for p in inputs)
    return sympy.lambdify(
        symbols, symbolic, modules="jax", printer=_DoublePrinter(settings), dummify=clash
    )


def _observable(observable: QiskitObservable, num_qubits: int, name: str) -> Any:
    """The PennyLane operator of an observable in Qiskit's order."""
    try:
        operator = SparsePauliOp(observable)
    except QiskitError as error:
        raise CircuitError(
            f"Circuit '{name}': observable {observable!r} is not made of I, X, Y and Z"
        ) from error
    if operator.num_qubits != num_qubits:
        raise CircuitError(
            f"Circuit '{name}': an observable has {operator.num_qubits} qubits, the circuit has "
            f"{num_qubits}; use apply_layout for a transpiled circuit"
        )
    words = operator.paulis.to_labels()
    if operator.coeffs.dtype == object or abs(operator.coeffs.imag).max() > _MAX_IMAGINARY:
        raise CircuitError(
            f"Circuit '{name}': an observable has coefficients {operator.coeffs.tolist()}; "
            "expected real numbers"
        )
    factors = [qml.pauli.string_to_pauli_word(word[::-1]) for word in words]
    return qml.Hamiltonian(operator.coeffs.real.tolist(), factors)
