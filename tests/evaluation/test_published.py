"""The published figures, and the runs they belong to."""

import numpy as np
import pytest

from hqnn_jax.config import BackboneConfig, Config, DatasetConfig, ModelConfig, TrainingConfig
from hqnn_jax.evaluation.published import Published, PublishedTask
from hqnn_jax.experiments import hqcnn2025, radhi2025


def _config(training=None, **dataset):
    model = ModelConfig(backbone=BackboneConfig(name="compact"))
    training = TrainingConfig(**(training or {}))
    return Config(dataset=DatasetConfig(**dataset), model=model, training=training)


def test_radhi2025_belongs_to_the_eight_classes_of_bloodmnist():
    published = radhi2025.published(_config(name="bloodmnist"))
    assert published is not None
    assert published.figures == radhi2025.PUBLISHED.figures


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
    ("name", "labels"),
    [("bloodmnist", (2, 1)), ("organamnist", (1, 2)), ("pathmnist", (0, 1))],
)
def test_hqcnn2025_belongs_to_its_binary_tasks(name, labels):
    assert hqcnn2025.published(_config(name=name, positive_labels=labels)) is not None


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
        Published("title", "reference", PublishedTask("cells"), **arguments)


@pytest.mark.parametrize(
    ("name", "positives", "total"), [("bloodmnist", 935, 3421), ("organamnist", 1577, 17778)]
)
def test_the_labels_of_hqcnn2025_give_the_published_supports(shared_data, name, positives, total):
    with np.load(shared_data / f"{name}.npz") as arrays:
        labels = arrays["test_labels"]
    assert len(labels) == total
    assert np.isin(labels, hqcnn2025.POSITIVE_LABELS[name]).sum() == positives


# --- the rule: a difference only where images, split and metric are the same ---

_BLOOD = PublishedTask("BloodMNIST", "bloodmnist", resolution=28, images={"test": 3421})
_BINARY = PublishedTask(
    "BloodMNIST, two classes", "bloodmnist", positive_labels=(1, 2), images={"test": 9}
)


@pytest.mark.parametrize(
    ("task", "config", "split", "images", "reason"),
    [
        (_BLOOD, _config(name="bloodmnist"), "test", 3421, None),
        (_BINARY, _config(name="bloodmnist", positive_labels=(2, 1)), "test", 9, None),
        (_BLOOD, _config(name="bloodmnist"), "test", 64, "64 images here, 3,421 there"),
        (_BLOOD, _config(name="bloodmnist"), "train", 11959, "published split are not known"),
        (_BLOOD, _config(name="bloodmnist", resolution=224), "test", 3421, "other images"),
        (_BLOOD, _config(name="dermamnist"), "test", 3421, "other images"),
        (_BLOOD, _config(), "test", 3421, "other images"),
        (PublishedTask("AML against healthy"), _config(name="pbc"), "test", 100, "other images"),
        (_BLOOD, _config(name="bloodmnist", positive_labels=(1, 2)), "test", 3421, "other classes"),
        (_BINARY, _config(name="bloodmnist", positive_labels=(1, 3)), "test", 9, "other classes"),
        (_BINARY, _config(name="bloodmnist"), "test", 9, "other classes"),
        (
            _BLOOD,
            _config(name="bloodmnist", label_map={"a": ("basophil",), "b": ("eosinophil",)}),
            "test",
            3421,
            "other classes",
        ),
        (
            _BLOOD,
            _config(name="bloodmnist", split={"method": "stratified"}),
            "test",
            3421,
            "a split of its own",
        ),
        (
            _BLOOD,
            _config({"images_per_class": 25}, name="bloodmnist"),
            "test",
            3421,
            "trained on other labels",
        ),
        (
            _BLOOD,
            _config({"label_noise": 0.1}, name="bloodmnist"),
            "test",
            3421,
            "trained on other labels",
        ),
    ],
)
def test_figures_are_compared_on_the_same_images_and_split_only(
    task, config, split, images, reason
):
    found = task.mismatch(split, config, images)
    assert found == reason or (reason is not None and reason in found)
