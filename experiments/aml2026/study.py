"""aml2026: a 4-qubit circuit, equilibrium propagation and their baselines on two kinds of cell.

"Analyzing Images of Blood Cells with Quantum Machine Learning Methods", arXiv:2601.18710.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field, field_validator, model_validator

from hqnn_jax.config import Config, DatasetConfig
from hqnn_jax.config.base import ConfigSection, known
from hqnn_jax.config.loading import load_section
from hqnn_jax.config.shipped import CONFIGS
from hqnn_jax.data.loading import load_pool
from hqnn_jax.data.pool import ImagePool
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.experiments.aml2026 import arms as aml2026_arms
from hqnn_jax.experiments.aml2026 import circuits as aml2026_circuits
from hqnn_jax.experiments.aml2026.arms import ArmOutcome, DenseConfig, SvmConfig
from hqnn_jax.experiments.aml2026.cells import Cells, StoredCell, StoredVariance
from hqnn_jax.experiments.aml2026.circuits import VqcConfig
from hqnn_jax.experiments.aml2026.cnn import CnnConfig, cnn
from hqnn_jax.experiments.aml2026.data import (
    Parts,
    SampledData,
    SamplingConfig,
    pool_features,
    repeated_across_parts,
    retained_variance,
    sample_positions,
    sampled_data,
)
from hqnn_jax.experiments.aml2026.report import sections
from hqnn_jax.experiments.paper import PaperRequest
from hqnn_jax.files import content_key, locked
from hqnn_jax.progress import Progress
from hqnn_jax.reporting.document import Document
from hqnn_jax.training.equilibrium_propagation import EquilibriumConfig
from hqnn_jax.training.interrupt import Interrupted, stop_requested

TITLE = "Analyzing Images of Blood Cells with Quantum Machine Learning Methods"
REFERENCE = "arXiv:2601.18710"
CONFIG_FILE = CONFIGS / "papers" / "aml2026.yaml"

SMALL = (
    "dataset.name=synthetic_cells",
    "dataset.resolution=32",
    "dataset.label_map={neutrophils: [neutrophil], immature: [immature granulocytes]}",
    "dataset.synthetic.train_images=400",
    "dataset.synthetic.validation_images=8",
    "dataset.synthetic.test_images=8",
    "sizes=[16, 32]",
    "seeds=[0, 1]",
    "vqc.iterations=30",
    "equilibrium_propagation.hidden_widths=[32]",
    "equilibrium_propagation.max_epochs=30",
    "dense.hidden_widths=[32]",
    "dense.max_epochs=30",
)
"""What the small variant changes: synthetic cells, so that nothing need be downloaded."""

_COMPONENTS = "principal components"
"""What stands for an arm where there is none."""
_VERSION = 1
"""Raised whenever the same configuration and images would give other results."""


class ArmRecord(NamedTuple):
    """A way of classifying the cells: its function, and the section with its options."""

    function: Callable[[SampledData, Any], ArmOutcome]
    options: str


ARMS: Mapping[str, ArmRecord] = {
    "vqc_cobyla": ArmRecord(aml2026_circuits.vqc_cobyla, "vqc"),
    "vqc_spsa": ArmRecord(aml2026_circuits.vqc_spsa, "vqc"),
    "vqc_adam": ArmRecord(aml2026_circuits.vqc_adam, "vqc"),
    "vqc_adam_scaled": ArmRecord(aml2026_circuits.vqc_adam_scaled, "vqc"),
    "equilibrium_propagation": ArmRecord(
        aml2026_arms.equilibrium_propagation, "equilibrium_propagation"
    ),
    "dense": ArmRecord(aml2026_arms.dense, "dense"),
    "quantum_kernel_svm": ArmRecord(aml2026_circuits.quantum_kernel_svm, "svm"),
    "quantum_kernel_svm_scaled": ArmRecord(aml2026_circuits.quantum_kernel_svm_scaled, "svm"),
    "rbf_svm": ArmRecord(aml2026_arms.rbf_svm, "svm"),
    "rbf_svm_features": ArmRecord(aml2026_arms.rbf_svm_features, "svm"),
    "cnn": ArmRecord(cnn, "cnn"),
}
"""All arms by name, in the order of the report."""
CIRCUIT_ARMS = tuple(name for name, arm in ARMS.items() if arm.options == "vqc")
"""Those with a trained circuit, whose weights are stored."""


class Aml2026Config(ConfigSection):
    """Everything the paper's table depends on."""

    dataset: DatasetConfig
    """Any dataset with two classes (after `label_map`); its split is not used."""
    sizes: Annotated[tuple[Annotated[int, Field(ge=5)], ...], Field(min_length=1)] = (
        50,
        100,
        200,
        250,
    )
    """Images per class, training and test together."""
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], Field(min_length=1, max_length=100)
    ] = (0, 1, 2, 3, 4)
    arms: Annotated[tuple[str, ...], Field(min_length=1)] = tuple(n for n in ARMS if n != "cnn")
    """Add `cnn` for the network on pixels, which takes longer than all others together."""
    num_components: Annotated[int, Field(ge=1, le=16)] = 4
    """Principal components, and qubits."""
    sampling: SamplingConfig = SamplingConfig()
    vqc: VqcConfig = VqcConfig()
    equilibrium_propagation: EquilibriumConfig = EquilibriumConfig()
    dense: DenseConfig = DenseConfig()
    svm: SvmConfig = SvmConfig()
    cnn: CnnConfig = CnnConfig()

    @field_validator("arms")
    @classmethod
    def _known_arms(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(known(value, tuple(ARMS)) for value in values)

    @model_validator(mode="after")
    def _named_once(self) -> Aml2026Config:
        for name in ("sizes", "seeds", "arms"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name}: the same value appears twice")
        return self


def published(config: Config) -> None:
    """Return None: no single run of a hybrid network is one of the published systems."""


def reproduce(request: PaperRequest) -> Document:
    """Run the table of the configuration file and return its report."""
    chosen = (f"arms=[{', '.join(request.arms)}]",) if request.arms else ()
    overrides = (*(SMALL if request.small else ()), *chosen, *request.overrides)
    config = load_section(request.config or CONFIG_FILE, overrides, Aml2026Config)
    results = run(config, request.out, request.progress)
    return Document(
        title=TITLE,
        reference=REFERENCE,
        sections=sections(results),
        synthetic=results["dataset"]["synthetic"],
        data=results,
    )


def run(config: Aml2026Config, out: Path, progress: Progress) -> dict[str, Any]:
    """Run every arm at every size and return the results, ready for JSON.

    Results are kept in `out/cells`, one file for each arm and size, written when it is finished
    under a name that hashes what it depends on: a run that was stopped goes on where it was, and
    a changed option runs only what it changes.

    Returns:
        `sections` explains the keys.

    Raises:
        DataError, ConfigurationError: for datasets that are missing, have not two classes, or too
            few images.
        TrainingError: for a loss that is not finite.
        RunFolderError: where `out` cannot be written.
    """
    with progress.task("loading the images"):
        pool = load_pool(config.dataset)
    _check_two_classes(pool)
    samples, store = _SamplesBySize(config, pool, progress), Cells(out / "cells", progress)
    fingerprint, cells = pool_fingerprint(pool), []
    with locked(store.folder), stop_requested() as stop:
        for size, name in itertools.product(config.sizes, config.arms):
            if stop():
                raise Interrupted(f"{out}: stopped, results are kept; the same command goes on")
            key = _cell_key(config, fingerprint, size, name)
            compute = functools.partial(samples.cell, size, name)
            weights = name in CIRCUIT_ARMS
            cells.append(store.kept(f"{size}_{name}_{key}", StoredCell, compute, weights=weights))
        retained = {}
        for size in config.sizes:
            key = _key(config, fingerprint, size, {"arm": _COMPONENTS})
            compute = functools.partial(samples.components, size)
            stored = store.kept(f"{size}_principal_components_{key}", StoredVariance, compute)
            retained[str(size)] = stored["retained"]
    return {
        "paper": "aml2026",
        "config": config.model_dump(mode="json"),
        "dataset": _description(pool, samples.positions),
        "retained_variance": retained,
        "cells": cells,
    }


class _SamplesBySize:
    """The images, the samples of each size, and what arms make of them; nothing before its time."""

    def __init__(self, config: Aml2026Config, pool: ImagePool, progress: Progress):
        self.config = config
        self.pool = pool
        self.progress = progress
        self.positions = {
            size: sample_positions(pool.labels, size, config.seeds, config.sampling)
            for size in config.sizes
        }
        self.data = functools.cache(self._data)

    @functools.cached_property
    def features(self) -> np.ndarray:
        with self.progress.task("features of the images"):
            return pool_features(self.pool, list(self.positions.values()))

    def _data(self, size: int) -> SampledData:
        """Return the inputs at one size."""
        seeds, components = self.config.seeds, self.config.num_components
        most_images = 2 * max(self.config.sizes)
        positions = self.positions[size]
        return sampled_data(self.pool, self.features, positions, seeds, components, most_images)

    def cell(self, size: int, name: str) -> dict[str, Any]:
        """Return what an arm comes to at one size."""
        arm = ARMS[name]
        with self.progress.task(f"{size} images per class: {name}"):
            outcome = arm.function(self.data(size), getattr(self.config, arm.options))
        return _cell(size, name, outcome, self.pool.labels[self.positions[size].test])

    def components(self, size: int) -> dict[str, Any]:
        """Return what the principal components keep, per seed."""
        positions, components = self.positions[size], self.config.num_components
        retained = retained_variance(self.features, positions, components)
        return {"size": size, "arm": _COMPONENTS, "retained": retained}


def _check_two_classes(pool: ImagePool) -> None:
    if len(pool.class_names) != 2:
        raise ConfigurationError(
            f"dataset: {pool.name} has {len(pool.class_names)} classes; aml2026 needs two: give "
            "dataset.label_map with two new classes"
        )


def pool_fingerprint(pool: ImagePool) -> str:
    """Return a digest of all images and labels, in their order (SHA-256, hex)."""
    digest = hashlib.sha256(np.ascontiguousarray(pool.labels).tobytes())
    for image in pool.digests:
        digest.update(image)
    return digest.hexdigest()


def _cell_key(config: Aml2026Config, fingerprint: str, size: int, name: str) -> str:
    """Hash what one cell depends on, and nothing else."""
    options = getattr(config, ARMS[name].options).model_dump()
    return _key(config, fingerprint, size, {"arm": name, "options": options})


def _key(config: Aml2026Config, fingerprint: str, size: int, further: Mapping[str, Any]) -> str:
    """Hash what everything of one sample depends on, and `further`."""
    described = {
        "version": _VERSION,
        "images": fingerprint,
        "size": size,
        "seeds": config.seeds,
        "sampling": config.sampling.model_dump(),
        "num_components": config.num_components,
        **further,
    }
    return content_key(described)


def _cell(size: int, name: str, outcome: ArmOutcome, labels: np.ndarray) -> dict[str, Any]:
    figures = outcome._asdict()
    if outcome.weights is None:
        del figures["weights"]
    return {
        "size": size,
        "arm": name,
        "accuracies": np.mean(outcome.predictions == labels, axis=1).tolist(),
        **{key: value for key, value in figures.items() if key != "predictions"},
        "predictions": np.asarray(outcome.predictions).tolist(),
        "labels": labels.tolist(),
    }


def _description(pool: ImagePool, positions: Mapping[int, Parts]) -> dict[str, Any]:
    return {
        "name": pool.name,
        "class_names": list(pool.class_names),
        "class_counts": np.bincount(pool.labels, minlength=2).tolist(),
        "synthetic": pool.synthetic,
        "licence": pool.licence,
        "citation": pool.citation,
        "warnings": list(pool.warnings),
        "resolution": int(pool.images.shape[1]),
        "test_images": {str(size): int(p.test.shape[1]) for size, p in positions.items()},
        "test_images_equal_to_training_images": {
            str(size): repeated_across_parts(p, pool) for size, p in positions.items()
        },
    }
