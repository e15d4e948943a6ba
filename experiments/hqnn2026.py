"""hqnn2026: ResNet-50, a bottleneck and a circuit, against two classical arms.

"Enhancing Blood Cells Classification using Hybrid Quantum Neural Networks", arXiv 2605.23324. Only
the abstract is available.
"""

from __future__ import annotations

from collections.abc import Sequence

from experiments.paper import Arm, Request, Runs, is_synthetic, run_arms
from experiments.tables import (
    differences_table,
    missing_section,
    numbers,
    results_table,
    warnings_section,
)
from hqnn_jax.config import Config
from hqnn_jax.evaluation.document import Document, Section
from hqnn_jax.evaluation.published import Published
from hqnn_jax.progress import Progress

TITLE = "Enhancing Blood Cells Classification using Hybrid Quantum Neural Networks"
REFERENCE = "arXiv 2605.23324 (abstract only)"

PUBLISHED_ACCURACY = {"pbc_quantum": 0.9869, "pbc_none": 0.9854}

READINGS = (
    "The abstract names the parts and no sizes. Readings: the bottleneck is as wide as the circuit "
    "has qubits, 4; its values become angles by (π/2)·tanh; RY angle embedding and 2 strongly "
    "entangling layers; the classical arm matched to the circuit is Linear(+tanh) from and to the "
    "same widths with a parameter count within 10 % of the circuit's; the baseline has no layer "
    "there. One summary speaks of a contrastive objective on the circuit's output: its arm adds a "
    "supervised-contrastive term of weight 0.1.",
    "Published: 98.69 % (circuit) against 98.54 % (classical) on the full PBC set; on Blood Cell "
    "Images up to 3.7 points of macro F1 over the classical model. Which classical arm is meant is "
    "not said; it is put beside the baseline here.",
    "Ours keeps ResNet-50 as it was pretrained; the paper's own training is not described.",
)

_SMALL = (
    "model.backbone={name: five_layer_cnn, image_size: 28, frozen: true}",
    "training.epochs=3",
    "seeds=2",
)


# The frozen backbone is the same in all arms: explaining the first one is enough.
_PLAIN = "evaluation.explained_images=0"


def _arms(dataset: str, title: str) -> tuple[Arm, ...]:
    config = f"hqnn2026_{dataset}"
    return tuple(
        Arm(f"{dataset}_{name}", f"{title}, {label}", config, ("seeds=5", *overrides), _SMALL)
        for name, label, overrides in (
            ("quantum", "circuit", ("model.middle=quantum",)),
            ("contrastive", "circuit, contrastive", ("training.contrastive_weight=0.1", _PLAIN)),
            ("matched", "matched classical layer", ("model.middle=matched", _PLAIN)),
            ("none", "no middle layer", ("model.middle=none", _PLAIN)),
        )
    )


PBC = _arms("pbc", "PBC")
BLOOD_CELL_IMAGES = _arms("blood_cell_images", "Blood Cell Images")


def published(config: Config) -> Published | None:
    """Return the published figures where `config` is the quantum arm or the baseline on all 8
    classes of PBC; otherwise None."""
    dataset, middle = config.dataset, config.model.middle
    accuracy = PUBLISHED_ACCURACY.get(f"{dataset.name}_{middle}")
    if accuracy is None or dataset.label_map or dataset.positive_labels:
        return None
    return Published(
        title=TITLE,
        reference=REFERENCE,
        figures={"test": {"accuracy": accuracy}},
        notes=READINGS,
    )


def reproduce(request: Request, progress: Progress) -> Document:
    """Train the arms on both datasets and compare them seed by seed."""
    # The small variant draws the same synthetic cells for both.
    groups = (PBC,) if request.small else (PBC, BLOOD_CELL_IMAGES)
    runs = run_arms([arm for group in groups for arm in group], request, progress)
    done = [[arm for arm in group if arm.name in runs.finished] for group in groups]
    results = [_results(group, runs, request) for group in done if group]
    return Document(
        title=TITLE,
        reference=REFERENCE,
        sections=(
            *results,
            *missing_section(runs),
            *warnings_section(runs),
            Section("How the paper was read", READINGS),
        ),
        synthetic=is_synthetic(runs),
        data=numbers(runs),
    )


def _results(group: Sequence[Arm], runs: Runs, request: Request) -> Section:
    references = [arm for arm in group if arm.name.endswith(("_matched", "_none"))]
    # The published gain is over a classical model; the matched one answers what the circuit adds.
    differences = [
        differences_table(group, runs, reference.name, metric)
        for metric in ("accuracy", "macro_f1")
        for reference in references
    ]
    return Section(
        group[0].label.split(",")[0],
        tables=(results_table(group, runs, request, PUBLISHED_ACCURACY), *differences),
    )
