"""Reduction of PennyLane operations to the gate set."""

import warnings
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from pennylane.operation import Operator

from hqnn_jax.circuits.capture.state_preparation import prepare_state
from hqnn_jax.circuits.gates import GATE_SET
from hqnn_jax.errors import CircuitError

# PhaseShift is RZ up to a global phase, which no expectation value shows; controlled phase shifts
# have been decomposed by then.
ALIASES = {"PhaseShift": "RZ"}
_IGNORED = frozenset({"GlobalPhase", "Identity", "Barrier", "Snapshot"})
# The synthesis of a matrix on more wires has thousands of gates.
_MAX_MATRIX_WIRES = 6


def reduce_operation(operation: Operator, circuit: str) -> Iterator[Operator]:
    """Yield the gates of the gate set, or aliases of them, that an operation consists of.

    Their product is the operation up to a global phase.

    Args:
        operation: the operation; its parameters may be traced.
        circuit: name of the circuit, for messages.

    Raises:
        CircuitError: the operation, or one of its parts, has no decomposition or is not unitary,
            or the decomposition depends on values of features or weights.
    """
    if operation.name in GATE_SET or operation.name in ALIASES:
        yield operation
    elif operation.name not in _IGNORED:
        for part in parts_of(operation, f"Circuit '{circuit}'"):
            yield from reduce_operation(part, circuit)


def parts_of(operation: Operator, circuit: str) -> list[Operator]:
    """Return what an operation is decomposed into, one step.

    Args:
        operation: the operation; its parameters may be traced.
        circuit: what messages begin with.

    Raises:
        CircuitError: as `reduce_operation`.
    """
    where = f"{circuit}: {operation.name} on wires {operation.wires.tolist()}"
    if isinstance(operation, qml.ops.MidMeasure | qml.ops.Conditional):
        raise CircuitError(
            f"{where} is a mid-circuit measurement, which has no pure angle function; measure at "
            "the end"
        )
    try:
        with warnings.catch_warnings():
            # PennyLane warns of costs; what has no decomposition at all is an error below.
            warnings.simplefilter("ignore")
            parts = _traced_parts(operation) if _is_traced(operation) else None
            if parts is None and operation.has_decomposition:
                parts = operation.decomposition()
            if parts is None and _has_known_unitary(operation):
                parts = [qml.QubitUnitary(operation.matrix(), operation.wires)]
    except jax.errors.JAXTypeError as error:
        raise CircuitError(
            f"{where} is decomposed into gates that depend on the value of a feature or weight "
            f"({type(error).__name__}); give it constants, or write it with gates that have angles"
        ) from error
    except Exception as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise CircuitError(
            f"{where} raised {type(error).__name__} while it was decomposed: {reason}"
        ) from error
    if parts is None:
        raise CircuitError(
            f"{where} has no decomposition into {', '.join(sorted(GATE_SET))}; write it with such "
            "gates"
        )
    return parts


def _is_traced(operation: Operator) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(operation.data))


def _traced_parts(operation: Operator) -> list[Operator] | None:
    """Decompositions that PennyLane has for known parameters only; None for its own."""
    if isinstance(operation, qml.StatePrep | qml.MottonenStatePreparation):
        return prepare_state(operation.data[0], operation.wires.tolist())
    base = operation.base if isinstance(operation, qml.ops.Controlled) else operation
    if isinstance(base, qml.QubitUnitary | qml.SpecialUnitary):
        # PennyLane's angles have no derivative at matrices as common as the identity.
        raise ValueError(
            "a matrix that depends on features or weights has no angles with a derivative "
            "everywhere; use qml.Rot or qml.ArbitraryUnitary"
        )
    if base is not operation and base.name in ("RX", "RY", "RZ"):
        return _controlled_rotation(operation)
    if isinstance(operation, qml.ops.Exp) and not jnp.iscomplexobj(operation.coeff):
        raise ValueError("the exponential of a Hermitian operator needs an imaginary coefficient")
    return None


def _controlled_rotation(operation: qml.ops.Controlled) -> list[Operator]:
    """R(θ) = R(θ/2) · X R(-θ/2) X for RY and RZ, where the controls switch both X on or off."""
    angle, wire = operation.data[0], operation.target_wires[0]
    is_rx = operation.base.name == "RX"
    rotation = qml.RZ if is_rx else type(operation.base)
    flip = qml.MultiControlledX(
        [*operation.control_wires, wire], control_values=operation.control_values
    )
    basis = [qml.Hadamard(wire)] if is_rx else []
    return [*basis, flip, rotation(-angle / 2, wire), flip, rotation(angle / 2, wire), *basis]


def _has_known_unitary(operation: Operator) -> bool:
    too_large = len(operation.wires) > _MAX_MATRIX_WIRES
    if too_large or not operation.has_matrix or _is_traced(operation):
        return False
    matrix = operation.matrix()
    return np.allclose(matrix @ np.conj(matrix.T), np.eye(len(matrix)))
