"""The self-contained HTML report of a run, and the comparison of several runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from matplotlib.figure import Figure

from hqnn_jax.config import ModelConfig
from hqnn_jax.config.names import MIDDLES
from hqnn_jax.errors import RunFolderError
from hqnn_jax.evaluation.metrics import BOOTSTRAP, CLASS_METRICS, LABELS, METRICS
from hqnn_jax.evaluation.published import SPLITS, Published
from hqnn_jax.files import write_atomically
from hqnn_jax.reporting import formatting, plots
from hqnn_jax.reporting.explanation_plots import explanations
from hqnn_jax.reporting.pages import page_environment
from hqnn_jax.runs.finished import FinishedRun, StoredExplanations, load_run


def write_report(
    run_dir: Path, *, circuit_figure: Figure | None = None, published: Published | None = None
) -> Path:
    """Write `report.html` into the folder of a finished run.

    The page needs no network, no JavaScript and no other file: figures are embedded. An earlier
    report is replaced in one step.

    Args:
        run_dir: folder with `config.yaml`, `metrics.json`, `history.jsonl`, `predictions.npz` and
            `environment.json`.
        circuit_figure: drawing of the circuit; None leaves that figure out.
        published: figures to show beside ours; None leaves that section out.

    Returns:
        The path of the report.

    Raises:
        RunFolderError: when the folder is not that of a finished run or cannot be written.
        ConfigurationError: when its `config.yaml` cannot be used.
    """
    run = load_run(run_dir)
    html = (
        page_environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            metrics=run.metrics,
            dataset=run.metrics["dataset"],
            model=describe_model(run.config.model),
            splits=SPLITS,
            scalar_metrics=tuple(METRICS),
            class_metrics=CLASS_METRICS,
            fallback_method=BOOTSTRAP,
            published=published,
            mismatches={} if published is None else _mismatches(run, published),
            comparison=[] if published is None else _compare_scalars(run, published),
            class_comparison=[] if published is None else _compare_classes(run, published),
            figures=_figures(run, circuit_figure),
            cross_datasets=_cross_datasets(run),
        )
    )
    write_atomically(run.files.report, html.encode())
    return run.files.report


def compare_runs(run_dirs: Sequence[Path], out: Path) -> Path:
    """Write one HTML page with several finished runs side by side.

    Args:
        run_dirs: folders of finished runs, in the order of the rows.
        out: file to write; links to the runs' reports are relative to it.

    Returns:
        `out`.

    Raises:
        RunFolderError: without folders, when one is not that of a finished run, or when `out`
            cannot be written.
        ConfigurationError: for an unusable `config.yaml`.
    """
    if not run_dirs:
        raise RunFolderError("compare: no run folder given; expected at least one finished run")
    runs = [load_run(run_dir) for run_dir in run_dirs]
    rows = [
        {
            "run": run,
            "link": _link(run.files.report, out),
            "model": describe_model(run.config.model),
        }
        for run in runs
    ]
    fingerprints = {run.metrics["dataset"]["fingerprint"] for run in runs}
    html = (
        page_environment()
        .get_template("comparison.html.j2")
        .render(rows=rows, scalar_metrics=tuple(METRICS), same_dataset=len(fingerprints) == 1)
    )
    write_atomically(out, html.encode())
    return out


def describe_model(model: ModelConfig) -> dict[str, str]:
    """Return what tables say of a model: its backbone and its middle."""
    circuit = model.circuit
    size = f"{circuit.name}, {circuit.num_qubits} qubits, {circuit.num_layers} layers"
    middle = MIDDLES[model.middle].description.format(circuit=size)
    backbone = f"{model.backbone.name} at {model.backbone.image_size} px"
    if model.backbone.frozen:
        backbone += ", frozen"
    return {"backbone": backbone, "middle": middle}


def _mismatches(run: FinishedRun, published: Published) -> dict[str, str | None]:
    """Return for every split why its published figures are of other data, None if of the same."""
    return {
        split: published.task.mismatch(split, run.config, len(run.predictions.labels[split]))
        for split in SPLITS
    }


def _comparison_row(
    split: str,
    label: str,
    metric: str,
    values: Mapping[str, Any],
    published: float,
    mismatch: str | None,
) -> dict[str, Any]:
    ours, bounds = values[metric], values["intervals"][metric]
    row = {
        "split": split,
        "label": label,
        "metric": metric,
        "published": published,
        "ours": ours,
        "interval": bounds,
    }
    if mismatch is not None:
        return row | {"difference": None, "inside": None}
    return row | {
        "difference": None if ours is None else ours - published,
        "inside": None if bounds is None else bounds[0] <= published <= bounds[1],
    }


def _compare_scalars(run: FinishedRun, published: Published) -> list[dict[str, Any]]:
    mismatches = _mismatches(run, published)
    return [
        _comparison_row(split, "", metric, run.metrics[split], value, mismatches[split])
        for split in reversed(SPLITS)
        for metric, value in published.figures.get(split, {}).items()
    ]


def _compare_classes(run: FinishedRun, published: Published) -> list[dict[str, Any]]:
    split = published.per_class_split
    if split is None:
        return []
    ours = run.metrics[split]["per_class"]
    outside = [label for label in published.per_class if label >= len(ours)]
    if outside:
        raise RunFolderError(
            f"{run.files.path}: the published figures have a class {outside[0]}, the run has only "
            f"{len(ours)} classes; remove evaluation.paper or use the paper's task"
        )
    mismatch = _mismatches(run, published)[split]
    return [
        _comparison_row(split, ours[label]["class"], metric, ours[label], value, mismatch)
        for label, values in sorted(published.per_class.items())
        for metric, value in values.items()
    ]


def _figures(run: FinishedRun, circuit_figure: Figure | None) -> list[dict[str, str]]:
    """Return every figure as title, note and data URI."""
    test, predictions = run.metrics["test"], run.predictions
    names, synthetic = run.metrics["dataset"]["class_names"], run.metrics["dataset"]["synthetic"]
    probabilities, labels = predictions.probabilities["test"], predictions.labels["test"]
    best = {entry["seed"]: entry["best_epoch"] for entry in run.metrics["seeds"]}
    each, mean, first = "", "", ""
    if len(best) > 1:
        each, mean = " One line per seed.", " Mean over seeds."
        first = f" Predicted by seed {predictions.seeds[0]}."
    curves = plots.training_curves(run.history, best, synthetic=synthetic)
    confusion = plots.confusion_matrix(
        np.asarray(test["confusion_matrix"]), names, synthetic=synthetic
    )
    bars = plots.per_class_bars(test["per_class"], synthetic=synthetic)
    roc = plots.roc_curves(probabilities, labels, test["per_class"], synthetic=synthetic)
    reliability = plots.reliability_diagram(
        probabilities,
        labels,
        num_bins=run.config.evaluation.calibration_bins,
        synthetic=synthetic,
    )
    samples = plots.sample_predictions(
        predictions.sample_images,
        labels[predictions.sample_indices],
        probabilities[0, predictions.sample_indices],
        names,
        synthetic=synthetic,
    )
    marks = "✓ and thin frame: right. ✗ and heavy frame: wrong, with the true class."
    figures = [
        _figure("Training curves", f"Circles mark the evaluated epoch.{each}", curves),
        _figure(
            "Confusion matrix",
            f"Images, and their share of the true class; the colour scale is that of the square "
            f"root, so that rare errors show.{mean}",
            confusion,
        ),
        _figure("Per-class metrics", f"With 95 % intervals: {_methods(run)}.{mean}", bars),
        _figure("ROC curves", f"Each class against all others.{each}", roc),
        _figure(
            "Reliability diagram",
            "Accuracy among images predicted with a given confidence, all seeds together."
            if mean
            else "Accuracy among images predicted with a given confidence.",
            reliability,
        ),
        _figure("Sample predictions", marks + first, samples, "png"),
    ]
    if run.explanations is not None:
        figures.append(_explanations_figure(run, run.explanations))
    if circuit_figure is not None:
        middle = describe_model(run.config.model)["middle"]
        figures.append(_figure("Circuit", f"The {middle}.", circuit_figure))
    return figures


def _methods(run: FinishedRun) -> str:
    """Say how the intervals of the classes' metrics were made when the run was evaluated."""
    methods = run.metrics["test"].get("interval_methods", {})
    names = ((LABELS[name], methods.get(name, BOOTSTRAP)) for name in CLASS_METRICS)
    return ", ".join(f"{name} {method}" for name, method in names)


