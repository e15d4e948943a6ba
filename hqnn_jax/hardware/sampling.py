"""Outputs of a circuit from counted outcomes, one measurement basis after the other.

For circuits that return probabilities: 2^m outputs come from one basis, while an estimator would
evaluate 2^m Pauli words for each of them. Readout errors are undone with the inverse of each
qubit's confusion matrix (tensored mitigation, Bravyi et al., arXiv:2006.14044), measured by two
circuits of the same job that prepare |0…0⟩ and |1…1⟩.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from hqnn_jax.circuits import Circuit
from hqnn_jax.circuits.sampling.shots import word_groups
from hqnn_jax.errors import HardwareError
from hqnn_jax.hardware.mitigation import Mitigation

if TYPE_CHECKING:
    from qiskit import QuantumCircuit
    from qiskit.transpiler import Target

# Tables of outcomes have 2^n columns.
_MAX_QUBITS = 16


def num_bases(circuit: Circuit) -> int:
    """Number of measurement bases; Pauli words that agree qubit by qubit share one."""
    return max(1, len(word_groups(circuit.observables)[1]))


def sampler_pubs(
    circuit: QuantumCircuit,
    source: Circuit,
    measured: Sequence[int],
    blocks: Sequence[Float[np.ndarray, "block parameters"]],
    target: Target | None,
    mitigation: Mitigation,
) -> list[tuple[Any, ...]]:
    """PUBs for a sampler: each basis with each block of samples, then calibration circuits.

    Args:
        circuit: the compiled circuit.
        source: what it was compiled from.
        measured: the qubit of `circuit` that each wire is measured on.
        blocks: parameter values of the samples.
        target: gates that changes of basis are made of; any if None.
        mitigation: with `readout`, the calibration circuits are added.

    Raises:
        HardwareError: the circuit has too many qubits for tables of outcomes.
    """
    if source.num_qubits > _MAX_QUBITS:
        raise HardwareError(
            f"circuit '{source.name}' has {source.num_qubits} qubits; outcomes are counted for at "
            f"most {_MAX_QUBITS}, evaluate with primitive='estimator'"
        )
    _, groups = word_groups(source.observables)
    bases = [group.basis for group in groups] or ["I" * source.num_qubits]
    pubs: list[tuple[Any, ...]] = [
        (_measured(circuit, basis, measured, target), block) for basis in bases for block in blocks
    ]
    if mitigation.readout:
        pubs += [(_calibration(circuit, state, measured),) for state in (0, 1)]
    return pubs


def decode_samples(
    result: Any, source: Circuit, mitigation: Mitigation
) -> dict[str, Float[np.ndarray, "batch outputs"]]:
    """Values, standard errors and, with readout mitigation, raw values of `sampler_pubs`.

    Bases are measured independently: with the value v_g(x) of an outcome x of basis g the standard
    error is √(Σ_g Var v_g / shots). That of the calibration is not included.
    """
    constants, groups = word_groups(source.observables)
    counted = [outcome_counts(pub.data.meas, source.num_qubits) for pub in result]
    inverse = None
    if mitigation.readout:
        inverse = _inverse_confusions(counted[-2][0], counted[-1][0])
        counted = counted[:-2]
    num_bases = max(1, len(groups))
    size = len(counted) // num_bases
    tables = [
        np.concatenate(counted[basis * size : (basis + 1) * size]) for basis in range(num_bases)
    ]
    raw = np.tile(constants, (len(tables[0]), 1))
    values, variance = raw.copy(), np.zeros_like(raw)
    for group, counts in zip(groups, tables, strict=False):
        shots = counts.sum(axis=1, keepdims=True)
        frequencies = counts / shots
        weights = group.values if inverse is None else group.values @ inverse
        mean = frequencies @ weights.T
        raw += frequencies @ group.values.T
        values += mean
        variance += np.maximum(frequencies @ weights.T**2 - mean**2, 0) / shots
    decoded = {"values": values, "standard_errors": np.sqrt(variance)}
    return decoded if inverse is None else decoded | {"raw_values": raw}


def outcome_counts(bits: Any, num_qubits: int) -> Int[np.ndarray, "batch states"]:
    """How often each outcome was seen, wire 0 most significant, from a Qiskit `BitArray`."""
    packed = bits.array.reshape(-1, *bits.array.shape[-2:]).astype(np.int64)
    shifts = 8 * np.arange(packed.shape[-1])[::-1]
    outcomes = (packed << shifts).sum(axis=-1)
    return np.stack([np.bincount(row, minlength=2**num_qubits) for row in outcomes])


def _measured(
    circuit: QuantumCircuit, basis: str, measured: Sequence[int], target: Target | None
) -> QuantumCircuit:
    """The circuit with a basis turned to Z and every wire measured."""
    from qiskit.transpiler import PassManager
    from qiskit.transpiler.passes import Optimize1qGatesDecomposition

    turned = circuit.copy()
    for letter, qubit in zip(basis, measured, strict=True):
        if letter == "Y":
            turned.sdg(qubit)
        if letter in "XY":
            turned.h(qubit)
    if target is not None and set(basis) & {"X", "Y"}:
        turned = PassManager([Optimize1qGatesDecomposition(target=target)]).run(turned)
    return _with_measurements(turned, measured)


def _calibration(circuit: QuantumCircuit, state: int, measured: Sequence[int]) -> QuantumCircuit:
    """A circuit that prepares every wire in |0⟩ or |1⟩ and measures it."""
    prepared = circuit.copy_empty_like()
    if state:
        prepared.x(list(measured))
    return _with_measurements(prepared, measured)


def _with_measurements(circuit: QuantumCircuit, measured: Sequence[int]) -> QuantumCircuit:
    from qiskit.circuit import ClassicalRegister

    register = ClassicalRegister(len(measured), "meas")
    circuit.add_register(register)
    circuit.barrier(list(measured))
    # Qiskit's bit 0 is the least significant, wire 0 here the most.
    circuit.measure(list(measured), list(register)[::-1])
    return circuit


def _inverse_confusions(
    zeros: Int[np.ndarray, " states"], ones: Int[np.ndarray, " states"]
) -> Float[np.ndarray, "states states"]:
    """Product of the inverses of the qubits' confusion matrices, wire 0 first.

    Raises:
        HardwareError: a qubit reads nearly the same whatever its state.
    """
    num_qubits = len(zeros).bit_length() - 1
    inverses = []
    for wire in range(num_qubits):
        columns = [
            counts.reshape(2**wire, 2, -1).sum(axis=(0, 2)) / counts.sum()
            for counts in (zeros, ones)
        ]
        confusion = np.stack(columns, axis=1)
        if np.linalg.det(confusion) < 0.1:
            raise HardwareError(
                f"wire {wire} is read almost at random (confusion {confusion.round(3).tolist()}); "
                "choose another layout, or switch readout mitigation off"
            )
        inverses.append(np.linalg.inv(confusion))
    return reduce(np.kron, inverses)
