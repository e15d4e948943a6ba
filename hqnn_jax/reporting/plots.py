"""The figures of a run; every function returns a new one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Num, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import roc_curve

from hqnn_jax.evaluation.metrics import CLASS_METRICS
from hqnn_jax.evaluation.statistics import calibration_bins
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.style import (
    BLACK,
    BLUE,
    ORANGE,
    PALETTE,
    SKY,
    VERMILION,
    ReportFigure,
    blank,
    name_classes,
    plain_axes,
    short_label,
)

_DASHES = ("-", "--", ":", "-.")


def training_curves(
    history: Sequence[Mapping[str, Any]], best_epochs: Mapping[int, int]
) -> ReportFigure:
    """Draw loss and accuracy over the epochs, one line per seed, best epoch marked.

    Args:
        history: one mapping per seed and epoch with `seed`, `epoch`, `train_loss`,
            `validation_loss` (nats), `train_accuracy`, `validation_accuracy` (fractions).
        best_epochs: seed -> epoch of the evaluated checkpoint.
    """
    figure = ReportFigure(9.0, 3.5, "Training curves")
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    _history_lines(loss_axes, history, best_epochs, "loss", 1.0)
    _history_lines(accuracy_axes, history, best_epochs, "accuracy", 100.0)
    plain_axes(loss_axes, "epoch", "loss (nats)")
    plain_axes(accuracy_axes, "epoch", "accuracy (%)")
    for axes in (loss_axes, accuracy_axes):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    accuracy_axes.legend(frameon=False, fontsize=9)
    return figure


def _history_lines(
    axes: Axes,
    history: Sequence[Mapping[str, Any]],
    best_epochs: Mapping[int, int],
    quantity: str,
    factor: float,
) -> None:
    marked: dict[str, Any] = {"color": "white", "markeredgecolor": BLACK, "markersize": 7}
    for number, seed in enumerate(dict.fromkeys(line["seed"] for line in history)):
        lines = [line for line in history if line["seed"] == seed]
        epochs = [line["epoch"] for line in lines]
        for split, color, dash in (("train", ORANGE, "--"), ("validation", BLUE, "-")):
            values = [factor * line[f"{split}_{quantity}"] for line in lines]
            label = split if number == 0 else None
            # A single epoch has no line to draw: the dots keep it visible.
            axes.plot(
                epochs, values, dash, marker=".", color=color, label=label, linewidth=1.4, alpha=0.8
            )
        best = [line for line in lines if line["epoch"] == best_epochs.get(seed)]
        points = [factor * line[f"validation_{quantity}"] for line in best]
        label = "evaluated epoch" if number == 0 else None
        axes.plot([line["epoch"] for line in best], points, "o", label=label, zorder=5, **marked)


def confusion_matrix(
    confusion: Num[np.ndarray, "classes classes"],
    class_names: Sequence[str],
    *,
    split: str = "test",
) -> ReportFigure:
    """Draw a confusion matrix: counts and the percentage of the true class.

    Args:
        confusion: counts (or their mean over seeds), true class first.
        class_names: one name per class.
        split: which split the title names.
    """
    num_classes = len(class_names)
    side = 2.4 + 0.72 * num_classes
    figure = ReportFigure(side + 0.6, side)
    title = f"Confusion matrix of the {split} split"
    _draw_confusion(figure, confusion, class_names, class_names, title)
    return figure


def cross_confusion_matrix(
    confusion: Num[np.ndarray, "their_classes classes"],
    their_class_names: Sequence[str],
    class_names: Sequence[str],
    *,
    dataset: str,
) -> ReportFigure:
    """Draw which of the model's classes it gives the images of another dataset.

    Args:
        confusion: counts (or their mean over seeds), true class (theirs) first.
        their_class_names, class_names: one name per row and per column.
        dataset: name of the other dataset.
    """
    figure = ReportFigure(4.0 + 0.72 * len(class_names), 2.4 + 0.72 * len(their_class_names))
    title = f"Confusion matrix on {dataset}"
    axes = _draw_confusion(figure, confusion, their_class_names, class_names, title)
    axes.set_xlabel("predicted class (of the model)")
    axes.set_ylabel(f"true class (of {dataset})")
    return figure


def _draw_confusion(
    figure: ReportFigure,
    confusion: np.ndarray,
    row_names: Sequence[str],
    column_names: Sequence[str],
    title: str,
) -> Axes:
    counts = confusion.astype(np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    percent = 100 * np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    axes = figure.subplots()
    figure.set_title(title, axes)
    # The square root lets the few errors of a good classifier show.
    picture = axes.imshow(percent, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=100))
    for row, column in np.ndindex(counts.shape):
        count = float(counts[row, column])
        axes.text(
            column,
            row,
            f"{formatting.count(count)}\n{formatting.fixed(percent[row, column], 1)} %"
            if count
            else "0",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if percent[row, column] > 36 else "0.7" if not count else "black",
        )
    labels = [short_label(name) for name in column_names]
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(row_names)), [short_label(name) for name in row_names])
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    figure.colorbar(picture, ax=axes, shrink=0.7, label="share of the true class (%)")
    return axes


def per_class_bars(per_class: Sequence[Mapping[str, Any]]) -> ReportFigure:
    """Draw precision, recall and F1 of every class with their 95 % intervals.

    Args:
        per_class: the `per_class` list of `compute_metrics`, fractions.
    """
    figure = ReportFigure(max(5.0, 1.5 + 0.95 * len(per_class)), 3.8, "Test metrics by class")
    axes = figure.subplots()
    positions = np.arange(len(per_class))
    lowest = 1.0
    for offset, (name, color) in enumerate(
        zip(CLASS_METRICS, (SKY, BLUE, ORANGE), strict=True), start=-1
    ):
        values = np.array([entry[name] for entry in per_class])
        # Without an interval (nothing was predicted, or is there) there is a bar without a whisker.
        found = [entry["intervals"][name] or [entry[name]] * 2 for entry in per_class]
        bounds = np.array(found)
        # A resampled bound can pass the estimate by rounding; matplotlib refuses such bars.
        reach = np.clip(np.stack([values - bounds[:, 0], bounds[:, 1] - values]), 0, None)
        axes.bar(
            positions + 0.27 * offset,
            100 * values,
            0.25,
            yerr=100 * reach,
            color=color,
            label="F1" if name == "f1" else name,
            error_kw={"elinewidth": 0.9, "capsize": 2, "ecolor": "0.25"},
        )
        lowest = min(lowest, float(np.min(values - reach[0])))
    plain_axes(axes, "", "%")
    axes.grid(visible=False, axis="x")
    # Bars start at zero unless every class is so good that nothing could be told apart.
    floor = 0 if lowest < 0.5 else 10 * math.floor(10 * lowest - 0.5)
    axes.set_ylim(floor, 100.5)
    if floor:
        axes.set_ylabel(f"% (axis starts at {floor})")
    labels = [short_label(entry["class"]) for entry in per_class]
    axes.set_xticks(positions, labels, rotation=25, ha="right", rotation_mode="anchor")
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def roc_curves(
    probabilities: Float[np.ndarray, "seeds samples classes"],
    labels: Integer[np.ndarray, "samples *labels"],
    per_class: Sequence[Mapping[str, Any]],
    *,
    split: str = "test",
) -> ReportFigure:
    """Draw one-vs-rest ROC curves of a split, one line per class and seed.

    The right panel enlarges the corner that good classifiers share.

    Args:
        probabilities, labels: predictions of every seed and the true classes, or 1 and 0 for each
            of several labels.
        per_class: the `per_class` list of `compute_metrics`, for names and areas.
        split: which split the title names.
    """
    figure = ReportFigure(10.0, 4.3, f"One-vs-rest ROC curves of the {split} split")
    whole, corner = figure.subplots(1, 2)
    shown = [1] if len(per_class) == 2 and labels.ndim == 1 else range(len(per_class))
    for c in shown:
        area = per_class[c].get("roc_auc")
        if area is None:
            continue
        style: dict[str, Any] = {
            "color": PALETTE[c % len(PALETTE)],
            "linestyle": _DASHES[c // len(PALETTE) % len(_DASHES)],
        }
        label = f"{short_label(per_class[c]['class'])} (AUC {formatting.fixed(area, 4)})"
        for scores in probabilities:
            there = labels == c if labels.ndim == 1 else labels[:, c]
            false_rate, true_rate, _ = roc_curve(there, scores[:, c])
            for axes in (whole, corner):
                axes.plot(false_rate, true_rate, linewidth=1.3, alpha=0.85, label=label, **style)
            label = "_another seed"
    whole.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=":")
    for axes, limits in ((whole, ((-0.02, 1.02), (-0.02, 1.02))), (corner, ((0, 0.1), (0.9, 1)))):
        plain_axes(axes, "false positive rate", "true positive rate")
        axes.set(xlim=limits[0], ylim=limits[1])
    whole.legend(frameon=False, fontsize=8, loc="lower right")
    corner.set_title("upper left corner", fontsize=10)
    return figure


def reliability_diagram(
    probabilities: Float[np.ndarray, "seeds samples classes"],
    labels: Integer[np.ndarray, " samples"],
    *,
    num_bins: int,
) -> ReportFigure:
    """Draw accuracy against confidence per bin, all seeds together, and the bins' sizes.

    Args:
        probabilities, labels: predictions of every seed and the true classes.
        num_bins: number of equal-width bins of the confidence.
    """
    confidence = probabilities.max(axis=-1).astype(np.float64).ravel()
    correct = (probabilities.argmax(axis=-1) == labels).ravel()
    bins = calibration_bins(confidence, num_bins)
    size = np.bincount(bins, minlength=num_bins)
    filled = size > 0
    accuracy = np.bincount(bins, correct, num_bins)[filled] / size[filled]
    mean_confidence = np.bincount(bins, confidence, num_bins)[filled] / size[filled]

    figure = ReportFigure(4.6, 5.0, "Reliability on the test split")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="0.6", linewidth=0.9, linestyle="--", label="calibrated")
    upper.plot(mean_confidence, accuracy, "o-", color=BLUE, linewidth=1.4, label="model")
    upper.vlines(mean_confidence, mean_confidence, accuracy, color=VERMILION, label="gap")
    upper.legend(frameon=False, fontsize=9, loc="upper left")
    centres = (np.arange(num_bins) + 0.5) / num_bins
    lower.bar(centres, 100 * size / size.sum(), 0.9 / num_bins, color=SKY)
    lower.set_yscale("log")
    lower.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    lower.minorticks_off()
    plain_axes(upper, "", "accuracy")
    plain_axes(lower, "confidence", "samples (%)")
    upper.set(xlim=(0, 1.02), ylim=(0, 1.02))
    return figure


def sample_predictions(
    images: UInt8[np.ndarray, "images height width channels"],
    labels: Integer[np.ndarray, " images"],
    probabilities: Float[np.ndarray, "images classes"],
    class_names: Sequence[str],
) -> ReportFigure:
    """Draw test images with true class, predicted class and its probability.

    Args:
        images: 1 (grey) or 3 (RGB) channels.
        labels, probabilities: of these images.
        class_names: one name per class.
    """
    columns = min(6, max(1, len(images)))
    rows = max(1, math.ceil(len(images) / columns))
    title = "Test images with their predictions"
    figure = ReportFigure(1.75 * columns, 2.15 * rows + 0.4, title)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        blank(axes)
    for axes, image, label, row in zip(grid, images, labels, probabilities, strict=False):
        axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray")
        share = f"\n{formatting.percent(float(row.max()), 1)} %"
        name_classes(axes, axes, class_names, int(row.argmax()), int(label), share)
    return figure
