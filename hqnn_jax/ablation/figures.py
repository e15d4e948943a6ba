"""Figures that compare arms: paired differences, means, accuracy against cost.

Every function returns a new figure; fractions are drawn in per cent,
differences in percentage points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from hqnn_jax.ablation.results import AblationResults, ArmResult
from hqnn_jax.ablation.tables import (
    compared_arms,
    level_label,
    metric_label,
    reference_label,
)
from hqnn_jax.evaluation.comparison import Comparison, is_significant
from hqnn_jax.evaluation.metrics import METRICS
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.style import (
    BLUE,
    GREY,
    PALETTE,
    VERMILION,
    ReportFigure,
    plain_axes,
    short_label,
)
from hqnn_jax.text import one_line

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MOST_LINES = 12
"""Beyond this many arms or lines a legend cannot be read; heat maps or panels take over."""
_LABEL_LENGTH = 48


def label_text(label: str, length: int = _LABEL_LENGTH) -> str:
    """Return a label that fits a figure; matplotlib hides labels that begin with `_`."""
    text = short_label(one_line(label), length)
    return f" {text}" if text.startswith("_") else text


def arm_labels(arms: Sequence[ArmResult], length: int = _LABEL_LENGTH) -> list[str]:
    """Return the labels of arms for a figure, whole where shortened ones could be confused."""
    texts = [label_text(arm.label, length) for arm in arms]
    if len(set(texts)) == len(texts):
        return texts
    return [label_text(arm.label, max(len(other.label) for other in arms)) for arm in arms]


def varied_axes(results: AblationResults) -> tuple[str, ...]:
    """Return the axes with more than one value, in order."""
    return tuple(axis for axis, values in results.axes.items() if len(values) > 1)


def forest(results: AblationResults) -> ReportFigure:
    """Draw the paired difference of every compared arm with its t interval, one row each.

    Small dots are seeds; the grey area is what the study could not have detected. Arms whose
    Holm-adjusted p-value is below 1 - level have a filled diamond. Where a few large differences
    would hide all others, a second panel enlarges the rest.

    Raises:
        ValueError: where nothing was compared.
    """
    arms = compared_arms(results)
    if not arms:
        raise ValueError("nothing was compared; draw `arm_means` instead")
    comparisons = [results.comparisons[arm.name] for arm in arms]
    zoom = _enlarged_reach([_reach(comparison) for comparison in comparisons])
    title = f"Test {metric_label(results.metric)}: difference from {reference_label(results)}"
    height = 1.9 + _row_height(len(arms)) * len(arms)
    figure = ReportFigure(11.0, height, label_text(title, 90))
    panels = figure.subplots(1, 1 if zoom is None else 2, sharey=True, squeeze=False)[0]
    for panel in panels:
        panel.use_sticky_edges = False  # bars would take the margin from the intervals
        for row, comparison in enumerate(comparisons):
            _difference(panel, row, comparison, results.level)
        panel.axvline(0, color="0.25", linewidth=1.0, zorder=1)
        plain_axes(panel, "difference (percentage points)", "")
        panel.grid(visible=False, axis="y")
    if zoom is not None:
        panels[0].set_title("all", fontsize=10)
        _enlarge(panels[1], comparisons, zoom)
    panels[0].set_yticks(range(len(arms)), arm_labels(arms), fontsize=9)
    panels[0].set_ylim(len(arms) - 0.5, -0.6)
    _row_texts(panels[-1], [_difference_text(comparison) for comparison in comparisons])
    _forest_legend(figure, results)
    return figure


def arm_means(results: AblationResults) -> ReportFigure:
    """Draw the mean of every arm with its t interval, one row each; small dots are seeds."""
    arms = results.arms
    metric, level = metric_label(results.metric), level_label(results)
    figure = ReportFigure(
        10.0,
        1.7 + _row_height(len(arms)) * len(arms),
        f"Test {metric} of each arm",
    )
    axes = figure.subplots()
    references = set(results.reference.values())
    for row, arm in enumerate(arms):
        mean, (low, high) = arm.summary.mean, arm.summary.t_interval or (math.nan, math.nan)
        seeds = 100 * np.asarray(arm.test[results.metric], np.float64)
        axes.plot(seeds, np.full(len(seeds), row + 0.22), ".", color=GREY, markersize=4)
        axes.plot([100 * low, 100 * high], [row, row], color=BLUE, linewidth=1.8)
        face = "white" if arm.name in references else BLUE
        axes.plot(100 * mean, row, "s", color=BLUE, markerfacecolor=face, markersize=6)
    plain_axes(axes, f"test {metric} (%)", "")
    axes.grid(visible=False, axis="y")
    axes.set_yticks(range(len(arms)), arm_labels(arms), fontsize=9)
    axes.set_ylim(len(arms) - 0.5, -0.6)
    handles = [
        Line2D([], [], color=BLUE, marker="s", label=f"mean, {level} t interval"),
        Line2D([], [], color=GREY, marker=".", linestyle="", label="one seed"),
    ]
    if references:
        blank: dict[str, Any] = {
            "marker": "s",
            "markerfacecolor": "white",
            "linestyle": "",
            "color": BLUE,
        }
        handles.insert(1, Line2D([], [], label="reference", **blank))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8.5)
    return figure


def cost(results: AblationResults) -> ReportFigure | None:
    """Draw the compared metric against training time and against the number of parameters.

    A panel whose quantity is the same in all arms, or unknown, is left out; None where both are.
    """
    panels = [
        (xlabel, values)
        for xlabel, values in (
            ("training, seconds a seed", [float(arm.train_seconds) for arm in results.arms]),
            ("trained parameters", [float(arm.parameters["total"]) for arm in results.arms]),
        )
        if len({value for value in values if math.isfinite(value)}) > 1
    ]
    if not panels:
        return None
    metric = metric_label(results.metric)
    styles, handles = _styles(results)
    height = max(4.2, 0.9 + 0.21 * len(handles))
    title = f"Test {metric} against cost"
    figure = ReportFigure(11.0, height, title)
    grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (xlabel, values) in zip(grid, panels, strict=True):
        for arm, style, value in zip(results.arms, styles, values, strict=True):
            _point_with_interval(axes, value, arm, style)
        plain_axes(axes, xlabel, f"test {metric} (%)" if axes is grid[0] else "")
        known = [value for value in values if math.isfinite(value)]
        if min(known) > 0 and max(known) > 10 * min(known):
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:,g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
    if handles:
        figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=8.5)
    return figure


def _row_height(rows: int) -> float:
    return 0.42 if rows <= MOST_LINES else 0.3


def _reach(comparison: Comparison) -> float:
    """Return how far from zero a row of the forest plot is drawn, a fraction."""
    values = (*comparison.differences, *comparison.t_interval, comparison.mean)
    return max((abs(value) for value in values if math.isfinite(value)), default=0.0)


def _enlarged_reach(reaches: Sequence[float]) -> float | None:
    """Return what a second panel shows, a fraction; None where all rows fit one panel."""
    typical = float(np.median(reaches))
    if len(reaches) < 3 or max(reaches) <= 6 * typical or not typical:
        return None
    return 1.15 * max(reach for reach in reaches if reach <= 2.5 * typical)


def _enlarge(axes: Axes, comparisons: Sequence[Comparison], reach: float) -> None:
    """Limit a panel to `reach` and mark the rows whose mean lies beyond."""
    limit = 100 * reach
    axes.set_xlim(-limit, limit)
    axes.set_title("enlarged", fontsize=10)
    for row, comparison in enumerate(comparisons):
        if abs(100 * comparison.mean) > limit:
            side = math.copysign(0.965 * limit, comparison.mean)
            axes.plot(side, row, ">" if side > 0 else "<", color="0.35", markersize=7)


def _difference(axes: Axes, row: int, comparison: Comparison, level: float) -> None:
    detectable = 100 * comparison.detectable
    if math.isfinite(detectable):
        axes.barh(row, 2 * detectable, 0.86, left=-detectable, color="0.925", zorder=0)
    differs = is_significant(comparison, level=level)
    color = VERMILION if differs else BLUE
    seeds = 100 * np.asarray(comparison.differences)
    axes.plot(seeds, np.full(len(seeds), row + 0.24), ".", color=GREY, markersize=4, zorder=2)
    low, high = comparison.t_interval
    axes.plot([100 * low, 100 * high], [row, row], color=color, linewidth=1.8, zorder=3)
    marker: dict[str, Any] = {"marker": "D"} if differs else {"marker": "o", "mfc": "white"}
    axes.plot(100 * comparison.mean, row, color=color, markersize=6, zorder=4, **marker)


def _difference_text(comparison: Comparison) -> str:
    if not math.isfinite(comparison.mean):
        return "undefined"
    difference = formatting.points_with_interval(comparison.mean, comparison.t_interval)
    return f"{difference}, {formatting.p_equals(comparison.adjusted)}"


def _row_texts(axes: Axes, texts: Sequence[str]) -> None:
    for row, text in enumerate(texts):
        axes.text(
            1.02, row, text, transform=axes.get_yaxis_transform(), va="center", fontsize=8.5
        )  # fmt: skip


def _forest_legend(figure: ReportFigure, results: AblationResults) -> None:
    alpha = formatting.short(1 - results.level, 2)
    open_circle: dict[str, Any] = {"marker": "o", "markerfacecolor": "white"}
    figure.legend(
        handles=[
            Line2D([], [], color=VERMILION, marker="D", label=f"differs (adjusted p < {alpha})"),
            Line2D([], [], color=BLUE, label="not significant", **open_circle),
            Line2D([], [], color=GREY, marker=".", linestyle="", label="one seed"),
            Patch(color="0.925", label="smaller than what the study could detect"),
        ],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=8.5,
    )


@dataclass(frozen=True)
class _ArmStyle:
    color: str
    marker: str
    face: str
    note: str = ""


def _styles(results: AblationResults) -> tuple[list[_ArmStyle], list[Line2D]]:
    """Return a style per arm, and the legend: arms, values of two axes, or none but two notes."""
    arms, axes = results.arms, varied_axes(results)
    small = all(len(results.axes[axis]) <= len(PALETTE) for axis in axes)
    if small and len(axes) == 2:
        return _styles_of_axes(results, *axes)
    if len(arms) <= MOST_LINES:
        colors = [PALETTE[number % len(PALETTE)] for number in range(len(arms))]
        styles = [
            _ArmStyle(color, MARKERS[i % len(MARKERS)], color if i < len(PALETTE) else "white")
            for i, color in enumerate(colors)
        ]
        labelled = zip(styles, arm_labels(arms, 36), strict=True)
        return styles, [_handle(style, label) for style, label in labelled]
    sign = 1 if METRICS[results.metric].higher_is_better else -1
    best = max(arms, key=lambda arm: np.nan_to_num(sign * arm.summary.mean, nan=-2.0))
    references = set(results.reference.values())
    noted = {best.name, *(references if len(references) == 1 else ())}
    return [
        _ArmStyle(BLUE, "o", BLUE, label_text(arm.label)) if arm.name in noted
        else _ArmStyle(GREY, "o", GREY)
        for arm in arms
    ], []  # fmt: skip


def _styles_of_axes(
    results: AblationResults, first: str, second: str
) -> tuple[list[_ArmStyle], list[Line2D]]:
    """Tell the first axis' values apart by colour and the second's by marker."""
    colors = dict(zip(results.axes[first], PALETTE, strict=False))
    markers = dict(zip(results.axes[second], MARKERS, strict=False))
    styles = []
    for arm in results.arms:
        color = colors[arm.settings[first]]
        styles.append(_ArmStyle(color, markers[arm.settings[second]], color))
    return styles, [
        Line2D([], [], linestyle="", label=label_text(first, 36)),
        *(_handle(_ArmStyle(c, "o", c), label_text(value, 36)) for value, c in colors.items()),
        Line2D([], [], linestyle="", label=label_text(second, 36)),
        *(_handle(_ArmStyle(GREY, m, GREY), label_text(value, 36)) for value, m in markers.items()),
    ]


def _handle(style: _ArmStyle, label: str) -> Line2D:
    return Line2D(
        [], [], linestyle="", marker=style.marker, color=style.color,
        markerfacecolor=style.face, label=label,
    )  # fmt: skip


def _point_with_interval(axes: Axes, x: float, arm: ArmResult, style: _ArmStyle) -> None:
    mean, interval = arm.summary.mean, arm.summary.t_interval
    if interval is not None:
        axes.plot([x, x], [100 * bound for bound in interval], color=style.color, linewidth=1.2)
    axes.plot(
        x, 100 * mean, style.marker, color=style.color, markerfacecolor=style.face, markersize=6.5
    )
    if style.note:
        axes.annotate(style.note, (x, 100 * mean), (6, 6), textcoords="offset points", fontsize=8.5)
