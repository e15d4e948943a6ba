"""The published figures, and the runs they belong to."""

import numpy as np
import pytest

from experiments import hqcnn2025, radhi2025
from hqnn_jax.config import BackboneConfig, Config, DatasetConfig, ModelConfig
from hqnn_jax.evaluation.published import Published


def _config(**dataset):
    model = ModelConfig(backbone=BackboneConfig(name="compact"))
    return Config(dataset=DatasetConfig(**dataset), model=model)


def test_radhi2025_belongs_to_the_eight_classes_of_bloodmnist():
    published = radhi2025.published(_config(name="bloodmnist"))
    assert published is not None
    assert published.figures["test"]["accuracy"] == 0.9658
    # The published table is that of the validation split; 3: immature granulocytes.
    assert published.per_class_split == "validation"
    assert published.per_class[3] == {"f1": 0.9197, "recall": 0.8690}
    assert published.train_minutes == 1386


@pytest.mark.parametrize(
    "dataset",
    [
        {"name": "synthetic_cells"},
        {"name": "organamnist"},
        {"name": "bloodmnist", "positive_labels": (1, 2)},
        {"name": "bloodmnist", "resolution": 224},
    ],
)
def test_radhi2025_belongs_to_nothing_else(dataset):
    assert radhi2025.published(_config(**dataset)) is None


@pytest.mark.parametrize(
    ("name", "labels", "accuracy", "auc", "recall"),
    [
        ("bloodmnist", (2, 1), 0.9912, 0.9991, 0.98),
        ("organamnist", (1, 2), 0.9884, 0.99, 0.90),
        ("pathmnist", (0, 1), 0.9783, 1.0, 0.99),
    ],
)
def test_hqcnn2025_belongs_to_its_binary_tasks(name, labels, accuracy, auc, recall):
    published = hqcnn2025.published(_config(name=name, positive_labels=labels))
    assert published is not None
    assert published.figures == {"test": {"accuracy": accuracy, "roc_auc": auc}}
    assert published.per_class == {1: {"recall": recall}}
    assert published.per_class_split == "test"


@pytest.mark.parametrize(
    "dataset",
    [
        {"name": "bloodmnist"},
        {"name": "bloodmnist", "positive_labels": (1, 3)},
        {"name": "pathmnist", "positive_labels": (1, 2)},
        {"name": "dermamnist", "positive_labels": (1, 2)},
        {"name": "organamnist", "positive_labels": (1, 2), "resolution": 64},
    ],
)
def test_hqcnn2025_belongs_to_nothing_else(dataset):
    assert hqcnn2025.published(_config(**dataset)) is None


@pytest.mark.parametrize(
    "arguments",
    [
        {"figures": {"holdout": {"accuracy": 0.5}}},
        {"figures": {"test": {"acuracy": 0.5}}},
        {"figures": {"test": {"accuracy": 96.58}}},
        {"figures": {}, "per_class": {0: {"f1": 0.5}}},
    ],
)
def test_published_tables_are_checked(arguments):
    with pytest.raises(ValueError, match="expected"):
        Published("title", "reference", **arguments)


@pytest.mark.parametrize(
    ("name", "positives", "total"), [("bloodmnist", 935, 3421), ("organamnist", 1577, 17778)]
)
def test_the_labels_of_hqcnn2025_give_the_published_supports(shared_data, name, positives, total):
    with np.load(shared_data / f"{name}.npz") as arrays:
        labels = arrays["test_labels"]
    assert len(labels) == total
    assert np.isin(labels, hqcnn2025.POSITIVE_LABELS[name]).sum() == positives
