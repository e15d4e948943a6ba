"""lean2025: a compact CNN with a 4-qubit circuit against a CNN, ResNet-18 and VGG-16.

Hasan et al., "A Precise Classification of Medical Images with a Cost-Efficient Quantum-Classical
Hybrid Neural Network"; its hybrid follows LCQHNN (Liu et al., arXiv 2412.02059).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hqnn_jax.config import Config
from hqnn_jax.evaluation.published import Published, PublishedTask
from hqnn_jax.experiments.paper import PaperArm, PaperRequest, Runs, link, run_arms
from hqnn_jax.experiments.tables import (
    differences_table,
    mean_and_deviation,
    over_seeds,
    paper_document,
    published_table,
)
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.document import Document, Section, Table

TITLE = (
    "A Precise Classification of Medical Images with a Cost-Efficient Quantum-Classical Hybrid "
    "Neural Network"
)
REFERENCE = "Hasan et al.; the hybrid follows LCQHNN (Liu et al., arXiv 2412.02059)"


class NetworkRow(NamedTuple):
    """A row of the published table: fractions, millions of parameters, seconds of training."""

    accuracy: float
    millions: float
    seconds: float
    precision: float
    f1: float


PUBLISHED: Mapping[str, NetworkRow] = {
    "cnn": NetworkRow(0.9998, 0.53, 457.0, 0.9999, 0.9999),
    "hybrid": NetworkRow(0.9989, 0.04, 533.0, 0.9990, 0.9990),
    "resnet18": NetworkRow(0.9997, 11.17, 5568.0, 0.9998, 0.9998),
    "vgg16": NetworkRow(0.9928, 134.28, 24631.0, 0.9930, 0.9929),
}
TASK = PublishedTask("Medical MNIST, 6 modalities, 58,954 images", dataset="medical_mnist")
"""How the images were divided is not published."""

READINGS = (
    "The paper gives the parameter counts of its two own networks and not their layers: ours have "
    "about the same counts, of plain 3×3 convolutions with batch normalisation and ReLU.",
    "The circuit's embedding axis, entangler ranges and measurement are not given. Ours embeds by "
    "RY, as the project's other circuits do, where PennyLane's default is RX; the ranges are "
    "PennyLane's defaults; ⟨Z⟩ is measured on every qubit; the angles are batch-normalised before "
    "(π/2)·tanh.",
    "The paper credits the circuit. The same network without it, four values that go straight to "
    "the logits, is an arm here.",
    "The split is not published: ours is in “What ran”, with byte-identical images kept on one "
    "side. All networks take the 64×64 images, ResNet-18 and VGG-16 start from random "
    "values.",
    "How precision and F1 are averaged over the classes is not published: ours are unweighted "
    "means. Published too: the hybrid trains 10 times faster than ResNet-18 and 46 to 50 times "
    "faster than VGG-16 (its table: 10.4 and 46.2), and is perfect for AbdomenCT, BreastMRI, "
    "ChestCT and HeadCT. The plain CNN of its table is faster than the hybrid and more accurate.",
    "Training times were measured on different machines; compare them within a column.",
)

_CONFIG = "lean2025_medical_mnist"
_CLASSICAL = (
    "model.middle=none",
    "model.feature_selection=all",
    "model.feature_scaling=none",
)
_SMALL = ("model.backbone.image_size=64", "dataset.synthetic.train_images=96", "seeds=1")

ARMS = (
    PaperArm(
        "cnn", "CNN", _CONFIG, (*_CLASSICAL, "model.backbone.name=lean_cnn", "seeds=3"), _SMALL
    ),
    PaperArm("hybrid", "Hybrid, 4 qubits", _CONFIG, ("seeds=3",), _SMALL),
    PaperArm(
        "none", "Hybrid without its circuit", _CONFIG, ("model.middle=none", "seeds=3"), _SMALL
    ),
    PaperArm(
        "resnet18", "ResNet-18", _CONFIG, (*_CLASSICAL, "model.backbone.name=resnet18"), _SMALL
    ),
    PaperArm("vgg16", "VGG-16", _CONFIG, (*_CLASSICAL, "model.backbone.name=vgg16"), _SMALL),
)


def _published(name: str) -> Published:
    row = PUBLISHED[name]
    return Published(
        title=TITLE,
        reference=REFERENCE,
        task=TASK,
        figures={"test": {"accuracy": row.accuracy, "macro_f1": row.f1}},
        train_minutes=row.seconds / 60,
        notes=READINGS,
    )


def published(config: Config) -> Published | None:
    """Return the published figures of the configured network on the six modalities, else None."""
    dataset, model = config.dataset, config.model
    names = {"lean_cnn": "cnn", "resnet18": "resnet18", "vgg16": "vgg16"}
    name = names.get(model.backbone.name)
    if model.backbone.name == "lean_hybrid" and model.middle == "quantum":
        name = "hybrid"
    if name is None or dataset.name != TASK.dataset:
        return None
    if dataset.label_map or dataset.positive_labels:
        return None
    return _published(name)


def reproduce(request: PaperRequest) -> Document:
    """Train the networks and print the paper's table."""
    # VGG-16 alone has 134 million parameters to draw and to keep.
    arms = ARMS[:3] if request.small else ARMS
    runs = run_arms(arms, request)
    tables = (
        _table(runs, request),
        published_table(arms, runs, {name: _published(name) for name in PUBLISHED}),
        *_circuit_table(runs),
    )
    results = Section("Accuracy, size and training time", tables)
    how_read = Section("How the paper was read", READINGS)
    return paper_document(TITLE, REFERENCE, (results,), how_read, arms, runs)


def _circuit_table(runs: Runs) -> tuple[Table, ...]:
    """Return what the circuit adds to its network; nothing where one of the two did not run."""
    pair = [arm for arm in ARMS if arm.name in ("hybrid", "none")]
    if any(arm.name not in runs.finished for arm in pair):
        return ()
    return (differences_table(pair, runs, "none", "accuracy"),)


def _table(runs: Runs, request: PaperRequest) -> Table:
    rows, links = [], []
    for arm in ARMS:
        run = runs.finished.get(arm.name)
        if run is None:
            continue
        theirs = PUBLISHED.get(arm.name)
        classes = run.metrics["test"]["per_class"]
        macro = {
            metric: sum(entry[metric] for entry in classes) / len(classes)
            for metric in ("precision", "recall", "f1")
        }
        rows.append(
            (
                arm.label,
                mean_and_deviation(over_seeds(run, "accuracy")),
                *(formatting.percent(macro[metric]) for metric in ("precision", "recall", "f1")),
                formatting.percent(theirs and theirs.precision),
                _millions(run.metrics["parameters"]["total"] / 1e6),
                _millions(theirs.millions) if theirs else formatting.UNDEFINED,
                formatting.duration(run.metrics["time"]["train_s"]),
                formatting.duration(theirs and theirs.seconds),
                formatting.duration(run.metrics["time"]["epoch_s"]),
            )
        )
        links.append(link(run, request))
    return Table(
        (
            "Model", "Test accuracy (%)", "Precision (%)", "Recall (%)", "F1 (%)",
            "Precision, published (%)", "Parameters", "Published", "Training, a seed", "Published",
            "One epoch",
        ),
        tuple(rows),
        note="Precision, recall and F1: unweighted means over the classes.",
        links=tuple(links),
    )  # fmt: skip


def _millions(value: float) -> str:
    return f"{formatting.fixed(value, 2)} M"
