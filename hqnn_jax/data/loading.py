"""From the configuration to a dataset in host memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.dataset import ImageDataset, Progress, Split, make_dataset
from hqnn_jax.data.synthetic_cells import synthetic_cells
from hqnn_jax.errors import ConfigurationError, DataError
from hqnn_jax.files import cache_dir


def load_dataset(config: DatasetConfig, progress: Progress | None = None) -> ImageDataset:
    """Return the dataset a configuration names.

    Prepared TFDS files are kept in `$HQNN_CACHE_DIR/tfds`, or in `tfds` below the per-user cache
    folder, so that the folder with the datasets may be read-only.

    Args:
        config: name, folder, resolution and task.
        progress: called as `progress(what, done, total)` while something slow is under way.

    Raises:
        DataError: missing, damaged or inconsistent files.
        ConfigurationError: `positive_labels` that do not make a binary task of this dataset.
    """
    dataset = (
        synthetic_cells(config.synthetic, config.resolution)
        if config.name == "synthetic_cells"
        else _load_medmnist(config, progress)
    )
    if config.positive_labels is None:
        return dataset
    return binary_task(dataset, config.positive_labels)


def _load_medmnist(config: DatasetConfig, progress: Progress | None) -> ImageDataset:
    # Importing TFDS takes most of a second: only where it is used.
    from hqnn_jax.data.medmnist import CITATION, load_medmnist
    from hqnn_jax.data.medmnist_file import medmnist_source

    source = medmnist_source(config.name, config.resolution)
    splits = load_medmnist(
        source,
        data_dir=_existing_data_dir(config),
        prepared_dir=cache_dir() / "tfds",
        progress=progress,
    )
    return make_dataset(
        splits,
        name=config.name,
        class_names=source.class_names,
        licence=source.licence,
        citation=CITATION,
        synthetic=False,
    )


def _existing_data_dir(config: DatasetConfig) -> Path:
    data_dir = config.resolved_data_dir()
    if data_dir.is_dir():
        return data_dir
    if config.data_dir is not None or os.environ.get("HQNN_DATA_DIR"):
        # Someone chose this folder: a typing error must not start a download.
        raise DataError(
            f"{data_dir}: dataset folder does not exist; expected a folder with {config.name}.npz, "
            "or an empty one to download into; check dataset.data_dir or HQNN_DATA_DIR"
        )
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{data_dir}: cannot be made ({error.strerror}); set dataset.data_dir to a folder that "
            "can be written"
        ) from None
    return data_dir


def binary_task(dataset: ImageDataset, positive_labels: Sequence[int]) -> ImageDataset:
    """Return the dataset with the given labels as class 1 and all others as class 0.

    Args:
        dataset: a multi-class dataset.
        positive_labels: labels of the new class 1 (hqcnn2025 uses {1, 2} for BloodMNIST).

    Raises:
        ConfigurationError: a label that does not exist, or a class that would be empty.
    """
    positive = sorted(set(positive_labels))
    last = dataset.num_classes - 1
    for label in positive:
        if not 0 <= label <= last:
            raise ConfigurationError(
                f"dataset.positive_labels: {label} is not a label of {dataset.name}; expected "
                f"numbers from 0 to {last}"
            )
    if not 0 < len(positive) <= last:
        raise ConfigurationError(
            f"dataset.positive_labels: expected between 1 and {last} of the {last + 1} labels of "
            f"{dataset.name}, found {len(positive)}; use null to keep the classes"
        )
    names = " or ".join(dataset.class_names[label] for label in positive)
    return make_dataset(
        {
            name: Split(split.images, np.isin(split.labels, positive).astype(np.int32))
            for name, split in dataset.splits().items()
        },
        name=dataset.name,
        class_names=("other", names),
        licence=dataset.licence,
        citation=dataset.citation,
        synthetic=dataset.synthetic,
    )
