"""Figures of an evaluation on a backend.

Every function returns a new figure. An arm has the same colour and marker in
all figures; shares are drawn in per cent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import confusion_matrix

from hqnn_jax.hardware_evaluation.results import EvaluatedArm, HardwareResults, ModelResult
from hqnn_jax.hardware_evaluation.tables import (
    Record,
    arm_name,
    shown_outputs,
)
from hqnn_jax.reporting import formatting, plots
from hqnn_jax.reporting.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PALETTE,
    PURPLE,
    SKY,
    VERMILION,
    ReportFigure,
    plain_axes,
    short_label,
)

_LABEL_LENGTH = 48
_PANELS_IN_A_ROW = 4


class Line(NamedTuple):
    """A straight line `slope · x + offset`."""

    slope: float
    offset: float


class _MarkerStyle(NamedTuple):
    color: str
    marker: str
    face: str


_STYLES = {
    "exact": _MarkerStyle(BLACK, "s", "white"),
    "shots": _MarkerStyle(SKY, "^", SKY),
    "noise_model": _MarkerStyle(GREEN, "v", GREEN),
    "backend": _MarkerStyle(VERMILION, "o", VERMILION),
    "stored": _MarkerStyle(GREY, "s", GREY),
}
_MITIGATED = ((BLUE, "D"), (ORANGE, "P"), (PURPLE, "X"), (BLACK, "*"), (GREY, "<"), (GREEN, ">"))


def accuracy_by_arm(results: HardwareResults, record: Record) -> ReportFigure:
    """Draw the accuracy of every arm with its 95 % interval, one row each, models apart.

    A dotted line goes down from the exact accuracy of each model.
    """
    several = len(results.models) > 1
    num_rows = sum(len(model.arms) + several for model in results.models)
    title = f"Accuracy of {formatting.count(len(results.labels))} {results.dataset['split']} images"
    figure = ReportFigure(10.0, 1.3 + 0.36 * num_rows, title)
    axes = figure.subplots()
    labels, row = [], 0
    for model, shown in zip(results.models, record["models"], strict=True):
        if several:
            axes.text(
                -0.012, row, short_label(model.name, _LABEL_LENGTH), weight="bold", ha="right",
                va="center", fontsize=9, transform=axes.get_yaxis_transform(),
            )  # fmt: skip
            labels.append("")
            row += 1
        exact = 100 * shown["arms"][0]["accuracy"]
        if len(model.arms) > 1:
            axes.plot([exact] * 2, [row, row + len(model.arms) - 1], ":", color="0.5", zorder=1)
        for arm, style, entry in zip(model.arms, _styles(model), shown["arms"], strict=True):
            _accuracy_row(axes, row, entry, style, results.decimals)
            labels.append(short_label(arm_name(arm), _LABEL_LENGTH))
            row += 1
    plain_axes(axes, "accuracy (%)", "")
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(row), labels, fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(row - 0.5, -0.6)
    return figure


def _accuracy_row(axes: Axes, row: int, entry: Record, style: _MarkerStyle, decimals: int) -> None:
    accuracy, bounds = entry["accuracy"], entry["intervals"]["accuracy"]
    if bounds is not None:
        ends = [100 * bound for bound in bounds]
        axes.plot(ends, [row, row], color=style.color, linewidth=1.8, zorder=2)
    axes.plot(
        100 * accuracy, row, style.marker, color=style.color, markerfacecolor=style.face,
        markersize=7, zorder=3,
    )  # fmt: skip
    text = formatting.with_interval(accuracy, bounds, decimals)
    place = axes.get_yaxis_transform()
    axes.text(1.02, row, text, transform=place, va="center", fontsize=9)


def output_errors(model: ModelResult, shown: Record, *, title: str) -> ReportFigure | None:
    """Draw RMSE and bias of each output against the exact values, arms side by side.

    Dashes mark the RMSE that shots alone would cause. Of many outputs the worst are drawn. None
    where no arm has values to compare.

    Args:
        model: the model.
        shown: its part of the record.
        title: of the figure.
    """
    arms = [
        (arm, style, entry["outputs"])
        for arm, style, entry in zip(model.arms, _styles(model), shown["arms"], strict=True)
        if entry["outputs"]
    ]
    if not arms:
        return None
    places = shown_outputs(shown["arms"])
    figure = ReportFigure(11.0, 6.2, short_label(title, 2 * _LABEL_LENGTH))
    upper, lower = figure.subplots(2, 1, sharex=True)
    step = 0.8 / len(arms)
    for number, (_, style, outputs) in enumerate(arms):
        where = np.arange(len(places)) + step * (number - (len(arms) - 1) / 2)
        chosen = [outputs[place] for place in places]
        for axes, key in ((upper, "rmse"), (lower, "bias")):
            _points(axes, where, [output[key] for output in chosen], style, size=5.5)
        expected = np.array([output["standard_error"] for output in chosen])
        drawn = expected > 0
        upper.hlines(
            expected[drawn], where[drawn] - 0.45 * step, where[drawn] + 0.45 * step, color=BLACK
        )
    _finish_errors(upper, lower, [model.outputs[place] for place in places])
    handles = [_handle(style, arm_name(arm)) for arm, style, _ in arms]
    dash = Line2D([], [], color=BLACK, label="expected from shots alone")
    _legend(figure, [*handles, dash])
    return figure


def _finish_errors(upper: Axes, lower: Axes, outputs: Sequence[str]) -> None:
    """Label the panels of RMSE and bias, and part the outputs."""
    lower.axhline(0, color="0.25", linewidth=1.0, zorder=1)
    plain_axes(upper, "", "RMSE")
    plain_axes(lower, "output of the circuit", "bias: mean of measured − exact")
    upper.set_ylim(bottom=0)
    for axes in (upper, lower):
        axes.grid(visible=False, axis="x")
        for edge in range(1, len(outputs)):
            axes.axvline(edge - 0.5, color="0.9", linewidth=0.8, zorder=0)
    names = [short_label(name) for name in outputs]
    long = sum(map(len, names)) > 100
    turned: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    lower.set_xticks(range(len(names)), names, **(turned if long else {}))
    lower.set_xlim(-0.5, len(names) - 0.5)


def measured_against_exact(model: ModelResult, *, title: str) -> ReportFigure | None:
    """Draw the values of every arm against the exact ones, a panel each, all outputs together.

    Grey: identity; black: `fitted_line`. None where no arm has values to compare.
    """
    exact = model.reference.values
    arms = [
        (arm, style, arm.values)
        for arm, style in zip(model.arms, _styles(model), strict=True)
        if arm is not model.reference and arm.values is not None
    ]
    if exact is None or not arms:
        return None
    rows = math.ceil(len(arms) / _PANELS_IN_A_ROW)
    columns = math.ceil(len(arms) / rows)
    size = (max(4.6, 2.9 * columns + 0.4), 3.3 * rows + 1.1)
    figure = ReportFigure(*size, short_label(title, 2 * _LABEL_LENGTH))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    everything = np.concatenate([exact.ravel(), *(values.ravel() for _, _, values in arms)])
    margin = 0.04 * float(np.ptp(everything)) or 0.1
    limits = (float(everything.min()) - margin, float(everything.max()) + margin)
    for axes in grid[len(arms) :]:
        axes.set_visible(False)
    for number, (axes, (arm, style, values)) in enumerate(zip(grid, arms, strict=False)):
        text = _dots_and_line(axes, exact, values, style, limits)
        axes.set_title(f"{short_label(arm_name(arm), 34)}\n{text}", fontsize=9)
        # Columns with a hidden panel below have no other place for their label.
        last_in_column = number + columns >= len(arms)
        axes.tick_params(labelbottom=last_in_column)
        first_in_row = number % columns == 0
        plain_axes(axes, "exact" if last_in_column else "", "measured" if first_in_row else "")
        axes.set(xlim=limits, ylim=limits, aspect="equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
    grey = Line2D([], [], color="0.55", label="measured = exact")
    _legend(figure, [grey, Line2D([], [], color=BLACK, linestyle="--", label="fitted line")])
    return figure


def _dots_and_line(
    axes: Axes,
    exact: Float[np.ndarray, "samples outputs"],
    measured: Float[np.ndarray, "samples outputs"],
    style: _MarkerStyle,
    limits: tuple[float, float],
) -> str:
    """Draw dots, identity and fitted line; return what the line says."""
    # Thousands of dots as an image keep the page small.
    axes.plot(
        exact.ravel(), measured.ravel(), ".", color=style.color, markersize=2.5, alpha=0.35,
        rasterized=True,
    )  # fmt: skip
    axes.plot(limits, limits, color="0.55", linewidth=1.0)
    line = fitted_line(measured, exact)
    if line is None:
        return "no line: one exact value"
    ends = [line.slope * x + line.offset for x in limits]
    axes.plot(limits, ends, "--", color=BLACK, linewidth=1.3)
    return f"slope {formatting.fixed(line.slope, 3)}"


def fitted_line(
    measured: Float[np.ndarray, "samples outputs"], exact: Float[np.ndarray, "samples outputs"]
) -> Line | None:
    """Fit `measured = slope · exact + offset` to all outputs together by least squares.

    A slope below 1 is damping: noise draws values towards a constant. None where all exact values
    are the same to 1e-9.
    """
    if np.ptp(exact) < 1e-9:
        return None
    slope, offset = np.polyfit(exact.ravel(), measured.ravel(), 1)
    return Line(float(slope), float(offset))


def predicted_classes(
    arm: EvaluatedArm, reference: EvaluatedArm, class_names: Sequence[str], *, title: str
) -> ReportFigure:
    """Draw which class an arm gives the images of each class of the reference."""
    classes = range(len(class_names))
    counts = confusion_matrix(reference.predicted, arm.predicted, labels=classes)
    figure = plots.confusion_matrix(counts, class_names)
    axes, scale = figure.axes
    figure.set_title(short_label(title, 2 * _LABEL_LENGTH))
    axes.set_xlabel(f"class predicted with: {short_label(arm_name(arm), _LABEL_LENGTH)}")
    axes.set_ylabel("class predicted from exact values")
    scale.set_ylabel("share of the exact class (%)")
    return figure


def fine_tuning(losses: Mapping[str, Sequence[float]], *, backend: str) -> ReportFigure:
    """Draw the loss by iteration of each fine-tuned model.

    Args:
        losses: name of the model -> mean cross-entropy of an iteration's batch, nats.
        backend: name of the backend.
    """
    title = f"Fine-tuning on {short_label(backend, _LABEL_LENGTH)}"
    figure = ReportFigure(7.5, 3.6, title)
    axes = figure.subplots()
    handles = []
    for number, (name, values) in enumerate(losses.items()):
        marker = "osD^vPX*"[number % 8]
        style = _MarkerStyle(PALETTE[number % len(PALETTE)], marker, "white")
        axes.plot(range(1, len(values) + 1), values, "-", color=style.color, linewidth=1.2)
        _points(axes, np.arange(1, len(values) + 1), values, style, size=4.5)
        handles.append(_handle(style, name))
    plain_axes(axes, "iteration", "loss of its batch (nats)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure, handles)
    return figure


def _points(
    axes: Axes, where: np.ndarray, values: Sequence[float], style: _MarkerStyle, *, size: float
) -> None:
    axes.plot(
        where, values, style.marker, color=style.color, markerfacecolor=style.face, markersize=size,
        zorder=3,
    )  # fmt: skip


def _styles(model: ModelResult) -> list[_MarkerStyle]:
    """Return the style of each arm."""
    found: list[_MarkerStyle] = []
    mitigated = 0
    for arm in model.arms:
        if arm.kind != "mitigated":
            found.append(_STYLES[arm.kind])
            continue
        color, marker = _MITIGATED[mitigated % len(_MITIGATED)]
        found.append(_MarkerStyle(color, marker, color if mitigated < len(_MITIGATED) else "white"))
        mitigated += 1
    return found


def _handle(style: _MarkerStyle, label: str) -> Line2D:
    return Line2D(
        [], [], linestyle="", marker=style.marker, color=style.color, markerfacecolor=style.face,
        label=short_label(label, _LABEL_LENGTH),
    )  # fmt: skip


def _legend(figure: ReportFigure, handles: Sequence[Line2D]) -> None:
    columns = min(4, len(handles))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8.5
    )
