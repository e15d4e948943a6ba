"""Measurements of a quantum function as combinations of Pauli words, one per output."""

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pennylane as qml
from pennylane.measurements import ExpectationMP, MeasurementProcess, ProbabilityMP
from pennylane.operation import Operator
from pennylane.pauli import PauliSentence

from hqnn_jax.circuits.checks import as_integer
from hqnn_jax.circuits.gates import Observable
from hqnn_jax.errors import CircuitError

# The expansion of the probabilities of m wires has 4^m terms, and so has that of a matrix.
_MAX_PROBABILITY_WIRES = 8
_MAX_MATRIX_WIRES = 6
# Rounding of a matrix' expansion, relative to its largest coefficient.
_ROUNDING = 1e-12


def observables_of(
    measurements: Sequence[MeasurementProcess], circuit: str, num_qubits: int
) -> tuple[Observable, ...]:
    """Return one observable per output: one for `qml.expval`, 2^m for `qml.probs` of m wires.

    Args:
        measurements: what the quantum function returns.
        circuit: name of the circuit, for messages.
        num_qubits: number of qubits; wires are 0 to num_qubits - 1.

    Raises:
        CircuitError: a measurement is neither of the two, its observable is no real combination
            of Pauli words or depends on features or weights, or it has too many wires.
    """
    observables: list[Observable] = []
    for measurement in measurements:
        wires = known_wires(measurement, circuit, num_qubits)
        if isinstance(measurement, ExpectationMP):
            observables.append(_expectation(measurement.obs, circuit, num_qubits))
        elif isinstance(measurement, ProbabilityMP):
            observables += _probabilities(measurement, wires, circuit, num_qubits)
        else:
            raise CircuitError(
                f"Circuit '{circuit}': measurement {type(measurement).__name__} on wires "
                f"{list(wires)} is not supported; expected qml.expval(...) or qml.probs(...)"
            )
    return tuple(observables)


def known_wires(
    operation: Operator | MeasurementProcess, circuit: str, num_qubits: int
) -> tuple[int, ...]:
    """Return the wires of an operation or measurement.

    Raises:
        CircuitError: a wire depends on features or weights, or is not in [0, num_qubits).
    """
    name = getattr(operation, "name", type(operation).__name__)
    wires = []
    for label in operation.wires.tolist():
        if isinstance(label, jax.core.Tracer):
            raise CircuitError(
                f"Circuit '{circuit}': {name} acts on a wire that depends on features or weights, "
                "or that jax.numpy computes; the gates must be the same for all inputs, use wires "
                "known beforehand (Python or NumPy integers)"
            )
        wire = as_integer(label)
        if wire is None or not 0 <= wire < num_qubits:
            raise CircuitError(
                f"Circuit '{circuit}': {name} acts on wire {label!r}; expected wires 0 to "
                f"{num_qubits - 1} (num_qubits={num_qubits})"
            )
        wires.append(wire)
    return tuple(wires)


def _expectation(observable: Operator, circuit: str, num_qubits: int) -> Observable:
    where = (
        f"Circuit '{circuit}': observable {observable.name} on wires {observable.wires.tolist()}"
    )
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(observable)):
        raise CircuitError(
            f"{where} has a coefficient that depends on features or weights; scale the circuit's "
            "outputs instead"
        )
    sentence = _pauli_sentence(observable)
    if sentence is None:
        raise CircuitError(
            f"{where} is not a combination of Pauli words, nor a matrix on at most "
            f"{_MAX_MATRIX_WIRES} wires; write it with qml.X, qml.Y, qml.Z and qml.I"
        )
    largest = max(map(abs, sentence.values()), default=0.0)
    terms = []
    for word, coefficient in sentence.items():
        if abs(np.imag(coefficient)) > 1e-10 * largest:
            raise CircuitError(
                f"{where} is not Hermitian: the coefficient of {word} is {coefficient}; expected "
                "real coefficients"
            )
        letters = "".join(word.get(wire, "I") for wire in range(num_qubits))
        terms.append((float(np.real(coefficient)), letters))
    return Observable(tuple(terms))


def _pauli_sentence(observable: Operator) -> PauliSentence | None:
    """The expansion in Pauli words; None if there is none."""
    if observable.pauli_rep is not None:
        return observable.pauli_rep
    if isinstance(observable, qml.ops.SProd):
        base = _pauli_sentence(observable.base)
        return None if base is None else complex(observable.scalar) * base
    if isinstance(observable, qml.ops.Sum | qml.ops.Prod):
        parts = [_pauli_sentence(operand) for operand in observable.operands]
        known = [part for part in parts if part is not None]
        combine = operator.add if isinstance(observable, qml.ops.Sum) else operator.matmul
        return functools.reduce(combine, known) if len(known) == len(parts) else None
    if not observable.has_matrix or len(observable.wires) > _MAX_MATRIX_WIRES:
        return None
    sentence = qml.pauli_decompose(
        observable.matrix(), wire_order=observable.wires, pauli=True, check_hermitian=False
    )
    sentence.simplify(tol=_ROUNDING * max(map(abs, sentence.values()), default=0.0))
    return sentence


def _probabilities(
    measurement: ProbabilityMP, wires: tuple[int, ...], circuit: str, num_qubits: int
) -> list[Observable]:
    letters = dict.fromkeys(wires or range(num_qubits), "Z")
    if len(letters) > _MAX_PROBABILITY_WIRES:
        raise CircuitError(
            f"Circuit '{circuit}': qml.probs on {len(letters)} wires; at most "
            f"{_MAX_PROBABILITY_WIRES} are supported, measure fewer wires"
        )
    if measurement.obs is not None:
        sentence = measurement.obs.pauli_rep
        if sentence is None or len(sentence) != 1:
            raise CircuitError(
                f"Circuit '{circuit}': qml.probs of observable {measurement.obs.name} on wires "
                f"{list(wires)}; expected a Pauli word"
            )
        # The outcomes are those of the eigenvectors of each factor, eigenvalue 1 first.
        letters.update(next(iter(sentence)))
    return _projectors(letters, num_qubits)


def _projectors(letters: dict[Any, str], num_qubits: int) -> list[Observable]:
    """The projector on each outcome b of m wires: 2^-m Σ_S (-1)^(b·S) P_S.

    P_S has the wires' letters on the wires of S, and I elsewhere.
    """
    masks = list(itertools.product((0, 1), repeat=len(letters)))
    words = []
    for mask in masks:
        acted = {wire: letters[wire] for wire, bit in zip(letters, mask, strict=True) if bit}
        words.append("".join(acted.get(wire, "I") for wire in range(num_qubits)))
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
