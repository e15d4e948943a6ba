"""hqcnn2025: a five-layer CNN and a 4-qubit circuit on binary MedMNIST tasks.

"Medical Image Classification using Hybrid Quantum-Classical Neural Network", Comilla University,
2025; the published form is arXiv 2509.14277.
"""

from collections.abc import Mapping

from hqnn_jax.config import Config
from hqnn_jax.evaluation.published import Published

POSITIVE_LABELS: Mapping[str, tuple[int, ...]] = {
    "bloodmnist": (1, 2),
    "organamnist": (1, 2),
    "pathmnist": (0, 1),
}
"""Labels that form class 1, read from the supports of the published tables."""


def _published(accuracy: float, roc_auc: float, recall: float, supports: str) -> Published:
    return Published(
        title="Medical Image Classification using Hybrid Quantum-Classical Neural Network",
        reference="Comilla University, 2025; arXiv 2509.14277",
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
