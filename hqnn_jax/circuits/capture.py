"""Capture of a PennyLane quantum function as a static gate list and a pure angle function.

The function is run once inside `jax.make_jaxpr`, where PennyLane only queues operations: its
gates' parameters are tracers, so that the trace is the arithmetic from inputs to angles. No part
of PennyLane's JAX interface takes part.
"""

import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import pennylane as qml
from jax.extend.core import ClosedJaxpr
from jax.typing import DTypeLike
from pennylane.measurements import ExpectationMP, MeasurementProcess, ProbabilityMP

from hqnn_jax.circuits.angles import AngleFunction, angle_function
from hqnn_jax.circuits.gates import GATE_SET, Gate, Observable
from hqnn_jax.errors import CircuitError

QuantumFunction = Callable[[Any, Any], Any]
"""A PennyLane quantum function of (features[num_features], weights[weights_shape])."""

# PhaseShift is RZ up to a global phase, which no expectation value shows; controlled phase shifts
# have been decomposed by then.
_ALIASES = {"PhaseShift": "RZ"}
_IGNORED = frozenset({"GlobalPhase", "Identity", "Barrier", "Snapshot"})
# The expansion of probabilities in Pauli words has 4^wires terms.
_MAX_PROBABILITY_WIRES = 8


@dataclass(frozen=True, eq=False)
class Captured:
    """What capture finds: static gates and observables, and the function giving the angles."""

    gates: tuple[Gate, ...]
    observables: tuple[Observable, ...]
    angles: AngleFunction


def capture(
    function: QuantumFunction,
    *,
    name: str,
    num_qubits: int,
    num_features: int,
    weights_shape: tuple[int, ...],
) -> Captured:
    """Capture `function`; see `Circuit.from_function` for the arguments and the errors."""
    tapes: list[qml.tape.QuantumScript] = []

    def traced_angles(features: Any, weights: Any) -> list[Any]:
        tape = _reduced_tape(function, features, weights, name)
        tapes.append(tape)
        return [angle for angle in _parameters(tape) if _is_traced(angle)]

    def trace(dtype: DTypeLike) -> ClosedJaxpr:
        features = jax.ShapeDtypeStruct((num_features,), dtype)
        weights = jax.ShapeDtypeStruct(weights_shape, dtype)
        return jax.make_jaxpr(traced_angles)(features, weights)

    first = trace(jnp.float32)
    tape = tapes[0]
    parameters = list(_parameters(tape))
    gates = _gates(tape, name, num_qubits)
    angles = angle_function(
        lambda dtype: first if dtype == jnp.float32 else trace(dtype),
        {i: float(value) for i, value in enumerate(parameters) if not _is_traced(value)},
        num_angles=len(parameters),
        num_features=num_features,
        weights_shape=weights_shape,
    )
    return Captured(gates, _observables(tape.measurements, name, num_qubits), angles)


def queue(
    function: QuantumFunction, features: Any, weights: Any, name: str
) -> qml.tape.QuantumScript:
    """Run the quantum function and return its operations and measurements, as it wrote them."""
    try:
        with qml.queuing.AnnotatedQueue() as queued:
            returned = function(features, weights)
    except Exception as error:
        raise _capture_error(name, error) from error
    tape = qml.tape.QuantumScript.from_queue(queued)
    measurements = list(returned) if isinstance(returned, list | tuple) else [returned]
    if not measurements or not all(isinstance(m, MeasurementProcess) for m in measurements):
        raise CircuitError(
            f"Circuit '{name}': the quantum function returns {type(returned).__name__}; expected "
            "qml.expval(...), qml.probs(...) or a list of them"
        )
    if [id(m) for m in measurements] != [id(m) for m in tape.measurements]:
        raise CircuitError(
            f"Circuit '{name}': the measurements returned are not those made, in the same order; "
            "return every measurement once, in the order it is written"
        )
    return tape


def _capture_error(name: str, error: Exception) -> CircuitError:
    if isinstance(error, CircuitError):
        return error
    kind = type(error).__name__
    if isinstance(error, jax.errors.JAXTypeError):
        return CircuitError(
            f"Circuit '{name}': the quantum function uses the value of a feature or weight in "
            f"Python ({kind}), but its gates must be the same for all inputs; use jnp functions "
            "on angles, and no 'if', float() or numpy function"
        )
    reason = str(error).split("\n", maxsplit=1)[0]
    return CircuitError(
        f"Circuit '{name}': the quantum function raised {kind} while it was captured: {reason}"
    )


