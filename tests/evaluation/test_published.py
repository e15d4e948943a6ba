"""The published figures, and the runs they belong to."""

import numpy as np
import pytest

from hqnn_jax.config import BackboneConfig, Config, DatasetConfig, ModelConfig, TrainingConfig
from hqnn_jax.evaluation.published import Published, Task
from hqnn_jax.experiments import hqcnn2025, radhi2025
from hqnn_jax.experiments.paper import Arm, Runs
from hqnn_jax.experiments.tables import published_table
from hqnn_jax.runs.finished import load_run


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
        Published("title", "reference", Task("cells"), **arguments)


@pytest.mark.parametrize(
    ("name", "positives", "total"), [("bloodmnist", 935, 3421), ("organamnist", 1577, 17778)]
)
def test_the_labels_of_hqcnn2025_give_the_published_supports(shared_data, name, positives, total):
    with np.load(shared_data / f"{name}.npz") as arrays:
        labels = arrays["test_labels"]
    assert len(labels) == total
    assert np.isin(labels, hqcnn2025.POSITIVE_LABELS[name]).sum() == positives


# --- the rule: a difference only where images, split and metric are the same ---

_BLOOD = Task("BloodMNIST", "bloodmnist", resolution=28, images={"test": 3421})
_BINARY = Task("BloodMNIST, two classes", "bloodmnist", positive_labels=(1, 2), images={"test": 9})


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
        (Task("AML against healthy"), _config(name="pbc"), "test", 100, "other images"),
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


def test_a_difference_needs_the_same_data_in_papers_reports_too(make_run):
    runs = Runs({"ours": load_run(make_run("ours", synthetic=False))}, {})
    arms = (Arm("ours", "Ours", "quickstart"),)

    def row(images):
        task = Task("BloodMNIST", "bloodmnist", images={"test": images})
        published = Published("t", "r", task, {"test": {"macro_f1": 0.5}})
        (row,) = published_table(arms, runs, {"ours": published}).rows
        return row

    ours = np.mean([entry["test"]["macro_f1"] for entry in runs.finished["ours"].metrics["seeds"]])
    same, other = row(55), row(3421)
    assert same[:5] == other[:5] == ("Ours", "BloodMNIST", "test", "Macro F1", "50.00")
    assert same[5] == other[5]
    assert same[5].startswith(f"{100 * ours:.2f} ± ")
    assert same[6] == f"{100 * (ours - 0.5):+.2f}".replace("-", "−")
    assert other[6] == "55 images here, 3,421 there"


def test_nothing_stands_beside_synthetic_figures(make_run):
    runs = Runs({"ours": load_run(make_run("drawn", synthetic=True))}, {})
    task = Task("drawn cells", "synthetic_cells", images={"test": 55})
    published = Published("t", "r", task, {"test": {"accuracy": 0.5}})
    (row,) = published_table((Arm("ours", "Ours", "quickstart"),), runs, {"ours": published}).rows
    assert row[4:] == ("50.00", "—", "synthetic cells")
