"""Figures over the axes of an ablation: lines along numbers, heat maps over two axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hqnn_jax.ablation.figures import MARKERS, MOST_LINES, label_text, varied_axes
from hqnn_jax.ablation.results import AblationResults, ArmResult
from hqnn_jax.ablation.tables import metric_label, reference_label
from hqnn_jax.evaluation.comparison import is_significant
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.style import PALETTE, ReportFigure, plain_axes

TRAINING_SIZE_AXES = ("training_size", "training.images_per_class", "images_per_class")
"""Axes that vary the number of training images."""
_MOST_LINES_OF_A_NUMBER = 4
_MOST_NUMBERED_COLUMNS = 14


@dataclass(frozen=True)
class Scale:
    """Where the values of an axis lie on a figure.

    Attributes:
        positions: value as written -> coordinate, in increasing order.
        logarithmic: whether coordinates are logarithms to base 10.
        apart: values that are no (positive) number and stand beside the others, such as `all`.
    """

    positions: Mapping[str, float]
    logarithmic: bool
    apart: frozenset[str]


def number_scale(values: Sequence[str], *, logarithmic: bool = False) -> Scale | None:
    """Place values along a line; None unless at least two are numbers and at most one is not.

    Numbers that span a factor of ten or more lie on a logarithmic scale; there zero stands one
    step below the smallest. What is no number stands one step beyond the number it is listed
    next to.
    """
    numbers = {value: number for value in values if (number := _number(value)) is not None}
    others = [value for value in values if value not in numbers]
    if len(numbers) < 2 or len(others) > 1 or len(set(numbers.values())) < len(numbers):
        return None
    logarithmic = _spans_decades(numbers.values(), least=1.0 if logarithmic else 10.0)
    on_line = {
        value: math.log10(number) if logarithmic else number
        for value, number in numbers.items()
        if number or not logarithmic
    }
    low, high = min(on_line.values()), max(on_line.values())
    step = (high - low) / max(len(on_line) - 1, 1)
    places = on_line | {value: low - step for value in numbers if value not in on_line}
    for other in others:
        nearest = next(iter(numbers)) if values[0] == other else list(numbers)[-1]
        lowest = min(places.values())
        places[other] = lowest - step if places[nearest] == lowest else high + step
    ordered = dict(sorted(places.items(), key=lambda item: item[1]))
    return Scale(ordered, logarithmic, frozenset(places.keys() - on_line.keys()))


def _spans_decades(numbers: Iterable[float], *, least: float) -> bool:
    """Return whether none is negative and the largest is `least` times the smallest but zero."""
    found = sorted(number for number in numbers if number)
    return found[0] > 0 and len(found) > 1 and found[-1] >= least * found[0]


def curve_axes(results: AblationResults) -> tuple[str, ...]:
    """Return the axes `curves` can draw: numbers, with few enough lines to be read."""
    return tuple(
        axis
        for axis in varied_axes(results)
        if number_scale(results.axes[axis]) is not None
        and 0 < len(_lines(results, axis)) <= _most_lines(axis)
    )


def curves(results: AblationResults, axis: str) -> ReportFigure:
    """Draw the compared metric along an axis of numbers, with bands of its t interval.

    One line per combination of the other axes' values. The number of training images is on a
    logarithmic scale.

    Raises:
        ValueError: for an axis that is not in `curve_axes`.
    """
    sizes = axis in TRAINING_SIZE_AXES
    scale = number_scale(results.axes[axis], logarithmic=sizes)
    lines = _lines(results, axis)
    if scale is None or not lines:
        raise ValueError(f"{axis}: expected one of {', '.join(curve_axes(results)) or 'no axis'}")
    metric, quantity = metric_label(results.metric), "images per class" if sizes else axis
    title = f"Test {metric} by number of training images" if sizes else f"Test {metric} by {axis}"
    figure = ReportFigure(
        9.0, 4.4, label_text(title, 80)
    )  # fmt: skip
    axes = figure.subplots()
    for number, (name, arms) in enumerate(lines.items()):
        _curve(axes, scale, axis, arms, label_text(name, 40), number)
    plain_axes(axes, label_text(quantity), f"test {metric} (%)")
    names = list(scale.positions)
    crowded = sum(map(len, names)) > 60
    axes.set_xticks(
        list(scale.positions.values()), list(map(label_text, names)), rotation=40 if crowded else 0
    )
    if scale.logarithmic:
        axes.set_xlabel(f"{label_text(quantity)} (logarithmic)")
    if len(lines) > 1:
        others = [other for other in varied_axes(results) if other != axis]
        axes.legend(
            title=label_text(", ".join(others)), frameon=False, fontsize=9,
            loc="center left", bbox_to_anchor=(1.01, 0.5),
        )  # fmt: skip
    return figure


def is_complete_grid(results: AblationResults) -> bool:
    """Return whether exactly two axes vary and every combination of them has an arm."""
    axes = varied_axes(results)
    return len(axes) == 2 and len(_cells(results)) == math.prod(len(results.axes[a]) for a in axes)


def heat_maps(results: AblationResults) -> ReportFigure:
    """Draw the mean of every cell of a two-axis grid, and its difference from its reference.

    A star marks differences whose Holm-adjusted p-value is below 1 - level. The second picture is
    left out where nothing was compared.

    Raises:
        ValueError: unless `is_complete_grid(results)`.
    """
    if not is_complete_grid(results):
        raise ValueError("expected a grid with exactly two axes of several values")
    row_values, column_values = (results.axes[axis] for axis in varied_axes(results))
    cells = _cells(results)
    grid = [[cells[row, column] for column in column_values] for row in row_values]
    pictures = 2 if results.comparisons else 1
    width = pictures * (1.9 + max(0.62 * len(column_values), 1.8))
    height = 1.6 + max(0.45 * len(row_values), 1.2)
    metric = metric_label(results.metric)
    figure = ReportFigure(width, height, f"Test {metric}, two axes")
    panels = figure.subplots(1, pictures, squeeze=False)[0]
    means = 100 * np.asarray([[arm.summary.mean for arm in row] for row in grid], np.float64)
    texts = [[formatting.percent(arm.summary.mean, 1) for arm in row] for row in grid]
    _picture(results, panels[0], means, texts, "viridis", None)
    panels[0].set_title(f"mean (%)\n{_spread(results)}", fontsize=10)
    if pictures == 2:
        values = np.asarray([[_difference(results, arm) for arm in row] for row in grid])
        reach = float(np.max(np.abs(values[np.isfinite(values)]), initial=0.01))
        words = [[_difference_text(results, arm) for arm in row] for row in grid]
        _picture(results, panels[1], values, words, "RdBu_r", reach)
        panels[1].set_title(
            f"difference (points) from\n{label_text(reference_label(results), 60)}", fontsize=10
        )
    return figure


def _number(text: str) -> float | None:
    try:
        value = float(text.replace(",", "").removesuffix("%").strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _most_lines(axis: str) -> int:
    return MOST_LINES if axis in TRAINING_SIZE_AXES else _MOST_LINES_OF_A_NUMBER


def _lines(results: AblationResults, axis: str) -> dict[str, list[ArmResult]]:
    """Return the arms that differ only in `axis`, by the values of the other axes."""
    others = [other for other in varied_axes(results) if other != axis]
    lines: dict[str, list[ArmResult]] = {}
    for arm in results.arms:
        if axis in arm.settings:
            name = ", ".join(arm.settings.get(other, "") for other in others)
            lines.setdefault(name, []).append(arm)
    return {name: arms for name, arms in lines.items() if len(arms) > 1}


def _curve(
    axes: Axes, scale: Scale, axis: str, arms: Sequence[ArmResult], label: str, number: int
) -> None:
    placed = sorted(arms, key=lambda arm: scale.positions[arm.settings[axis]])
    x = np.asarray([scale.positions[arm.settings[axis]] for arm in placed])
    mean = 100 * np.asarray([arm.summary.mean for arm in placed], np.float64)
    missing = (math.nan, math.nan)
    bounds = 100 * np.asarray([arm.summary.t_interval or missing for arm in placed], np.float64)
    apart = np.asarray([arm.settings[axis] in scale.apart for arm in placed])
    color = PALETTE[number % len(PALETTE)]
    face = color if number < len(PALETTE) else "white"
    axes.plot(x, mean, ":", color=color, linewidth=1.0)
    axes.plot(x[~apart], mean[~apart], "-", color=color, linewidth=1.5)
    axes.plot(
        x, mean, color=color, marker=MARKERS[number % len(MARKERS)], markerfacecolor=face,
        linestyle="", label=label,
    )  # fmt: skip
    axes.fill_between(
        x[~apart], bounds[~apart, 0], bounds[~apart, 1], color=color, alpha=0.16, linewidth=0
    )
    for position, (low, high) in zip(x[apart], bounds[apart], strict=True):
        axes.plot([position, position], [low, high], color=color, alpha=0.5, linewidth=2.5)


def _cells(results: AblationResults) -> dict[tuple[str, str], ArmResult]:
    first, second = varied_axes(results)
    return {
        (arm.settings[first], arm.settings[second]): arm
        for arm in results.arms
        if first in arm.settings and second in arm.settings
    }


def _spread(results: AblationResults) -> str:
    deviations = [arm.summary.deviation for arm in results.arms]
    known = [value for value in deviations if value is not None and math.isfinite(value)]
    if not known:
        return "one seed"
    return f"standard deviation over seeds {formatting.interval((min(known), max(known)))}"


def _difference(results: AblationResults, arm: ArmResult) -> float:
    comparison = results.comparisons.get(arm.name)
    return math.nan if comparison is None else 100 * comparison.mean


def _difference_text(results: AblationResults, arm: ArmResult) -> str:
    comparison = results.comparisons.get(arm.name)
    if comparison is None:
        return "ref." if arm.name in results.reference.values() else ""
    star = "*" if is_significant(comparison, level=results.level) else ""
    return formatting.points(comparison.mean) + star


def _picture(
    results: AblationResults,
    axes: Axes,
    values: np.ndarray,
    texts: Sequence[Sequence[str]],
    colormap: str,
    reach: float | None,
) -> None:
    """Draw one heat map; `reach` makes its colours symmetric about zero."""
    limits: dict[str, Any] = {} if reach is None else {"vmin": -reach, "vmax": reach}
    axes.set_facecolor("0.9")
    picture = axes.imshow(values, cmap=colormap, aspect="auto", **limits)
    rows, columns = varied_axes(results)
    if values.shape[1] <= _MOST_NUMBERED_COLUMNS:
        for row, column in np.ndindex(values.shape):
            red, green, blue, _ = picture.cmap(picture.norm(values[row, column]))
            dark = np.isfinite(values[row, column]) and 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
            axes.text(
                column, row, texts[row][column], ha="center", va="center", fontsize=8,
                color="white" if dark else "black",
            )  # fmt: skip
    names = [label_text(value, 24) for value in results.axes[columns]]
    long = max(map(len, names)) > 6
    axes.set_xticks(
        range(len(names)), names, rotation=40 if long else 0, ha="right" if long else "center"
    )
    axes.set_yticks(
        range(len(results.axes[rows])), [label_text(value, 24) for value in results.axes[rows]]
    )
    axes.set_xlabel(label_text(columns))
    axes.set_ylabel(label_text(rows))
    axes.figure.colorbar(picture, ax=axes, shrink=0.85)
