"""Drawing of a compiled circuit: gates by name, without the angles that fill other drawings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_COLOURS = {"rz": "0.93", "sx": "#cfe3f5", "x": "#cfe3f5"}
_COLUMNS_PER_LINE = 30


class _Placed(NamedTuple):
    """A gate, the rows of its qubits, and its column."""

    name: str
    rows: list[int]
    column: int


def draw_native(circuit: QuantumCircuit, qubits: Sequence[int], measured: Sequence[int]) -> Figure:
    """Draw a circuit of one- and two-qubit gates, long ones on several lines.

    Args:
        circuit: the circuit on the qubits in use.
        qubits: the device's number of each of its qubits.
        measured: the qubit of `circuit` that each wire is measured on.
    """
    placed = _in_columns(circuit)
    width = 1 + max((gate.column for gate in placed), default=0)
    lines = -(-width // _COLUMNS_PER_LINE)
    columns = min(width, _COLUMNS_PER_LINE)
    height = 0.42 * circuit.num_qubits + 0.5
    figure = Figure(figsize=(max(4.0, 0.34 * columns + 1.4), height * lines))
    wires = {qubit: wire for wire, qubit in enumerate(measured)}
    labels = [
        f"q{qubit} → {wires[row]}" if row in wires else f"q{qubit}"
        for row, qubit in enumerate(qubits)
    ]
    for line in range(lines):
        axes = figure.add_axes((0.0, 1 - (line + 1) / lines, 1.0, 1 / lines))
        first = line * _COLUMNS_PER_LINE
        axes.set(xlim=(first - 3, first + columns + 0.5), ylim=(circuit.num_qubits - 0.4, -0.6))
        axes.set_axis_off()
        end = min(width, first + columns)
        _draw_wires(axes, labels, first, end)
        for gate in placed:
            if first <= gate.column < end:
                _draw_gate(axes, gate)
    return figure


def _in_columns(circuit: QuantumCircuit) -> list[_Placed]:
    """Every gate as far to the left as it can be."""
    columns = [0] * circuit.num_qubits
    placed = []
    for gate in circuit.data:
        rows = [circuit.find_bit(qubit).index for qubit in gate.qubits]
        # Lines of a two-qubit gate cross the qubits between its own.
        crossed = range(min(rows), max(rows) + 1)
        column = max(columns[row] for row in crossed)
        for row in crossed:
            columns[row] = column + 1
        placed.append(_Placed(gate.operation.name, rows, column))
    return placed


def _draw_wires(axes: Axes, labels: Sequence[str], first: int, end: int) -> None:
    for row, label in enumerate(labels):
        axes.text(first - 0.8, row, label, ha="right", va="center", fontsize=8)
        axes.plot((first - 0.6, end - 0.4), (row, row), color="0.6", linewidth=0.7, zorder=0)


def _draw_gate(axes: Axes, gate: _Placed) -> None:
    if len(gate.rows) == 2:
        where = (gate.column, gate.column)
        axes.plot(where, gate.rows, color="C3", linewidth=1.2, zorder=1)
    box = {
        "boxstyle": "round,pad=0.15",
        "facecolor": _COLOURS.get(gate.name, "#f6d3cd"),
        "linewidth": 0,
    }
    for position, row in enumerate(gate.rows):
        text = gate.name if position == 0 else "•"
        axes.text(gate.column, row, text, ha="center", va="center", fontsize=7, bbox=box)
