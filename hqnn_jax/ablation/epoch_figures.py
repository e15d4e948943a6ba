"""Figures over the epochs of training: loss and accuracy, and what else was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hqnn_jax.ablation.figures import MOST_LINES, arm_labels, label_text
from hqnn_jax.ablation.results import AblationResults, ArmResult
from hqnn_jax.reporting.style import PALETTE, ReportFigure, plain_axes

_ALWAYS_RECORDED = frozenset(
    {
        "seed", "epoch", "train_loss", "train_accuracy", "validation_loss",
        "validation_accuracy", "seconds", "learning_rate",
    }
)  # fmt: skip
_LOGARITHMIC_FROM = 50.0
_DASHES = ("-", "--")


@dataclass(frozen=True)
class _Series:
    """A quantity of one arm over its epochs: mean, smallest and largest of the seeds."""

    epochs: list[int]
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def training(results: AblationResults) -> ReportFigure | None:
    """Draw validation loss and accuracy over the epochs; None without any history.

    Up to 12 arms: the mean over seeds, and a band from the smallest to the largest. More: a heat
    map of the means, one row per arm.
    """
    keys = {
        "validation_loss": "validation loss (nats)",
        "validation_accuracy": "validation accuracy (%)",
    }
    return _figure(results, "Training", keys)


def insight_names(results: AblationResults) -> dict[str, list[str]]:
    """Return what was measured beside loss and accuracy: prefix -> keys of the history.

    `gradient_norm/circuit` has the prefix `gradient_norm`.
    """
    keys: dict[str, list[str]] = {}
    for arm in results.arms:
        for record in arm.history:
            for key, value in record.items():
                if key not in _ALWAYS_RECORDED and _value(value) is not None:
                    group = keys.setdefault(key.split("/", maxsplit=1)[0], [])
                    group.extend([] if key in group else [key])
    return keys


def insight(results: AblationResults, prefix: str) -> ReportFigure | None:
    """Draw what was measured under a prefix, one panel per key; None without any such record."""
    keys = insight_names(results).get(prefix, [])
    names = {key: key.split("/", maxsplit=1)[-1].replace("_", " ") for key in keys}
    return _figure(results, prefix.replace("_", " "), names)


def _value(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None
    return float(value)


def _series(arm: ArmResult, key: str) -> _Series | None:
    factor = 100.0 if key.endswith("_accuracy") else 1.0
    values: dict[int, list[float]] = {}
    for record in arm.history:
        value = _value(record.get(key))
        if value is not None and math.isfinite(value):
            values.setdefault(int(record["epoch"]), []).append(factor * value)
    if not values:
        return None
    epochs = sorted(values)
    mean, low, high = (
        np.asarray([reduce(values[epoch]) for epoch in epochs]) for reduce in (np.mean, min, max)
    )
    return _Series(epochs, mean, low, high)


def _trained_arms(results: AblationResults) -> dict[str, ArmResult]:
    """Return the arms with different histories, by label.

    Arms that evaluate the same trained model, under noise for example, share one.
    """
    alike: list[list[ArmResult]] = []
    for arm in results.arms:
        same = next((group for group in alike if group[0].history == arm.history), None)
        if same is None:
            alike.append([arm])
        else:
            same.append(arm)
    labels = arm_labels([group[0] for group in alike], 36)
    return {
        label + (f" and {len(group) - 1} more" if group[1:] else ""): group[0]
        for label, group in zip(labels, alike, strict=True)
    }


def _figure(results: AblationResults, title: str, keys: dict[str, str]) -> ReportFigure | None:
    """Draw one panel per key; None where nothing was recorded."""
    trained = _trained_arms(results)
    found = {
        key: lines
        for key in keys
        if (lines := {label: line for label, arm in trained.items() if (line := _series(arm, key))})
    }
    if not found:
        return None
    labels = [label for label in trained if any(label in series for series in found.values())]
    many = len(labels) > MOST_LINES
    columns = 2 if len(found) in (2, 4) else min(len(found), 3)
    rows = math.ceil(len(found) / columns)
    height = 1.0 + 0.17 * len(labels) if many else 3.1
    width = (4.3 if columns < 3 else 3.5) * columns + 2.2
    figure = ReportFigure(width, rows * height + 0.5, label_text(title))
    grid = figure.subplots(rows, columns, squeeze=False, sharey=many).ravel()
    for axes in grid[len(found) :]:
        axes.set_visible(False)
    for axes, (key, series) in zip(grid, found.items(), strict=False):
        if many:
            _heat_map(axes, labels, series, keys[key])
        else:
            _lines(axes, labels, series, keys[key])
    if not many:
        handles = [Line2D([], [], label=label, **_style(i)) for i, label in enumerate(labels)]
        figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=8.5)
    return figure


def _style(number: int) -> dict[str, Any]:
    return {
        "color": PALETTE[number % len(PALETTE)],
        "linestyle": _DASHES[number // len(PALETTE) % len(_DASHES)],
    }


def _lines(axes: Axes, labels: Sequence[str], series: Mapping[str, _Series], quantity: str) -> None:
    for number, label in enumerate(labels):
        if (line := series.get(label)) is None:
            continue
        style = _style(number)
        # A single epoch has no line to draw: dots keep it visible.
        marker = "." if len(line.epochs) < 3 else ""
        axes.plot(line.epochs, line.mean, linewidth=1.5, marker=marker, **style)
        axes.fill_between(
            line.epochs, line.low, line.high, color=style["color"],
            alpha=0.14 if len(labels) <= 4 else 0.06, linewidth=0,
        )  # fmt: skip
    if _spans_decades([line.low for line in series.values()], [s.high for s in series.values()]):
        axes.set_yscale("log")
    plain_axes(axes, "epoch", label_text(quantity))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _heat_map(
    axes: Axes, labels: Sequence[str], series: Mapping[str, _Series], quantity: str
) -> None:
    last = max(max(line.epochs) for line in series.values())
    values = np.full((len(labels), last), math.nan)
    for row, label in enumerate(labels):
        if (line := series.get(label)) is not None:
            values[row, np.asarray(line.epochs) - 1] = line.mean
    means = [line.mean for line in series.values()]
    axes.set_facecolor("0.9")
    picture = axes.imshow(
        values, aspect="auto", cmap="viridis", interpolation="nearest",
        norm=LogNorm() if _spans_decades(means, means) else None,
        extent=(0.5, last + 0.5, len(labels) - 0.5, -0.5),
    )  # fmt: skip
    axes.set_yticks(range(len(labels)), labels, fontsize=7.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_title(label_text(quantity), fontsize=10)
    axes.figure.colorbar(picture, ax=axes, shrink=0.8)


def _spans_decades(low: Sequence[np.ndarray], high: Sequence[np.ndarray]) -> bool:
    smallest = min(float(values.min()) for values in low)
    largest = max(float(values.max()) for values in high)
    return smallest > 0 and largest > _LOGARITHMIC_FROM * smallest
