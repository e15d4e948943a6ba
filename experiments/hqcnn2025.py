"""hqcnn2025: a five-layer CNN and a 4-qubit circuit on binary MedMNIST tasks.

"Medical Image Classification using Hybrid Quantum-Classical Neural Network", Comilla University,
2025; the published form is arXiv 2509.14277.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from experiments.paper import Arm, Request, Runs, is_synthetic, run_arms
from experiments.tables import (
    differences_table,
    missing_section,
    numbers,
    results_table,
    warnings_section,
)
from hqnn_jax.config import Config
from hqnn_jax.evaluation import formatting, plots
from hqnn_jax.evaluation.document import Document, Section, Table
from hqnn_jax.evaluation.published import Published
from hqnn_jax.progress import Progress

TITLE = "Medical Image Classification using Hybrid Quantum-Classical Neural Network"
REFERENCE = "Comilla University, 2025; arXiv 2509.14277"

POSITIVE_LABELS: Mapping[str, tuple[int, ...]] = {
    "bloodmnist": (1, 2),
    "organamnist": (1, 2),
    "pathmnist": (0, 1),
}
"""Labels that form class 1, read from the supports of the published tables."""


def _published(accuracy: float, roc_auc: float, recall: float, supports: str) -> Published:
    return Published(
        title=TITLE,
        reference=REFERENCE,
        figures={"test": {"accuracy": accuracy, "roc_auc": roc_auc}},
        per_class={1: {"recall": recall}},
        per_class_split="test",
        notes=(
            f"The supports in the published table ({supports}) equal sums of the official test "
            "counts; they fix which labels form class 1.",
            "The published recall has two digits.",
            "Readings where the paper is silent: rotations are quarter turns (exact at 28 px); the "
            "features are batch-normalised before they become angles; the learning rate follows a "
            "cosine, and an average of the parameters over the last hundred steps is evaluated, "
            "on the eight flips and turns of each image (as the configuration says).",
        ),
    )


PUBLISHED: Mapping[str, Published] = {
    "bloodmnist": _published(0.9912, 0.9991, 0.98, "935 positives of 3,421"),
    "organamnist": _published(0.9884, 0.9900, 0.90, "1,577 positives of 17,778"),
    "pathmnist": _published(0.9783, 1.0000, 0.99, "2,185 positives of 7,180"),
}


def published(config: Config) -> Published | None:
    """Return the published figures where `config` is one of the published tasks: BloodMNIST,
    OrganAMNIST or PathMNIST at 28 px with the published two classes; otherwise None."""
    dataset = config.dataset
    expected = POSITIVE_LABELS.get(dataset.name)
    if dataset.resolution != 28 or expected is None or dataset.positive_labels is None:
        return None
    same_task = set(dataset.positive_labels) == set(expected)
    return PUBLISHED[dataset.name] if same_task else None


_DATASETS = {"bloodmnist": "BloodMNIST", "organamnist": "OrganAMNIST", "pathmnist": "PathMNIST"}
_SMALL = ("training.batch_size=32", "seeds=1", "evaluation.test_time_augmentation=none")


def _arms(dataset: str, title: str) -> tuple[Arm, ...]:
    binary, classes = f"hqcnn2025_{dataset}_binary", "dataset.positive_labels=null"
    twin, seeds = "model.middle=none", "seeds=3"
    return (
        Arm(f"{dataset}_binary", f"{title}, two classes, circuit", binary, (seeds,), _SMALL),
        Arm(
            f"{dataset}_binary_cnn",
            f"{title}, two classes, classical twin",
            binary,
            (seeds, twin),
            (*_SMALL, twin),
        ),
        Arm(f"{dataset}_multi", f"{title}, all classes, circuit", binary, (seeds, classes), _SMALL),
        Arm(
            f"{dataset}_multi_cnn",
            f"{title}, all classes, classical twin",
            binary,
            (seeds, classes, twin),
            _SMALL,
        ),
    )


def reproduce(request: Request, progress: Progress) -> Document:
    """Train circuit and classical twin on the three datasets, two classes and all of them."""
    names = ("bloodmnist",) if request.small else tuple(_DATASETS)
    groups = {name: _arms(name, _DATASETS[name]) for name in names}
    if request.small:
        # On synthetic cells both tasks have the same classes; the binary pair is enough.
        groups = {name: arms[:2] for name, arms in groups.items()}
    runs = run_arms([arm for arms in groups.values() for arm in arms], request, progress)
    published = {
        f"{name}_binary": figures.figures["test"]["accuracy"] for name, figures in PUBLISHED.items()
    }
    sections = []
    for name, arms in groups.items():
        done = [arm for arm in arms if arm.name in runs.finished]
        if not done:
            continue
        tables = [results_table(done, runs, request, published)]
        for circuit, twin in zip(arms[::2], arms[1::2], strict=True):
            if circuit.name in runs.finished and twin.name in runs.finished:
                tables.append(differences_table((circuit, twin), runs, twin.name, "accuracy"))
        sections.append(_section(_DATASETS[name], done[0], runs, tuple(tables)))
    return Document(
        title=TITLE,
        reference=REFERENCE,
        sections=(
            *sections,
            *missing_section(runs),
            *warnings_section(runs),
            Section("How the paper was read", PUBLISHED["bloodmnist"].notes),
        ),
        synthetic=is_synthetic(runs),
        data=numbers(runs),
    )


def _section(title: str, arm: Arm, runs: Runs, tables: tuple[Table, ...]) -> Section:
    """The tables of a dataset, and confusion matrix, ROC curve and report of its first arm."""
    run = runs.finished[arm.name]
    test, synthetic = run.metrics["test"], run.metrics["dataset"]["synthetic"]
    rows = tuple(
        (
            entry["class"],
            *(formatting.percent(entry[metric]) for metric in ("precision", "recall", "f1")),
            formatting.count(entry["support"]),
        )
        for entry in test["per_class"]
    )
    columns = (f"{arm.label}: class", "Precision (%)", "Recall (%)", "F1 (%)", "Images")
    confusion = plots.confusion_matrix(
        np.asarray(test["confusion_matrix"]),
        run.metrics["dataset"]["class_names"],
        synthetic=synthetic,
    )
    curves = plots.roc_curves(
        run.predictions.probabilities["test"],
        run.predictions.labels["test"],
        test["per_class"],
        synthetic=synthetic,
    )
    return Section(
        title,
        tables=(*tables, Table(columns, rows)),
        figures=((f"{arm.label}: confusion matrix", confusion), (f"{arm.label}: ROC", curves)),
    )
