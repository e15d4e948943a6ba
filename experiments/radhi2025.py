"""radhi2025: EfficientNet-B0 and a 6-qubit circuit on BloodMNIST.

Radhi et al., "Efficient Blood Cell Classification Using a Hybrid Variational Quantum
Circuit–EfficientNet Model on BloodMNIST", 2025.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np

from hqnn_jax.config import Config
from hqnn_jax.config.loading import load_config
from hqnn_jax.config.shipped import CONFIGS
from hqnn_jax.data.dataset import SPLIT_NAMES
from hqnn_jax.evaluation.metrics import LABELS
from hqnn_jax.evaluation.published import Published, PublishedTask
from hqnn_jax.experiments.paper import PaperArm, PaperRequest, Runs, run_arms
from hqnn_jax.experiments.tables import (
    mean_and_deviation,
    mismatch,
    paper_document,
    published_table,
    results_table,
)
from hqnn_jax.reporting import formatting, plots
from hqnn_jax.reporting.document import Document, Picture, Section, Table
from hqnn_jax.runs.described import describe_augmentation
from hqnn_jax.runs.finished import FinishedRun

TITLE = (
    "Efficient Blood Cell Classification Using a Hybrid Variational Quantum Circuit–EfficientNet "
    "Model on BloodMNIST"
)
REFERENCE = "Radhi et al., 2025"

TASK = PublishedTask(
    "BloodMNIST, 8 classes, 28 px",
    dataset="bloodmnist",
    resolution=28,
    # Full batches of 32 only: 23 of the 11,959 training images are not in its training figures.
    images={"train": 11936, "validation": 1712, "test": 3421},
)

# label: images, precision, recall, F1 (Table 6)
_TABLE_6 = {
    0: (122, 0.9084, 0.9754, 0.9407),  # basophil
    1: (312, 1.0000, 0.9968, 0.9984),  # eosinophil
    2: (155, 0.9337, 1.0000, 0.9657),  # erythroblast
    3: (290, 0.9767, 0.8690, 0.9197),  # immature granulocytes
    4: (122, 0.9524, 0.9836, 0.9677),  # lymphocyte
    5: (143, 0.9655, 0.9790, 0.9722),  # monocyte
    6: (333, 0.9620, 0.9880, 0.9748),  # neutrophil
    7: (235, 1.0000, 0.9915, 0.9957),  # platelet
}

CONTRADICTIONS = (
    "The supports of Table 6, the figures by class, add to 1,712, the size of the validation "
    "split, with which it is compared. Its column “accuracy” is the recall of the class, figure by "
    "figure, not one-vs-rest accuracy.",
    "Contradictions in the paper: its abstract calls two recalls F1; its text gives a kappa of "
    "96.39 % for the test set, which its table has for validation (test: 96.15 %); it quotes Erten "
    "with 97.77 % and, in Table 1, with 98.73 %.",
    "The published model is that after the last of 100 epochs: its validation accuracy is 96.90 %, "
    "the best epoch, 61, had 97.20 %. Its training figures are of 11,936 images, 373 full batches "
    "of 32.",
)

PUBLISHED = Published(
    title=TITLE,
    reference=REFERENCE,
    task=TASK,
    figures={
        "test": {
            "accuracy": 0.9658,
            "macro_f1": 0.9652,
            "weighted_f1": 0.9665,
            "cohen_kappa": 0.9615,
        },
        "validation": {
            "accuracy": 0.9690,
            "macro_f1": 0.9669,
            "weighted_f1": 0.9687,
            "cohen_kappa": 0.9639,
        },
        "train": {
            "accuracy": 0.9911,
            "macro_f1": 0.9912,
            "weighted_f1": 0.9911,
            "cohen_kappa": 0.9905,
        },
    },
    per_class={
        label: {"precision": precision, "recall": recall, "f1": f1}
        for label, (_, precision, recall, f1) in _TABLE_6.items()
    },
    supports={label: row[0] for label, row in _TABLE_6.items()},
    per_class_split="validation",
    train_minutes=1386.0,
    other_accuracies={
        "ResNet-18 (28 px), MedMNIST": 0.958,
        "ResNet-18 (224 px), MedMNIST": 0.963,
        "ResNet-50 (28 px), MedMNIST": 0.956,
        "ResNet-50 (224 px), MedMNIST": 0.950,
        "auto-sklearn, MedMNIST": 0.878,
        "AutoKeras, MedMNIST": 0.961,
        "Google AutoML Vision, MedMNIST": 0.966,
    },
    quoted_accuracies={
        "Erten, quoted by the paper": 0.9777,
        "Erten, quoted in its Table 1": 0.9873,
        "Singh (fully quantum, images of 7×7 and 8×8, hardware), quoted by the paper": 0.424,
        "Islam (4 classes), quoted by the paper": 0.9912,
        "Toptaş (4 classes), quoted by the paper": 0.9863,
        "Asghar (PBC, CNN; the lowest), quoted by the paper": 0.9879,
        "Asghar (PBC, CNN; the highest), quoted by the paper": 0.9991,
    },
)
BEST_EPOCH, BEST_VALIDATION_ACCURACY = 61, 0.9720
"""The best of the 100 published epochs; `PUBLISHED` is of the last one."""


@functools.cache
def readings() -> tuple[str, ...]:
    """Return how the paper was read; numbers are those of the published configuration."""
    config = load_config(CONFIGS / f"{PUBLISHED_ARM.config}.yaml")
    training, classifier = config.training, config.model.classifier.widths
    widths = ", ".join(map(str, classifier))
    return (
        *CONTRADICTIONS,
        "Readings where the paper is silent: "
        f"{describe_augmentation(training.augmentation)} (it gives no strengths of the colour "
        f"jitter); a classifier of widths {widths} and then the classes; learning rates times "
        f"{formatting.short(training.schedule.factor)} after {training.schedule.patience} epochs "
        f"without a lower validation loss; weight decay {formatting.short(training.weight_decay)}, "
        "on matrices and kernels and never on the circuit.",
        "The circuit follows the paper's Algorithm 1: H on all 6 qubits; RY(feature) on qubits 0 "
        "to 3, the first 4 of the processor's 8 features, the other 4 dropped; then 4 layers, each "
        "of RY on every qubit followed by CNOTs, on (0,1), (2,3), (4,5) in even layers and on "
        "(1,2), (3,4) in odd ones; ⟨Z⟩ on all 6 qubits. The features are the angles, not scaled.",
    )


def published(config: Config) -> Published | None:
    """Return the published figures where `config` is the published task: BloodMNIST at 28 px
    in its eight classes; None for any other dataset, size or labelling."""
    dataset = config.dataset
    same_classes = dataset.positive_labels is None and dataset.label_map is None
    if (dataset.name, dataset.resolution) != (TASK.dataset, TASK.resolution) or not same_classes:
        return None
    return dataclasses.replace(PUBLISHED, notes=(*readings(), *_differences(config)))


def _differences(config: Config) -> list[str]:
    """Return what this run does otherwise than the paper, one sentence each."""
    model, notes = config.model, []
    if model.backbone.name != "efficientnet_b0":
        notes.append(
            f"Ours is another network: {model.backbone.name} at {model.backbone.image_size} px, "
            "trained from random values, with its own processor, classifier and schedule."
        )
    elif model.backbone.frozen or model.backbone.image_size != 224:
        notes.append(
            f"Ours takes images of {model.backbone.image_size} px instead of 224"
            + (" and keeps the backbone as it was pretrained." if model.backbone.frozen else ".")
        )
    if model.middle != "quantum":
        notes.append(f"Ours has no circuit: the middle is {model.middle!r}.")
    if config.evaluation.checkpoint == "best":
        notes.append("Ours is evaluated after its best epoch by validation, the paper's last.")
    if config.evaluation.test_time_augmentation != "none":
        notes.append("Ours averages the probabilities over the eight flips and turns of an image.")
    return notes


_SMALL = ("training.batch_size=16",)
_SMALL_FROZEN = (
    *_SMALL,
    "model.backbone={name: five_layer_cnn, image_size: 28, frozen: true}",
)
PUBLISHED_ARM = PaperArm(
    "published",
    "As published, 224 px",
    "radhi2025_bloodmnist",
    ("seeds=3", "evaluation.checkpoint=last"),
)
ARMS = (
    PaperArm(
        "frozen",
        "The paper's head and circuit, frozen backbone, 112 px",
        "radhi2025_bloodmnist_frozen",
        ("seeds=3",),
        (*_SMALL_FROZEN, "seeds=1"),
    ),
    PaperArm(
        "compact",
        "The circuit behind a compact network, 28 px",
        "bloodmnist_compact",
        ("seeds=3",),
        (*_SMALL, "seeds=1", "evaluation.test_time_augmentation=none"),
    ),
)


def reproduce(request: PaperRequest) -> Document:
    """Run the arms and show the paper's tables and figures for each, validation and test.

    The published configuration takes days on a CPU and is one of the arms on accelerators only.
    """
    arms: tuple[PaperArm, ...] = ARMS
    if jax.default_backend() != "cpu" and not request.small:
        arms = (PUBLISHED_ARM, *ARMS)
    runs = run_arms(arms, request)
    told = list(readings())
    if PUBLISHED_ARM not in arms:
        told.append(
            "The published configuration, EfficientNet-B0 fine-tuned at 224 px, needs an "
            "accelerator and was not run here."
        )
    results = (
        results_table(arms, runs, request),
        published_table(arms, runs, dict.fromkeys(runs.finished, PUBLISHED)),
        _epochs_table(arms, runs),
    )
    sections = (
        Section("Results", results),
        Section("Systems the paper compares with", (_others_table(),)),
        *(
            _tables_and_figures(arm.label, runs.finished[arm.name])
            for arm in arms
            if arm.name in runs.finished
        ),
    )
    how_read = Section("How the paper was read", tuple(told))
    return paper_document(TITLE, REFERENCE, sections, how_read, arms, runs)


def _epochs_table(arms: Sequence[PaperArm], runs: Runs) -> Table:
    """Return the validation accuracy after the last epoch and after the best one, both published.

    Ours are those of the training curves: without averages over views of an image.
    """
    rows = []
    for arm in arms:
        run = runs.finished.get(arm.name)
        if run is None:
            continue
        seeds = [entry["seed"] for entry in run.metrics["seeds"]]
        curves = [
            np.asarray([e["validation_accuracy"] for e in run.history if e["seed"] == seed])
            for seed in seeds
        ]
        epochs = ", ".join(str(int(np.argmax(curve)) + 1) for curve in curves)
        comparable = mismatch(run, PUBLISHED, "validation") is None
        ours = {
            f"last, {len(curves[0])}": [curve[-1] for curve in curves],
            f"best, {epochs}": [curve.max() for curve in curves],
        }
        published = {
            "last, 100": PUBLISHED.figures["validation"]["accuracy"],
            f"best, {BEST_EPOCH}": BEST_VALIDATION_ACCURACY,
        }
        for (epoch, values), (their_epoch, theirs) in zip(
            ours.items(), published.items(), strict=True
        ):
            difference = float(np.mean(values)) - theirs if comparable else None
            rows.append(
                (
                    arm.label,
                    epoch,
                    mean_and_deviation(np.asarray(values)),
                    their_epoch,
                    formatting.percent(theirs),
                    formatting.points(difference),
                )
            )
    return Table(
        (
            "Validation accuracy", "Our epoch", "Ours (%)", "Published epoch", "Published (%)",
            "Difference (points)",
        ),
        tuple(rows),
        note="Ours: from the training curves, one view of an image; several best epochs are those "
        "of the seeds. The best epoch is chosen on the very images it is measured on.",
    )  # fmt: skip


def _others_table() -> Table:
    """Return the figures of Tables 1 and 7 and MedMNIST's own."""
    rows = [
        (name, formatting.percent(accuracy), same)
        for accuracies, same in (
            (PUBLISHED.other_accuracies, "yes"),
            (PUBLISHED.quoted_accuracies, "no, or not said"),
        )
        for name, accuracy in accuracies.items()
    ]
    return Table(("System", "Accuracy (%)", "On BloodMNIST's test split"), tuple(rows))


