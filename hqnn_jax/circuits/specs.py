"""The size of a circuit, in numbers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from hqnn_jax.circuits.angles import Inputs
from hqnn_jax.circuits.definition import Definition


@dataclass(frozen=True)
class CircuitSpecs:
    """The size of a circuit as captured: in the gate set that every circuit is reduced to.

    Attributes:
        num_qubits: number of qubits.
        num_features: number of features of one sample.
        num_weights: number of trainable weights.
        num_outputs: number of outputs for one sample.
        data_entries: gates whose angle depends on features.
        depth: longest chain of gates, each acting on a qubit of the one before.
        two_qubit_depth: the same, where only gates on two qubits count.
        gates: number of gates by name, most frequent first.
    """

    num_qubits: int
    num_features: int
    num_weights: int
    num_outputs: int
    data_entries: int
    depth: int
    two_qubit_depth: int
    gates: Mapping[str, int]

    @property
    def num_gates(self) -> int:
        """Number of all gates."""
        return sum(self.gates.values())


def specs_of(circuit: Definition) -> CircuitSpecs:
    """Return the size of a circuit."""
    return CircuitSpecs(
        num_qubits=circuit.num_qubits,
        num_features=circuit.num_features,
        num_weights=circuit.num_weights,
        num_outputs=circuit.num_outputs,
        data_entries=sum(Inputs.FEATURES in inputs for inputs in circuit.angles.inputs),
        depth=_depth(circuit, fewest_wires=1),
        two_qubit_depth=_depth(circuit, fewest_wires=2),
        gates=dict(Counter(gate.name for gate in circuit.gates).most_common()),
    )


def _depth(circuit: Definition, *, fewest_wires: int) -> int:
    """Return the longest chain of gates that act on at least so many wires."""
    reached = [0] * circuit.num_qubits
    for gate in circuit.gates:
        longest = max(reached[wire] for wire in gate.wires) + (len(gate.wires) >= fewest_wires)
        for wire in gate.wires:
            reached[wire] = longest
    return max(reached)
