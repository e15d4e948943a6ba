"""lean2025: a compact CNN with a 4-qubit circuit against a CNN, ResNet-18 and VGG-16.

Hasan et al., "A Precise Classification of Medical Images with a Cost-Efficient Quantum-Classical
Hybrid Neural Network"; its hybrid follows LCQHNN (Liu et al., arXiv 2412.02059).
"""

from __future__ import annotations

from experiments.paper import Arm, Request, Runs, is_synthetic, link, run_arms
from experiments.tables import mean_and_deviation, missing_section, numbers, over_seeds
from experiments.tables import warnings_section as warnings
from hqnn_jax.config import Config
from hqnn_jax.evaluation import formatting
from hqnn_jax.evaluation.document import Document, Section, Table
from hqnn_jax.evaluation.published import Published
from hqnn_jax.progress import Progress

TITLE = (
    "A Precise Classification of Medical Images with a Cost-Efficient Quantum-Classical Hybrid "
    "Neural Network"
)
REFERENCE = "Hasan et al.; the hybrid follows LCQHNN (Liu et al., arXiv 2412.02059)"

# accuracy, parameters in millions, training seconds
PUBLISHED = {
    "cnn": (0.9998, 0.53, 457.0),
    "hybrid": (0.9989, 0.04, 533.0),
    "resnet18": (0.9997, 11.17, 5568.0),
    "vgg16": (0.9928, 134.28, 24631.0),
}

READINGS = (
    "The paper gives the parameter counts of its two own networks and not their layers: ours have "
    "about the same counts, of plain 3×3 convolutions with batch normalisation and ReLU. The "
    "circuit's embedding axis, entangler ranges and measurement are PennyLane's defaults, and its "
    "angles are batch-normalised before (π/2)·tanh.",
    "The split is not published: ours is stratified, 70 / 10 / 20 %, with byte-identical images "
    "kept on one side. All four networks take the 64×64 images, ResNet-18 and VGG-16 start from "
    "random values.",
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
    Arm("cnn", "CNN", _CONFIG, (*_CLASSICAL, "model.backbone.name=lean_cnn", "seeds=3"), _SMALL),
    Arm("hybrid", "Hybrid, 4 qubits", _CONFIG, ("seeds=3",), _SMALL),
    Arm("resnet18", "ResNet-18", _CONFIG, (*_CLASSICAL, "model.backbone.name=resnet18"), _SMALL),
    Arm("vgg16", "VGG-16", _CONFIG, (*_CLASSICAL, "model.backbone.name=vgg16"), _SMALL),
)


def published(config: Config) -> Published | None:
    """Return the published accuracy of the configured network on the six modalities, else None."""
    dataset, model = config.dataset, config.model
    names = {"lean_cnn": "cnn", "resnet18": "resnet18", "vgg16": "vgg16"}
    name = names.get(model.backbone.name)
    if model.backbone.name == "lean_hybrid" and model.middle == "quantum":
        name = "hybrid"
    if name is None or dataset.name != "medical_mnist":
        return None
    if dataset.label_map or dataset.positive_labels:
        return None
    accuracy, _, seconds = PUBLISHED[name]
    return Published(
        title=TITLE,
        reference=REFERENCE,
        figures={"test": {"accuracy": accuracy}},
        train_minutes=seconds / 60,
        notes=READINGS,
    )


def reproduce(request: Request, progress: Progress) -> Document:
    """Train the four networks and print the paper's table."""
    # VGG-16 alone has 134 million parameters to draw and to keep.
    arms = ARMS[:2] if request.small else ARMS
    runs = run_arms(arms, request, progress)
    return Document(
        title=TITLE,
        reference=REFERENCE,
        sections=(
            Section("Accuracy, size and training time", tables=(_table(runs, request),)),
            *missing_section(runs),
            *warnings(runs),
            Section("How the paper was read", READINGS),
        ),
        synthetic=is_synthetic(runs),
        data=numbers(runs),
    )


def _table(runs: Runs, request: Request) -> Table:
    rows, links = [], []
    for arm in ARMS:
        run = runs.finished.get(arm.name)
        if run is None:
            continue
        accuracy, millions, seconds = PUBLISHED[arm.name]
        classes = run.metrics["test"]["per_class"]
        macro = {
            metric: sum(entry[metric] for entry in classes) / len(classes)
            for metric in ("precision", "recall", "f1")
        }
        rows.append(
            (
                arm.label,
                mean_and_deviation(over_seeds(run, "accuracy")),
                formatting.percent(accuracy),
                *(formatting.percent(macro[metric]) for metric in ("precision", "recall", "f1")),
                f"{run.metrics['parameters']['total'] / 1e6:.2f} M",
                f"{millions:.2f} M",
                formatting.duration(run.metrics["time"]["train_s"]),
                formatting.duration(seconds),
                formatting.duration(run.metrics["time"]["epoch_s"]),
            )
        )
        links.append(link(run, request))
    return Table(
        (
            "Model", "Test accuracy (%)", "Published (%)", "Precision (%)", "Recall (%)", "F1 (%)",
            "Parameters", "Published", "Training, a seed", "Published", "One epoch",
        ),
        tuple(rows),
        note="Precision, recall and F1: unweighted means over the classes.",
        links=tuple(links),
    )  # fmt: skip