def _tables_and_figures(label: str, run: FinishedRun) -> Section:
    names = run.metrics["dataset"]["class_names"]
    best = {entry["seed"]: entry["best_epoch"] for entry in run.metrics["seeds"]}
    pictures = [Picture("Training curves", plots.training_curves(run.history, best))]
    for split in ("validation", "test"):
        metrics, predictions = run.metrics[split], run.predictions
        confusion = plots.confusion_matrix(
            np.asarray(metrics["confusion_matrix"]), names, split=split
        )
        curves = plots.roc_curves(
            predictions.probabilities[split],
            predictions.labels[split],
            metrics["per_class"],
            split=split,
        )
        pictures += [
            Picture(f"Confusion matrix, {split}", confusion),
            Picture(f"ROC curves, {split}", curves),
        ]
    classes = tuple(_class_table(run, split) for split in ("validation", "test"))
    return Section(label, (_split_table(run), *classes, *pictures))


def _split_table(run: FinishedRun) -> Table:
    rows = [
        (
            split,
            LABELS[metric],
            formatting.percent(run.metrics[split][metric]),
            formatting.interval(run.metrics[split]["intervals"][metric]),
        )
        for split in reversed(SPLIT_NAMES)
        for metric in PUBLISHED.figures[split]
    ]
    return Table(
        ("Split", "Metric", "Ours (%)", "95 % interval"),
        tuple(rows),
        note="Intervals: Wilson’s for accuracy, the percentile bootstrap for all others.",
    )


def _class_table(run: FinishedRun, split: str) -> Table:
    """Return the metrics of each class; beside them Table 6 where it is of this split and data."""
    compare = (
        split == PUBLISHED.per_class_split
        and run.config.dataset.name == TASK.dataset
        and mismatch(run, PUBLISHED, split) is None
    )
    rows = []
    for label, entry in enumerate(run.metrics[split]["per_class"]):
        cells = [entry["class"]]
        for metric in ("precision", "recall", "f1"):
            cells.append(formatting.percent(entry[metric]))
            if compare:
                cells.append(formatting.percent(PUBLISHED.per_class[label][metric]))
        cells += [
            formatting.percent(entry["accuracy"]),
            formatting.percent(entry["roc_auc"]),
            formatting.count(entry["support"]),
        ]
        rows.append(tuple(cells))
    names = [("Precision (%)",), ("Recall (%)",), ("F1 (%)",)]
    columns = [(*name, "published") if compare else name for name in names]
    return Table(
        (
            f"Class, {split}",
            *(name for pair in columns for name in pair),
            "Accuracy, one-vs-rest (%)",
            "ROC-AUC (%)",
            "Images",
        ),
        tuple(rows),
        note="Published: Table 6. Its “accuracy” is the recall." if compare else "",
    )
