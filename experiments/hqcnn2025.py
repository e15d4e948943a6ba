"""hqcnn2025: a five-layer CNN and a 4-qubit circuit on binary MedMNIST tasks.

"Medical Image Classification using Hybrid Quantum-Classical Neural Network", a student thesis,
Comilla University, 2025. (Another system of nearly the same name, on arXiv, is not meant.)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hqnn_jax.config import Config
from hqnn_jax.evaluation.published import Published, PublishedTask
from hqnn_jax.experiments.paper import PaperArm, PaperRequest, Runs, run_arms
from hqnn_jax.experiments.tables import (
    differences_table,
    mean_and_deviation,
    over_seeds,
    paper_document,
    published_table,
    results_table,
)
from hqnn_jax.reporting import formatting, plots
from hqnn_jax.reporting.document import Document, Picture, Section, Table
from hqnn_jax.runs.finished import FinishedRun

TITLE = "Medical Image Classification using Hybrid Quantum-Classical Neural Network"
REFERENCE = "Student thesis, Comilla University, 2025"

POSITIVE_LABELS: Mapping[str, tuple[int, ...]] = {
    "bloodmnist": (1, 2),
    "organamnist": (1, 2),
    "pathmnist": (0, 1),
}
"""Labels that form class 1, read from the supports of the published tables."""


class ClassRow(NamedTuple):
    """A row of Tables 4 to 6, of a class or of the means over both; fractions of two digits."""

    precision: float
    recall: float
    f1: float
    support: int


class Thesis(NamedTuple):
    """What the thesis publishes of one dataset.

    Attributes:
        images: of the official test split; the supports add to it.
        accuracy, roc_auc: of the hybrid.
        classes: rows of class 0 and 1; `macro`: their means (precision, recall, F1).
        benchmark: accuracy and ROC-AUC of Table 3's CNN.
    """

    images: int
    accuracy: float
    roc_auc: float
    classes: tuple[ClassRow, ClassRow]
    macro: tuple[float, float, float]
    benchmark: tuple[float, float]


THESIS: Mapping[str, Thesis] = {
    "bloodmnist": Thesis(
        3421, 0.9912, 0.9991,
        (ClassRow(0.99, 1.00, 0.99, 2486), ClassRow(0.99, 0.98, 0.98, 935)),
        (0.99, 0.99, 0.99), (0.7260, 0.8864),
    ),
    "organamnist": Thesis(
        17778, 0.9884, 0.9900,
        (ClassRow(0.99, 1.00, 0.99, 16201), ClassRow(0.97, 0.90, 0.93, 1577)),
        (0.98, 0.95, 0.96), (0.9762, 0.9929),
    ),
    "pathmnist": Thesis(
        7180, 0.9783, 1.0000,
        (ClassRow(0.99, 0.97, 0.98, 4995), ClassRow(0.94, 0.99, 0.97, 2185)),
        (0.97, 0.98, 0.97), (0.6899, 0.9300),
    ),
}  # fmt: skip
_DATASETS = {"bloodmnist": "BloodMNIST", "organamnist": "OrganAMNIST", "pathmnist": "PathMNIST"}

CONTRADICTIONS = (
    "Contradictions in the thesis: it says that the hybrid outperforms the CNN on all datasets, "
    "but on OrganAMNIST its ROC-AUC is below the CNN's (99.00 against 99.29 %). It speaks of an "
    "80/20 division, while the supports of its tables are those of the official test splits. "
    "PathMNIST's ROC-AUC of 100.00 % stands beside an accuracy of 97.83 %: it is computed from "
    "labels. BloodMNIST's ROC-AUC is 99.91 % in one place and 99.916 % in Table 3.",
)
READINGS = (
    "Silent in the thesis: the order of the parts of a layer, the embedding's axis and the qubits "
    "that CNOTs join. Ours: the data enter once, by RY; each of the 3 layers has RY, RZ, CNOTs on "
    "neighbours (q, q+1) and one strongly entangling layer, in this order, with weights of its "
    "own; ⟨Z⟩ is measured on every qubit. Random rotations are quarter turns, exact at 28 px. Only "
    "the last of the five convolutions is padded, the only one the thesis names padding for; the "
    "widths of the layers behind the circuit are ours.",
    "As published: Adam at a constant rate, 10 epochs, no average of the parameters, no test-time "
    "views. What ours does otherwise is in “What ran”; training.schedule.name=constant "
    "training.average_decay=0 evaluation.test_time_augmentation=none evaluation.checkpoint=last "
    "trains and evaluates as published.",
)


def _supports(name: str) -> str:
    negatives, positives = (row.support for row in THESIS[name].classes)
    labels = " and ".join(map(str, POSITIVE_LABELS[name]))
    return (
        f"{_DATASETS[name]}: the supports of the published table, {formatting.count(negatives)} "
        f"and {formatting.count(positives)}, equal sums of the official test counts; they fix that "
        f"class 1 is made of the labels {labels}. Its figures have two digits."
    )


def _published(name: str) -> Published:
    thesis = THESIS[name]
    return Published(
        title=TITLE,
        reference=REFERENCE,
        task=PublishedTask(
            f"{_DATASETS[name]}, labels {' and '.join(map(str, POSITIVE_LABELS[name]))} against "
            "the rest",
            dataset=name,
            resolution=28,
            positive_labels=POSITIVE_LABELS[name],
            images={"test": thesis.images},
        ),
        figures={
            "test": {
                "accuracy": thesis.accuracy,
                "macro_f1": thesis.macro[2],
                "roc_auc": thesis.roc_auc,
            }
        },
        per_class={
            label: {"precision": row.precision, "recall": row.recall, "f1": row.f1}
            for label, row in enumerate(thesis.classes)
        },
        supports={label: row.support for label, row in enumerate(thesis.classes)},
        per_class_split="test",
        other_accuracies={"CNN, Table 3 of the thesis": thesis.benchmark[0]},
        notes=(_supports(name), *READINGS, *CONTRADICTIONS),
    )


PUBLISHED: Mapping[str, Published] = {name: _published(name) for name in THESIS}


def published(config: Config) -> Published | None:
    """Return the published figures where `config` is one of the published tasks: BloodMNIST,
    OrganAMNIST or PathMNIST at 28 px with the published two classes; otherwise None."""
    dataset = config.dataset
    expected = POSITIVE_LABELS.get(dataset.name)
    if dataset.resolution != 28 or expected is None or dataset.positive_labels is None:
        return None
    same_task = set(dataset.positive_labels) == set(expected)
    return PUBLISHED[dataset.name] if same_task else None


_SMALL = ("training.batch_size=32", "seeds=1", "evaluation.test_time_augmentation=none")


def _arms(dataset: str, title: str) -> tuple[PaperArm, ...]:
    binary, classes = f"hqcnn2025_{dataset}_binary", "dataset.positive_labels=null"
    twin, seeds = "model.middle=none", "seeds=3"
    return (
        PaperArm(f"{dataset}_binary", f"{title}, two classes, circuit", binary, (seeds,), _SMALL),
        PaperArm(
            f"{dataset}_binary_cnn",
            f"{title}, two classes, classical twin",
            binary,
            (seeds, twin),
            (*_SMALL, twin),
        ),
        PaperArm(
            f"{dataset}_multi", f"{title}, all classes, circuit", binary, (seeds, classes), _SMALL
        ),
        PaperArm(
            f"{dataset}_multi_cnn",
            f"{title}, all classes, classical twin",
            binary,
            (seeds, classes, twin),
            _SMALL,
        ),
    )


def reproduce(request: PaperRequest) -> Document:
    """Train circuit and classical twin on the three datasets, two classes and all of them."""
    names = ("bloodmnist",) if request.small else tuple(_DATASETS)
    groups = {name: _arms(name, _DATASETS[name]) for name in names}
    if request.small:
        # On synthetic cells both tasks have the same classes; the binary pair is enough.
        groups = {name: arms[:2] for name, arms in groups.items()}
    arms = [arm for group in groups.values() for arm in group]
    runs = run_arms(arms, request)
    of_datasets = (_sections(name, group, runs, request) for name, group in groups.items())
    told = (*(_supports(name) for name in groups), *READINGS, *CONTRADICTIONS)
    return paper_document(
        TITLE,
        REFERENCE,
        (*itertools.chain(*of_datasets), _benchmark(tuple(groups), runs)),
        Section("How the thesis was read", told),
        arms,
        runs,
    )


def _sections(
    name: str, arms: Sequence[PaperArm], runs: Runs, request: PaperRequest
) -> Iterator[Section]:
    """Yield the section of a dataset; none where no arm of it was run."""
    done = [arm for arm in arms if arm.name in runs.finished]
    if not done:
        return
    tables = [
        results_table(done, runs, request),
        published_table(done, runs, {f"{name}_binary": PUBLISHED[name]}),
    ]
    for circuit, twin in zip(arms[::2], arms[1::2], strict=True):
        if circuit in done and twin in done:
            tables.append(differences_table((circuit, twin), runs, twin.name, "accuracy"))
    run = runs.finished[done[0].name]
    yield Section(
        _DATASETS[name],
        (
            *tables,
            _class_table(done[0], run, published(run.config)),
            *_curves(done[0], run),
        ),
    )


def _benchmark(names: Sequence[str], runs: Runs) -> Section:
    """Return Table 3 of the thesis, its CNN and its hybrid, beside our classical twin."""
    rows = []
    for name in names:
        thesis, ours = THESIS[name], runs.finished.get(f"{name}_binary_cnn")
        real = ours is not None and not ours.metrics["dataset"]["synthetic"]
        rows.append(
            (
                _DATASETS[name],
                *map(formatting.percent, thesis.benchmark),
                formatting.percent(thesis.accuracy),
                formatting.percent(thesis.roc_auc),
                *(
                    mean_and_deviation(over_seeds(ours, metric))
                    if ours is not None and real
                    else formatting.UNDEFINED
                    for metric in ("accuracy", "roc_auc")
                ),
            )
        )
    return Section(
        "Table 3 of the thesis: its CNN beside its hybrid",
        (
            Table(
                (
                    "Two classes", "CNN, published: accuracy (%)", "ROC-AUC (%)",
                    "Hybrid, published: accuracy (%)", "ROC-AUC (%)",
                    "Our classical twin: accuracy (%)", "ROC-AUC (%)",
                ),
                tuple(rows),
                note="Our twin is our hybrid without its circuit.",
            ),
        ),
    )  # fmt: skip


def _class_table(arm: PaperArm, run: FinishedRun, theirs: Published | None) -> Table:
    """Return the classification report, Tables 4 to 6, with the published figures beside ours.

    `theirs` is None where the arm's classes are not the published ones.
    """
    classes = run.metrics["test"]["per_class"]
    rows = [_class_row(entry, theirs, label) for label, entry in enumerate(classes)]
    means = [
        float(np.mean([entry[metric] for entry in classes])) for metric in ("precision", "recall")
    ]
    means.append(run.metrics["test"]["macro_f1"])
    macro = None if theirs is None else THESIS[str(theirs.task.dataset)].macro
    rows.append(
        (
            "mean over the classes",
            *_pairs(means, macro),
            formatting.count(sum(entry["support"] for entry in classes)),
            formatting.UNDEFINED
            if theirs is None
            else formatting.count(theirs.task.images["test"]),
        )
    )
    return Table(
        (
            f"{arm.label}: class", "Precision (%)", "published", "Recall (%)", "published",
            "F1 (%)", "published", "Images", "published",
        ),
        tuple(rows),
    )  # fmt: skip


def _class_row(entry: Mapping[str, Any], theirs: Published | None, label: int) -> tuple[str, ...]:
    names = ("precision", "recall", "f1")
    figures = None if theirs is None else [theirs.per_class[label][name] for name in names]
    return (
        entry["class"],
        *_pairs([entry[name] for name in names], figures),
        formatting.count(entry["support"]),
        formatting.UNDEFINED if theirs is None else formatting.count(theirs.supports[label]),
    )


def _pairs(ours: Sequence[float], theirs: Sequence[float] | None) -> Iterator[str]:
    """Yield each of our figures in per cent, followed by the published one (two digits)."""
    for position, value in enumerate(ours):
        yield formatting.percent(value)
        yield formatting.percent(None if theirs is None else theirs[position], 0)


def _curves(arm: PaperArm, run: FinishedRun) -> tuple[Picture, ...]:
    """Return confusion matrix and ROC curves of an arm, with captions."""
    test = run.metrics["test"]
    confusion = plots.confusion_matrix(
        np.asarray(test["confusion_matrix"]),
        run.metrics["dataset"]["class_names"],
    )
    curves = plots.roc_curves(
        run.predictions.probabilities["test"],
        run.predictions.labels["test"],
        test["per_class"],
    )
    return (
        Picture(f"{arm.label}: confusion matrix", confusion),
        Picture(f"{arm.label}: ROC", curves),
    )
