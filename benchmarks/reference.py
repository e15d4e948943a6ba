"""What every contender must agree with: PennyLane's C++ simulator in double precision.

The batch of a benchmark repeats `PERIOD` different samples, so that the exact answer for thousands
of samples takes no more circuits than that. The period divides no batch or chunk size that is a
power of two: samples that change places are found out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from hqnn_jax.circuits import Circuit, Observable

PERIOD = 17
TOLERANCE = 1e-4


class RowInputs(NamedTuple):
    """Float32 inputs: weights, features [batch, ...] and cotangents [batch, outputs]."""

    weights: np.ndarray
    features: np.ndarray
    cotangents: np.ndarray


class Results(NamedTuple):
    """Outputs [batch, outputs], and the gradients of sum(cotangents * outputs)."""

    outputs: np.ndarray
    weights_gradient: np.ndarray
    features_gradient: np.ndarray


def make_inputs(circuit: Circuit, batch: int) -> RowInputs:
    """Inputs without a symmetry that could hide a swapped wire or layer; the same each time."""
    rng = np.random.default_rng(7)
    weights = rng.uniform(-4, 5, circuit.weights_shape)
    features = rng.uniform(-2, 3, (PERIOD, circuit.num_features))
    cotangents = rng.normal(size=(PERIOD, circuit.num_outputs))
    sample = np.arange(batch) % PERIOD
    arrays = (weights, features[sample], cotangents[sample])
    return RowInputs(*(array.astype(np.float32) for array in arrays))


def reference(circuit: Circuit, inputs: RowInputs) -> Results:
    """The exact results, from lightning.qubit in complex128 with adjoint differentiation."""
    batch = len(inputs.features)
    different = min(batch, PERIOD)
    repeats = np.bincount(np.arange(batch) % PERIOD, minlength=different)[:, None]
    with jax.enable_x64(True):
        features = inputs.features[:different].astype(np.float64)
        weights = inputs.weights.astype(np.float64)
        angles, pull_back = jax.vjp(jax.vmap(circuit.angles, (0, None)), features, weights)
        outputs, cotangents = _simulate(
            circuit, np.asarray(angles), repeats * inputs.cotangents[:different]
        )
        features_gradient, weights_gradient = map(np.asarray, pull_back(cotangents))
    sample = np.arange(batch) % PERIOD
    return Results(outputs[sample], weights_gradient, (features_gradient / repeats)[sample])


def disagreement(found: Results, expected: Results) -> str | None:
    """What differs from the reference by more than `TOLERANCE`, relative to its largest element."""
    for name, ours, theirs in zip(Results._fields, found, expected, strict=True):
        if np.shape(ours) != theirs.shape:
            return f"{name} has shape {np.shape(ours)}, expected {theirs.shape}"
        if not theirs.size:
            continue
        error = np.max(np.abs(ours - theirs)) / max(1.0, np.max(np.abs(theirs)))
        if not error <= TOLERANCE:
            return f"{name} is off by {error:.1e} (tolerance {TOLERANCE:.0e})"
    return None


def _simulate(
    circuit: Circuit, angles: np.ndarray, cotangents: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs [samples, outputs], and the cotangents pulled back to angles [samples, angles]."""
    import pennylane as qml

    device = qml.device("lightning.qubit", wires=circuit.num_qubits)
    observables = [pennylane_observable(observable) for observable in circuit.observables]
    outputs, pulled = [], []
    for row, weights in zip(angles, cotangents.astype(np.float64), strict=True):
        operations = [
            getattr(qml, gate.name)(
                *(() if gate.angle is None else (row[gate.angle],)), wires=list(gate.wires)
            )
            for gate in circuit.gates
        ]
        measured = qml.tape.QuantumScript(operations, [qml.expval(o) for o in observables])
        outputs.append(device.execute(measured))
        # One observable for the whole sum takes one sweep back through the circuit, and the
        # memory of one more state, instead of one for each output.
        total = qml.tape.QuantumScript(operations, [qml.expval(qml.dot(weights, observables))])
        total.trainable_params = list(range(angles.shape[1]))
        pulled.append(device.compute_derivatives(total))
    shape = (len(angles), -1)
    return np.array(outputs, np.float64).reshape(shape), np.array(pulled, np.float64).reshape(shape)


def pennylane_observable(observable: Observable) -> Any:
    """The observable as PennyLane's own, a plain Pauli word where it is one."""
    import pennylane as qml

    words = [qml.pauli.string_to_pauli_word(word) for _, word in observable.terms]
    if len(words) == 1 and observable.terms[0][0] == 1.0:
        return words[0]
    return qml.dot([coefficient for coefficient, _ in observable.terms], words)
