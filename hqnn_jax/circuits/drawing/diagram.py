"""A circuit as written, with templates expanded, and with what each of its angles is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch
from pennylane.operation import Operation, Operator

from hqnn_jax.circuits.angles import Inputs, dependence
from hqnn_jax.circuits.capture.decomposition import parts_of
from hqnn_jax.circuits.capture.pennylane_norms import defined_norms
from hqnn_jax.circuits.capture.quantum_function import queue
from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.drawing.formulas import ELEMENTWISE, Formula, formula
from hqnn_jax.circuits.symbolic import evaluate, symbols

_BOTH = Inputs.FEATURES | Inputs.WEIGHTS
_DRAWN: dict[Inputs, tuple[str, str, str]] = {
    # Colours of Okabe and Ito (2008), and a pale tint of each.
    Inputs.FEATURES: ("data x", "#0072B2", "#D6E9F5"),
    Inputs.WEIGHTS: ("weights w", "#B35900", "#FBEBD2"),
    _BOTH: ("data and weights", "#00795A", "#D3EEE5"),
}
"""What an angle depends on -> how the key calls it, its colour, and that of its box."""
_UNNAMED = {Inputs(0): "…", Inputs.FEATURES: "f(x)", Inputs.WEIGHTS: "f(w)", _BOTH: "f(x, w)"}
"""What stands for a formula that is too long, or is none."""
_LINE_LENGTH = 120


def draw_text(circuit: Definition) -> str:
    """Return the circuit as lines of text, the features as `x` and the weights as `w`."""
    tape = _Written.of(circuit).tape
    wires = range(circuit.num_qubits)
    drawn = qml.drawer.tape_text(
        tape, wire_order=wires, show_all_wires=True, max_length=_LINE_LENGTH
    )
    return f"{drawn}\n\nx: data, w: weights"


def draw_figure(circuit: Definition) -> Figure:
    """Return the same as a figure, in which colours tell data and weights apart."""
    import matplotlib.pyplot as plt

    written = _Written.of(circuit)
    figure, axes = qml.drawer.tape_mpl(written.tape, wire_order=range(circuit.num_qubits))
    _colour(figure, axes, written.uses)
    # The caller owns the figure; pyplot must not keep it alive or show it.
    plt.close(figure)
    return figure


def _colour(figure: Figure, axes: Axes, uses: dict[str, Inputs]) -> None:
    """Colour the gates by what their labels say they depend on, and add a key."""
    boxes = {_centre(patch): patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)}
    found = set()
    for text in axes.texts:
        drawn = _DRAWN.get(uses.get(text.get_text(), Inputs(0)))
        box = boxes.get(tuple(np.round(text.get_position(), 3)))
        if drawn is not None and box is not None:
            _, colour, tint = drawn
            text.set_color(colour)
            box.set(edgecolor=colour, facecolor=tint)
            found.add(drawn)
    if found:
        key = [
            Patch(edgecolor=colour, facecolor=tint, label=name)
            for name, colour, tint in _DRAWN.values()
            if (name, colour, tint) in found
        ]
        figure.legend(handles=key, loc="upper center", ncols=3, frameon=False)


def _centre(box: FancyBboxPatch) -> tuple[Any, ...]:
    centre = (box.get_x() + box.get_width() / 2, box.get_y() + box.get_height() / 2)
    return tuple(np.round(centre, 3))


@dataclass(frozen=True)
class _Written:
    """A circuit's operations and measurements, each operation with its own label.

    Attributes:
        tape: for PennyLane's drawers; its parameters have no values.
        uses: label -> what the angles in it depend on.
    """

    tape: qml.tape.QuantumScript
    uses: dict[str, Inputs]

    @classmethod
    def of(cls, circuit: Definition) -> "_Written":
        """Run the quantum function on symbols."""
        tapes: list[qml.tape.QuantumScript] = []

        def traced(features: Any, weights: Any) -> list[Any]:
            tape = queue(circuit.function, features, weights, circuit.name)
            with defined_norms():
                operations = [
                    part for operation in tape.operations for part in _expanded(operation, circuit)
                ]
            tapes.append(qml.tape.QuantumScript(operations, tape.measurements))
            return [p for operation in operations for p in operation.parameters if _is_traced(p)]

        # Constants as written: float32 would show how they are rounded.
        with jax.enable_x64(True):
            closed = jax.make_jaxpr(traced)(
                jax.ShapeDtypeStruct((circuit.num_features,), jnp.float64),
                jax.ShapeDtypeStruct(circuit.weights_shape, jnp.float64),
            )
            found = evaluate(closed, _inputs(circuit), ELEMENTWISE)
        angles = iter(zip(found, dependence(closed), strict=True))
        uses: dict[str, Inputs] = {}
        operations = [_labelled(operation, angles, uses) for operation in tapes[0].operations]
        return cls(qml.tape.QuantumScript(operations, tapes[0].measurements), uses)


def _inputs(circuit: Definition) -> list[np.ndarray]:
    """Return the features and the weights as symbols."""
    weights = np.ndindex(circuit.weights_shape)
    return [
        symbols(
            [Formula(f"x[{index}]", Inputs.FEATURES) for index in range(circuit.num_features)],
            (circuit.num_features,),
        ),
        symbols(
            [
                Formula(f"w[{','.join(map(str, index))}]" if index else "w", Inputs.WEIGHTS)
                for index in weights
            ],
            circuit.weights_shape,
        ),
    ]


def _expanded(operation: Operator, circuit: Definition) -> Iterator[Operator]:
    """Yield an operation, or what a template consists of."""
    if "pennylane.templates" not in type(operation).__module__:
        yield operation
        return
    for part in parts_of(operation, f"Circuit '{circuit.name}'"):
        yield from _expanded(part, circuit)


def _is_traced(value: Any) -> bool:
    return isinstance(value, jax.core.Tracer)


def _labelled(
    operation: Operator, angles: Iterator[tuple[Any, Inputs]], uses: dict[str, Inputs]
) -> Operator:
    """Return the operation with a label that shows its angles; `uses` takes what is in it."""
    shown, union = [], Inputs(0)
    for parameter in operation.parameters:
        if _is_traced(parameter):
            value, depends = next(angles)
            text, depends = _shown(value, depends)
            union |= depends
            shown.append(text)
        elif np.ndim(parameter) == 0 and not np.iscomplexobj(parameter):
            shown.append(formula(parameter).text)
    if not operation.parameters:
        return operation
    name = operation.label()
    name = operation.name if "Traced<" in name else name
    # Each on a line of its own in a figure; in text there are no line breaks.
    angles_shown = ",\n".join(shown)
    label = f"{name}\n({angles_shown})" if shown else name
    uses[label] = union
    if isinstance(operation, qml.ops.Controlled):
        target = _Labelled(label, operation.target_wires)
        return qml.ops.Controlled(target, operation.control_wires, operation.control_values)
    return _Labelled(label, operation.wires)


class _Labelled(Operation):
    """Stands for a gate in a drawing."""

    def __init__(self, text: str, wires: Any):
        self.hyperparameters["text"] = text
        super().__init__(wires=wires)

    def label(self, decimals: Any = None, base_label: Any = None, cache: Any = None) -> str:
        """Return how the gate is called."""
        return str(self.hyperparameters["text"])


def _shown(value: Any, depends: Inputs) -> tuple[str, Inputs]:
    """Return how a parameter is shown, and what it depends on."""
    scalar = np.asarray(value).item() if np.ndim(value) == 0 else None
    if isinstance(scalar, Formula):
        return scalar.text, scalar.uses
    if isinstance(scalar, float | int):
        return formula(scalar).text, Inputs(0)
    return _UNNAMED[depends], depends
