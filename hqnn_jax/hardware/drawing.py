"""Drawing of a compiled circuit: gates by name, without the angles that fill other drawings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_COLOURS = {"rz": "0.93", "sx": "#cfe3f5", "x": "#cfe3f5"}


def draw_native(circuit: QuantumCircuit, qubits: Sequence[int], measured: Sequence[int]) -> Figure:
    """Draw a circuit of one- and two-qubit gates as a matplotlib figure.

    Args:
        circuit: the circuit on the qubits in use.
        qubits: the device's number of each of its qubits.
        measured: the qubit of `circuit` that each wire is measured on.
    """
    columns = [0] * circuit.num_qubits
    placed = []
    for gate in circuit.data:
        rows = [circuit.find_bit(qubit).index for qubit in gate.qubits]
        # Lines of a two-qubit gate cross the qubits between its own.
        crossed = range(min(rows), max(rows) + 1)
        column = max(columns[row] for row in crossed)
        for row in crossed:
            columns[row] = column + 1
        placed.append((gate.operation.name, rows, column))
    width = max(columns, default=0)
    figure = Figure(figsize=(max(4.0, 0.32 * width + 1.5), 0.45 * circuit.num_qubits + 0.4))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-3, width + 0.5), ylim=(circuit.num_qubits - 0.4, -0.6))
    axes.set_axis_off()
    wires = {qubit: wire for wire, qubit in enumerate(measured)}
    for row, qubit in enumerate(qubits):
        label = f"q{qubit} → {wires[row]}" if row in wires else f"q{qubit}"
        axes.text(-0.8, row, label, ha="right", va="center", fontsize=8)
        axes.plot((-0.6, width), (row, row), color="0.6", linewidth=0.7, zorder=0)
    for name, rows, column in placed:
        if len(rows) == 2:
            axes.plot((column, column), rows, color="C3", linewidth=1.2, zorder=1)
        for position, row in enumerate(rows):
            text = name if position == 0 else "•"
            box = {"boxstyle": "round,pad=0.15", "facecolor": _COLOURS.get(name, "#f6d3cd")}
            axes.text(
                column, row, text, ha="center", va="center", fontsize=6, bbox=box | {"linewidth": 0}
            )
    return figure
