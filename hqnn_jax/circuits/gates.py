"""The small gate set that every captured circuit is reduced to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
from jaxtyping import Integer

Wires = Sequence[SupportsIndex] | Integer[np.ndarray, " wires"]
"""Labels of wires as users give them: integral numbers of any library."""

_IDENTITY = np.eye(2)
_ZERO = np.zeros((2, 2))
_X = np.array([[0, 1], [1, 0]])
_Y = np.array([[0, -1j], [1j, 0]])
_Z = np.diag([1, -1])

# U(θ) = constant + cos(θ/2) · cosine + sin(θ/2) · sine, so that all gates of a circuit are built
# by one vectorised expression whatever their names.
GATE_COEFFICIENTS: dict[str, np.ndarray] = {
    "RX": np.array([_ZERO, _IDENTITY, -1j * _X]),
    "RY": np.array([_ZERO, _IDENTITY, np.real(-1j * _Y)]),
    "RZ": np.array([_ZERO, _IDENTITY, -1j * _Z]),
    "Hadamard": np.array([(_X + _Z) / np.sqrt(2), _ZERO, _ZERO]),
    "PauliX": np.array([_X, _ZERO, _ZERO]),
    "PauliY": np.array([_Y, _ZERO, _ZERO]),
    "PauliZ": np.array([_Z, _ZERO, _ZERO]),
    "S": np.array([np.diag([1, 1j]), _ZERO, _ZERO]),
    "T": np.array([np.diag([1, np.exp(0.25j * np.pi)]), _ZERO, _ZERO]),
}
"""One-qubit gates: coefficients of 1, cos(θ/2) and sin(θ/2), shape [3, 2, 2]."""

TWO_QUBIT_GATES = frozenset({"CNOT", "CZ", "SWAP"})
DIAGONAL_GATES = frozenset({"RZ", "PauliZ", "S", "T", "CZ"})
REAL_GATES = frozenset({"RY", "Hadamard", "PauliX", "PauliZ", "CNOT", "CZ", "SWAP"})
GATE_SET = frozenset(GATE_COEFFICIENTS) | TWO_QUBIT_GATES


@dataclass(frozen=True)
class Gate:
    """One gate: PennyLane's name, the wires it acts on, and where its angle is found.

    `angle` is the index into the circuit's flat vector of angles (radians), None for a fixed gate.
    """

    name: str
    wires: tuple[int, ...]
    angle: int | None = None


@dataclass(frozen=True)
class Observable:
    """A real combination of Pauli words.

    Each term is a coefficient and a word with one letter of I, X, Y, Z per wire, wire 0 first:
    `((0.5, "ZIX"),)` is ½ Z₀X₂ on three qubits.
    """

    terms: tuple[tuple[float, str], ...]

    @property
    def is_diagonal(self) -> bool:
        """Whether the observable is diagonal in the computational basis."""
        return all(set(word) <= {"I", "Z"} for _, word in self.terms)
