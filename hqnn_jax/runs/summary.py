"""The report of one run, with the published figures of its paper beside ours."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hqnn_jax import commands
from hqnn_jax.config import Config
from hqnn_jax.data.dataset import SPLIT_NAMES
from hqnn_jax.evaluation.published import Published
from hqnn_jax.models.middles import build_middle_circuit
from hqnn_jax.reporting import formatting
from hqnn_jax.runs.described import describe_data, describe_network, describe_training
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.report import write_report
from hqnn_jax.runs.stored_metrics import read_metrics, several_labels


def published_figures(config: Config) -> Published | None:
    """Return what the configured paper published for this task, None where it did not.

    Its last note says what ran, from the configuration.
    """
    if config.evaluation.paper is None:
        return None
    module = importlib.import_module(f"hqnn_jax.experiments.{config.evaluation.paper}")
    published: Published | None = module.published(config)
    if published is None:
        return None
    what_ran = "What ran: " + ". ".join(
        (
            describe_data(config.dataset),
            describe_network(config.model),
            describe_training(config),
        )
    )
    return dataclasses.replace(published, notes=(*published.notes, f"{what_ran}."))


def write_run_report(path: Path, config: Config) -> Path:
    """Write `report.html` into the folder of a finished run and return its path."""
    circuit = build_middle_circuit(config.model)
    figure = None if circuit is None else circuit.draw()
    return write_report(path, circuit_figure=figure, published=published_figures(config))


def run_summary(folder: RunFolder) -> list[str]:
    """Return the lines that the command line prints of a finished run."""
    metrics = read_metrics(folder, any_task=True)
    if several_labels(metrics):
        told = [_line_of_labels(split, metrics[split]) for split in SPLIT_NAMES]
        return [*told, *_where(folder)]
    lines = []
    for split in SPLIT_NAMES:
        found = metrics[split]
        figures = (found["accuracy"], *found["intervals"]["accuracy"], found["macro_f1"])
        accuracy, low, high, macro_f1 = (formatting.fixed(figure, 4) for figure in figures)
        line = f"{split:10} accuracy {accuracy} (95 % interval {low}–{high}), macro F1 {macro_f1}"
        if "quadratic_kappa" in found:
            line += f", quadratic kappa {formatting.fixed(found['quadratic_kappa'], 4)}"
        lines.append(line)
    lines += [
        f"on {other['name']}: accuracy {formatting.fixed(other['open']['accuracy'], 4)} among all "
        f"classes, {formatting.fixed(other['closed']['accuracy'], 4)} among the mapped ones"
        for other in metrics.get("cross_datasets", ())
    ]
    return [*lines, *_where(folder)]


def _where(folder: RunFolder) -> list[str]:
    report = f"report: {folder.report}"
    if not folder.model.exists():  # finished by an earlier version
        return [report]
    predict = commands.written("predict", folder.path, "PATH…")
    return [f"model: {folder.model}; {predict} predicts images", report]


def _line_of_labels(split: str, found: Mapping[str, Any]) -> str:
    """Return what is printed of a split where an image has several labels."""
    area, precision = found["macro_roc_auc"], found["macro_average_precision"]
    low, high = found["intervals"]["macro_roc_auc"] or (None, None)
    return (
        f"{split:10} macro ROC-AUC {formatting.fixed(area, 4)} (95 % interval "
        f"{formatting.fixed(low, 4)}–{formatting.fixed(high, 4)}), macro average precision "
        f"{formatting.fixed(precision, 4)}"
    )
