"""The figures of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hqnn_jax.evaluation.metrics import CLASS_METRICS, LABELS
from hqnn_jax.reporting import formatting, plots
from hqnn_jax.reporting.document import Picture
from hqnn_jax.reporting.explanation_plots import explanations
from hqnn_jax.runs.described import brief_model
from hqnn_jax.runs.finished import FinishedRun, StoredExplanations
from hqnn_jax.runs.stored_metrics import interval_method


def pictures(run: FinishedRun, circuit_figure: Figure | None) -> tuple[Picture, ...]:
    """Return every figure of a run; None leaves the drawing of the circuit out."""
    if run.several_labels:
        return (*_of_labels(run), *_of_the_model(run, circuit_figure))
    return (*_curves(run), *_of_predictions(run), *_of_the_model(run, circuit_figure))


def cross_picture(entry: Mapping[str, Any]) -> Picture:
    """Return the confusion matrix on another dataset; `entry` is that of `metrics.json`."""
    figure = plots.cross_confusion_matrix(
        np.asarray(entry["open"]["confusion_matrix"]),
        entry["class_names"],
        entry["model_class_names"],
        dataset=entry["name"],
    )
    caption = "Images, and their share of the true class." + (
        " Mean over seeds." if len(entry["seeds"]) > 1 else ""
    )
    return Picture(caption, figure, f"Confusion matrix on {entry['name']}")


def _over_seeds(run: FinishedRun, text: str) -> str:
    return text if len(run.seeds) > 1 else ""


def _training_curves(run: FinishedRun) -> Picture:
    best = {entry["seed"]: entry["best_epoch"] for entry in run.metrics["seeds"]}
    return Picture(
        f"Circles mark the evaluated epoch.{_over_seeds(run, ' One line per seed.')}",
        plots.training_curves(run.history, best),
        "Training curves",
    )


def _curves(run: FinishedRun) -> Iterator[Picture]:
    test, mean = run.metrics["test"], _over_seeds(run, " Mean over seeds.")
    yield _training_curves(run)
    yield Picture(
        "Images, and their share of the true class; the colour scale is that of the square root, "
        f"so that rare errors show.{mean}",
        plots.confusion_matrix(
            np.asarray(test["confusion_matrix"]), run.metrics["dataset"]["class_names"]
        ),
        "Confusion matrix",
    )
    yield Picture(
        f"With 95 % intervals: {_methods(run)}.{mean}",
        plots.per_class_bars(test["per_class"]),
        "Per-class metrics",
    )


def _of_labels(run: FinishedRun) -> Iterator[Picture]:
    """Yield the figures where an image has several labels: no one class is right or wrong."""
    test = run.metrics["test"]
    mean = _over_seeds(run, " Mean over seeds.")
    yield _training_curves(run)
    yield Picture(
        f"With 95 % intervals: {_methods(run)}.{mean}",
        plots.per_class_bars(test["per_class"]),
        "Metrics of each label",
    )
    yield Picture(
        f"Images with each label against those without.{_over_seeds(run, ' One line per seed.')}",
        plots.roc_curves(
            run.predictions.probabilities["test"],
            run.predictions.labels["test"],
            test["per_class"],
        ),
        "ROC curves",
    )


def _methods(run: FinishedRun) -> str:
    """Say how the intervals of the classes' metrics were made when the run was evaluated."""
    test = run.metrics["test"]
    return ", ".join(f"{LABELS[name]} {interval_method(test, name)}" for name in CLASS_METRICS)


def _of_predictions(run: FinishedRun) -> Iterator[Picture]:
    predictions = run.predictions
    probabilities, labels = predictions.probabilities["test"], predictions.labels["test"]
    yield Picture(
        f"Each class against all others.{_over_seeds(run, ' One line per seed.')}",
        plots.roc_curves(probabilities, labels, run.metrics["test"]["per_class"]),
        "ROC curves",
    )
    yield Picture(
        "Accuracy among images predicted with a given confidence"
        f"{_over_seeds(run, ', all seeds together')}.",
        plots.reliability_diagram(
            probabilities, labels, num_bins=run.config.evaluation.calibration_bins
        ),
        "Reliability diagram",
    )
    yield Picture(
        "✓ and thin frame: right. ✗ and heavy frame: wrong, with the true class."
        + _over_seeds(run, f" Predicted by seed {predictions.seeds[0]}."),
        plots.sample_predictions(
            predictions.sample_images,
            labels[predictions.sample_indices],
            probabilities[0, predictions.sample_indices],
            run.metrics["dataset"]["class_names"],
        ),
        "Sample predictions",
        "png",
    )


def _of_the_model(run: FinishedRun, circuit_figure: Figure | None) -> Iterator[Picture]:
    if run.explanations is not None:
        yield _explained(run, run.explanations)
    if circuit_figure is not None:
        _, middle = brief_model(run.config.model)
        yield Picture(f"The {middle}.", circuit_figure, "Circuit")


def _explained(run: FinishedRun, explained: StoredExplanations) -> Picture:
    figure = explanations(
        explained.images,
        explained.cams,
        explained.attributions,
        explained.labels,
        explained.predicted,
        run.metrics["dataset"]["class_names"],
    )
    caption = (
        "Grad-CAM: the brighter, the more this place of the last convolutional stage speaks for "
        "the predicted class. Integrated gradients, from the image’s mean colour: blue speaks for "
        "the predicted class, red against it; they add up to the difference of the logits within "
        f"{formatting.percent(explained.completeness_error(), 1)} %. Both show what the model "
        "reacts to, which need not be what is medically relevant. Half of the images are wrongly "
        f"classified, as far as there are such. Model of seed {run.predictions.seeds[0]}."
    )
    return Picture(caption, figure, "Explained predictions", "png")