def _explanations_figure(run: FinishedRun, explained: StoredExplanations) -> dict[str, str]:
    figure = explanations(
        explained.images,
        explained.cams,
        explained.attributions,
        explained.labels,
        explained.predicted,
        run.metrics["dataset"]["class_names"],
        synthetic=run.metrics["dataset"]["synthetic"],
    )
    note = (
        "Grad-CAM: the brighter, the more this place of the last convolutional stage speaks for "
        "the predicted class. Integrated gradients, from the image’s mean colour: blue speaks for "
        "the predicted class, red against it; they add up to the difference of the logits within "
        f"{formatting.percent(explained.completeness_error(), 1)} %. Both show what the model "
        "reacts to, which need not be what is medically relevant. Half of the images are wrongly "
        f"classified, as far as there are such. Model of seed {run.predictions.seeds[0]}."
    )
    return _figure("Explained predictions", note, figure, "png")


def _cross_datasets(run: FinishedRun) -> list[dict[str, Any]]:
    """Return the evaluations on other datasets, each with its figure."""
    sections = []
    for entry in run.metrics.get("cross_datasets", ()):
        figure = plots.cross_confusion_matrix(
            np.asarray(entry["open"]["confusion_matrix"]),
            entry["class_names"],
            entry["model_class_names"],
            dataset=entry["name"],
            synthetic=entry["synthetic"],
        )
        note = "Images, and their share of the true class." + (
            " Mean over seeds." if len(entry["seeds"]) > 1 else ""
        )
        title = f"Confusion matrix on {entry['name']}"
        names_there: dict[str, list[str]] = {}
        for theirs, ours in entry["config"]["class_map"].items():
            names_there.setdefault(ours, []).append(theirs)
        sections.append(
            {**entry, "names_there": names_there, "figure": _figure(title, note, figure)}
        )
    return sections


def _figure(
    title: str, note: str, figure: Figure, kind: Literal["svg", "png"] = "svg"
) -> dict[str, str]:
    return {"title": title, "note": note, "uri": plots.data_uri(figure, kind)}


def _link(report: Path, page: Path) -> str | None:
    """Return the relative, URL-quoted link from `page` to a report, None if it is not there."""
    if not report.is_file():
        return None
    relative = Path(os.path.relpath(report.resolve(), page.resolve().parent))
    return quote(relative.as_posix())
