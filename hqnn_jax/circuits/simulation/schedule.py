"""Arrangement of a circuit's gates in layers that an engine can evaluate at once.

A layer is a product of one-qubit unitaries, then an entangler: a permutation of the basis states
with a phase on each, which is what any sequence of CNOT, SWAP, CZ and diagonal gates makes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hqnn_jax.circuits.gates import DIAGONAL_GATES, Gate
from hqnn_jax.circuits.simulation.bits import BitMap, bit

_FIXED_PHASES = {"PauliZ": np.pi, "S": np.pi / 2, "T": np.pi / 4}


@dataclass(frozen=True)
class PhaseTerm:
    """The phase θ on each basis state whose parity with `mask` is odd.

    θ is `coefficient` in radians, or the circuit's angle of index `angle` times `coefficient`.
    """

    mask: int
    coefficient: float
    angle: int | None = None


@dataclass(frozen=True)
class Entangler:
    """The map ψ'[j] = exp(i Σ_k θ_k parity(mask_k & j)) ψ[source(j)].

    Phases that depend on an angle come before those that do not.
    """

    source: BitMap
    phases: tuple[PhaseTerm, ...]


@dataclass(frozen=True, eq=False)
class Layer:
    """One-qubit gates by wire, in order of application, then an entangler (None for none)."""

    rotations: dict[int, tuple[Gate, ...]]
    entangler: Entangler | None


@dataclass
class _LayerDraft:
    rotations: dict[int, tuple[Gate, ...]] = field(default_factory=dict)
    entangling: list[Gate] = field(default_factory=list)


def schedule(gates: Sequence[Gate], num_qubits: int) -> tuple[Layer, ...]:
    """Arrange gates in as few layers as their order on each wire allows.

    The product of the layers is the circuit up to a global phase.
    """
    drafts = [_LayerDraft()]
    # First layer on each wire whose rotations, or whose entangler, may still take a gate.
    next_rotation = [0] * num_qubits
    next_entangler = [0] * num_qubits
    for run in _runs(gates):
        wires = run[0].wires
        entangling = all(gate.name in DIAGONAL_GATES for gate in run) or len(wires) > 1
        level = max((next_entangler if entangling else next_rotation)[wire] for wire in wires)
        while len(drafts) <= level:
            drafts.append(_LayerDraft())
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
    source = BitMap.identity(num_qubits)
    phases: dict[tuple[int, int | None], float] = {}

    def add(mask: int, coefficient: float, angle: int | None = None) -> None:
        phases[mask, angle] = phases.get((mask, angle), 0.0) + coefficient

    for gate in gates:
        first, last = (bit(gate.wires[i], num_qubits) for i in (0, -1))
        if gate.name in _FIXED_PHASES:
            add(first, _FIXED_PHASES[gate.name])
        elif gate.name == "RZ":
            add(first, 1.0, gate.angle)
        elif gate.name == "CZ":
            # π b₁ b₂ = π/2 (b₁ + b₂ - (b₁ ⊕ b₂)), which is linear in parities.
            add(first, np.pi / 2)
            add(last, np.pi / 2)
            add(first ^ last, -np.pi / 2)
        else:
            moved = _moved(gate, num_qubits)
            source = source.after(moved)
            earlier, phases = phases, {}
            for (mask, angle), coefficient in earlier.items():
                add(moved.pull_back(mask), coefficient, angle)
    terms = [PhaseTerm(mask, c, angle) for (mask, angle), c in phases.items() if c]
    return Entangler(source, tuple(sorted(terms, key=lambda term: term.angle is None)))


def _moved(gate: Gate, num_qubits: int) -> BitMap:
    """The basis states exchanged by a CNOT or SWAP, both of which are their own inverse."""
    columns = list(BitMap.identity(num_qubits).columns)
    first, last = gate.wires
    if gate.name == "CNOT":
        columns[first] ^= columns[last]
    else:
        columns[first], columns[last] = columns[last], columns[first]
    return BitMap(tuple(columns))
