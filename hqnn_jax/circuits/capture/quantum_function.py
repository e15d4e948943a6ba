"""Capture of a PennyLane quantum function as a static gate list and a pure angle function.

The function is run once inside `jax.make_jaxpr`, where PennyLane only queues operations: its
gates' parameters are tracers, so that the trace is the arithmetic from inputs to angles. No part
of PennyLane's JAX interface takes part.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import pennylane as qml
from jax.extend.core import ClosedJaxpr
from jax.typing import DTypeLike
from pennylane.measurements import MeasurementProcess

from hqnn_jax.circuits.angles import AngleFunction, angle_function
from hqnn_jax.circuits.capture.decomposition import ALIASES, reduce_operation
from hqnn_jax.circuits.capture.index_bounds import check_indices
from hqnn_jax.circuits.capture.measurement import known_wires, observables_of
from hqnn_jax.circuits.capture.pennylane_norms import defined_norms
from hqnn_jax.circuits.gates import Gate, Observable
from hqnn_jax.errors import CircuitError

QuantumFunction = Callable[[Any, Any], Any]
"""A PennyLane quantum function of (features[num_features], weights[weights_shape])."""


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
    check_indices(
        first,
        ("features", "weights"),
        f"Circuit '{name}': the quantum function",
        f"num_features={num_features}, weights_shape={weights_shape}",
    )
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
    return Captured(gates, observables_of(tape.measurements, name, num_qubits), angles)


def queue(
    function: QuantumFunction, features: Any, weights: Any, name: str
) -> qml.tape.QuantumScript:
    """Run a quantum function and return its operations and measurements, as it wrote them.

    Args:
        function: the quantum function.
        features: its first argument, shape [num_features].
        weights: its second argument.
        name: name of the circuit, for messages.

    Raises:
        CircuitError: the function raises an error, or does not return the measurements that it
            made, in their order.
    """
    try:
        with defined_norms(), qml.queuing.AnnotatedQueue() as queued:
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
    with defined_norms():
        operations = [
            gate for operation in tape.operations for gate in reduce_operation(operation, name)
        ]
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
        wires = known_wires(operation, name, num_qubits)
        for parameter in operation.parameters:
            if jnp.shape(parameter) != ():
                raise CircuitError(
                    f"Circuit '{name}': {operation.name} on wires {list(wires)} has an angle of "
                    f"shape {jnp.shape(parameter)}, expected one number; features are those of "
                    "one sample, with shape [num_features]"
                )
        angle = num_angles if operation.parameters else None
        num_angles += len(operation.parameters)
        gates.append(Gate(ALIASES.get(operation.name, operation.name), wires, angle))
    return tuple(gates)