def _reduced_tape(
    function: QuantumFunction, features: Any, weights: Any, name: str
) -> qml.tape.QuantumScript:
    """The tape of the quantum function, decomposed to the gate set."""
    tape = queue(function, features, weights, name)
    for operation in tape.operations:
        if isinstance(operation, qml.ops.MidMeasure | qml.ops.Conditional):
            raise CircuitError(
                f"Circuit '{name}': {operation.name} on wires {operation.wires.tolist()} is a "
                "mid-circuit measurement, which has no pure angle function; measure at the end"
            )
    gate_set = GATE_SET | set(_ALIASES) | _IGNORED
    try:
        with warnings.catch_warnings():
            # What has no decomposition is an error of ours, with the operation's name.
            warnings.simplefilter("ignore")
            (reduced,), _ = qml.transforms.decompose(tape, gate_set=gate_set)
    except Exception as error:
        raise _capture_error(name, error) from error
    for operation in reduced.operations:
        if operation.name not in gate_set:
            raise CircuitError(
                f"Circuit '{name}': {operation.name} on wires {operation.wires.tolist()} has no "
                f"decomposition into {', '.join(sorted(GATE_SET))}; write it with such gates"
            )
    operations = [op for op in reduced.operations if op.name not in _IGNORED]
    return qml.tape.QuantumScript(operations, tape.measurements)


def _parameters(tape: qml.tape.QuantumScript) -> Iterator[Any]:
    """The flat list of angles, in gate order."""
    return itertools.chain.from_iterable(operation.parameters for operation in tape.operations)


def _is_traced(value: Any) -> bool:
    return isinstance(value, jax.core.Tracer)


def _gates(tape: qml.tape.QuantumScript, name: str, num_qubits: int) -> tuple[Gate, ...]:
    gates = []
    num_angles = 0
    for operation in tape.operations:
        wires = _wires(operation, name, num_qubits)
        for parameter in operation.parameters:
            if jnp.shape(parameter) != ():
                raise CircuitError(
                    f"Circuit '{name}': {operation.name} on wires {list(wires)} has an angle of "
                    f"shape {jnp.shape(parameter)}, expected one number; features are those of "
                    "one sample, with shape [num_features]"
                )
        angle = num_angles if operation.parameters else None
        num_angles += len(operation.parameters)
        gates.append(Gate(_ALIASES.get(operation.name, operation.name), wires, angle))
    return tuple(gates)


def _wires(operation: Any, name: str, num_qubits: int) -> tuple[int, ...]:
    labels = operation.wires.tolist()
    for label in labels:
        if not isinstance(label, int) or not 0 <= label < num_qubits:
            raise CircuitError(
                f"Circuit '{name}': {operation.name} acts on wire {label!r}; expected wires 0 to "
                f"{num_qubits - 1} (num_qubits={num_qubits})"
            )
    return tuple(labels)


def _observables(
    measurements: Sequence[MeasurementProcess], name: str, num_qubits: int
) -> tuple[Observable, ...]:
    observables: list[Observable] = []
    for measurement in measurements:
        wires = _wires(measurement, name, num_qubits)
        if isinstance(measurement, ExpectationMP):
            observables.append(_pauli_sum(measurement.obs, name, num_qubits))
        elif isinstance(measurement, ProbabilityMP) and measurement.obs is None:
            measured = wires or tuple(range(num_qubits))
            if len(measured) > _MAX_PROBABILITY_WIRES:
                raise CircuitError(
                    f"Circuit '{name}': qml.probs on {len(measured)} wires; at most "
                    f"{_MAX_PROBABILITY_WIRES} are supported, measure fewer wires"
                )
            observables += _projectors(measured, num_qubits)
        else:
            raise CircuitError(
                f"Circuit '{name}': measurement {type(measurement).__name__} on wires "
                f"{list(wires)} is not supported; expected qml.expval of Pauli words or "
                "qml.probs(wires=...)"
            )
    return tuple(observables)


def _pauli_sum(observable: Any, name: str, num_qubits: int) -> Observable:
    sentence = observable.pauli_rep
    if sentence is None:
        raise CircuitError(
            f"Circuit '{name}': observable {observable.name} on wires "
            f"{observable.wires.tolist()} is not a combination of Pauli words; write it with "
            "qml.X, qml.Y, qml.Z and qml.I"
        )
    terms = []
    for word, coefficient in sentence.items():
        if _is_traced(coefficient):
            raise CircuitError(
                f"Circuit '{name}': observable {observable.name} on wires "
                f"{observable.wires.tolist()} has a coefficient that depends on features or "
                "weights; scale the circuit's outputs instead"
            )
        letters = "".join(word.get(wire, "I") for wire in range(num_qubits))
        terms.append((float(jnp.real(coefficient)), letters))
    return Observable(tuple(terms))


def _projectors(wires: tuple[int, ...], num_qubits: int) -> list[Observable]:
    """The projector on each outcome of `wires`: 2^-m Σ_S (-1)^(b·S) Z_S for the outcome b."""
    masks = list(itertools.product((0, 1), repeat=len(wires)))
    words = []
    for mask in masks:
        acted = {wire for wire, bit in zip(wires, mask, strict=True) if bit}
        words.append("".join("Z" if wire in acted else "I" for wire in range(num_qubits)))
    scale = 1 / len(masks)
    return [
        Observable(
            tuple(
                (scale * (-1) ** sum(a * b for a, b in zip(outcome, mask, strict=True)), word)
                for mask, word in zip(masks, words, strict=True)
            )
        )
        for outcome in masks
    ]
