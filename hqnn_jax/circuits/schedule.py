"""Arrangement of a circuit's gates in layers that an engine can evaluate at once.

A layer is a product of one-qubit unitaries, then an entangler: a permutation of the basis states
with a phase on each, which is what any sequence of CNOT, SWAP, CZ and diagonal gates makes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hqnn_jax.circuits.gates import DIAGONAL_GATES, Gate

_FIXED_PHASES = {"PauliZ": np.pi, "S": np.pi / 2, "T": np.pi / 4, "CZ": np.pi}


@dataclass(frozen=True, eq=False)
class Entangler:
    """The map ψ'[j] = exp(i (phase[j] + Σ_k θ_k bits[k, j])) ψ[source[j]].

    Attributes:
        source: [2^n], the basis state that each basis state comes from.
        phase: [2^n], fixed phase in radians.
        angles: index of the angle θ_k of each diagonal rotation.
        bits: [len(angles), 2^n], 1 where the rotation's qubit is 1 and 0 elsewhere.
    """

    source: np.ndarray
    phase: np.ndarray
    angles: tuple[int, ...]
    bits: np.ndarray

    @property
    def is_diagonal(self) -> bool:
        """Whether every basis state stays where it is."""
        return np.array_equal(self.source, np.arange(self.source.size))


@dataclass(frozen=True, eq=False)
class Layer:
    """One-qubit gates by wire, in order of application, then an entangler (None for none)."""

    rotations: dict[int, tuple[Gate, ...]]
    entangler: Entangler | None


@dataclass
class _Draft:
    rotations: dict[int, tuple[Gate, ...]] = field(default_factory=dict)
    entangling: list[Gate] = field(default_factory=list)


def schedule(gates: Sequence[Gate], num_qubits: int) -> tuple[Layer, ...]:
    """Arrange gates in as few layers as their order on each wire allows.

    The product of the layers is the circuit up to a global phase.
    """
    drafts = [_Draft()]
    # First layer on each wire whose rotations, or whose entangler, may still take a gate.
    next_rotation = [0] * num_qubits
    next_entangler = [0] * num_qubits
    for run in _runs(gates):
        wires = run[0].wires
        entangling = all(gate.name in DIAGONAL_GATES for gate in run) or len(wires) > 1
        level = max((next_entangler if entangling else next_rotation)[wire] for wire in wires)
        while len(drafts) <= level:
            drafts.append(_Draft())
        if entangling:
            drafts[level].entangling += run
        else:
            drafts[level].rotations[wires[0]] = tuple(run)
        for wire in wires:
            next_entangler[wire] = level
            next_rotation[wire] = level + 1
    return tuple(
        Layer(
            dict(sorted(draft.rotations.items())),
            _entangler(draft.entangling, num_qubits) if draft.entangling else None,
        )
        for draft in drafts
    )


def _runs(gates: Sequence[Gate]) -> list[list[Gate]]:
    """Group adjacent one-qubit gates on a wire; a two-qubit gate stays alone."""
    runs: list[list[Gate]] = []
    open_runs: dict[int, list[Gate]] = {}
    for gate in gates:
        if len(gate.wires) == 1:
            open_runs.setdefault(gate.wires[0], []).append(gate)
        else:
            runs += [open_runs.pop(wire) for wire in gate.wires if wire in open_runs]
            runs.append([gate])
    return runs + list(open_runs.values())


def _entangler(gates: Sequence[Gate], num_qubits: int) -> Entangler:
    states = np.arange(2**num_qubits, dtype=np.int32)
    source, phase = states, np.zeros(states.size)
    angles: list[int] = []
    bits: list[np.ndarray] = []
    for gate in gates:
        first, last = (_bit(states, gate.wires[i], num_qubits) for i in (0, -1))
        if gate.name in _FIXED_PHASES:
            phase = phase + _FIXED_PHASES[gate.name] * first * last
        elif gate.name == "RZ":
            assert gate.angle is not None
            angles.append(gate.angle)
            bits.append(first.astype(float))
        else:
            moved = _moved(gate, states, first, last, num_qubits)
            source, phase, bits = source[moved], phase[moved], [row[moved] for row in bits]
    rows = np.array(bits) if bits else np.zeros((0, states.size))
    return Entangler(source, phase, tuple(angles), rows)


def _moved(
    gate: Gate, states: np.ndarray, first: np.ndarray, last: np.ndarray, num_qubits: int
) -> np.ndarray:
    """The basis states exchanged by a CNOT or SWAP, both of which are their own inverse."""
    flip_first, flip_last = (1 << (num_qubits - 1 - wire) for wire in gate.wires)
    if gate.name == "CNOT":
        return states ^ (first * flip_last)
    return states ^ ((first ^ last) * (flip_first | flip_last))


def _bit(states: np.ndarray, wire: int, num_qubits: int) -> np.ndarray:
    return (states >> (num_qubits - 1 - wire)) & 1
