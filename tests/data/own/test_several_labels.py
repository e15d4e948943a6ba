"""Images with any number of labels: in tables, arrays, and ChestMNIST's layout (drawn images)."""

import hashlib

import numpy as np
import pytest

from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.dataset import class_weights
from hqnn_jax.data.medmnist import load_medmnist
from hqnn_jax.data.medmnist_file import MedMnistSource, medmnist_source
from tests.data.own.conftest import error_of, load

RNG = np.random.default_rng(0)
SEVERAL = {"task": "multilabel"}


def labels(number, shares=(0.5, 0.3, 0.6)):
    return (RNG.random((number, len(shares))) < shares).astype(np.uint8)


def images(number, *shape):
    return RNG.integers(0, 256, (number, 8, 8, *shape), np.uint8)


def large_images(number):
    return RNG.integers(0, 256, (number, 28, 28), np.uint8)


def test_arrays_of_ones_and_zeros(tmp_path):
    given = {
        f"{part}_{what}": make(size)
        for part, size in (("train", 40), ("val", 20), ("test", 30))
        for what, make in (("images", images), ("labels", labels))
    }
    np.savez(tmp_path / "chest.npz", **given, class_names=np.array(["a", "b", "c"]))
    dataset = load("npz", tmp_path / "chest.npz", **SEVERAL)
    assert dataset.multilabel
    assert dataset.class_names == ("a", "b", "c")
    for split, part in (("train", "train"), ("validation", "val"), ("test", "test")):
        np.testing.assert_array_equal(dataset.splits()[split].labels, given[f"{part}_labels"])
    message = error_of(load, "npz", tmp_path / "chest.npz")
    assert "or dataset.task=multilabel for several labels an image" in message


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.arange(12), "labels: found int64 [12]; expected 1 or 0 [N, number of labels]"),
        (np.full((12, 2), 2), "expected 1 or 0 for each of 2 labels of 12 images"),
        (np.zeros((12, 1), int), "found only the class '0'"),
        (np.zeros((12, 2)), "found labels float64 [12, 2]; expected 1 or 0"),
        (np.zeros((12, 2), int), "split has no image of class '0'"),
    ],
)
def test_labels_that_are_no_ones_and_zeros(tmp_path, wrong, message):
    np.savez(tmp_path / "chest.npz", images=images(12), labels=wrong)
    assert message in error_of(load, "npz", tmp_path / "chest.npz", **SEVERAL)


def test_labels_of_a_table_have_bars_between_them(make_images):
    root = make_images(*(f"{k}.png" for k in range(40)))
    cells = ["effusion|mass", "mass ", "", "effusion"] * 10
    rows = [f"{k}.png,{cell},{k // 2}" for k, cell in enumerate(cells)]
    (root / "chest.csv").write_text("path,label,group\n" + "\n".join(rows))
    dataset = load("table", root / "chest.csv", **SEVERAL)
    assert dataset.class_names == ("effusion", "mass")
    expected = {f"{k}.png": ["effusion" in cell, "mass" in cell] for k, cell in enumerate(cells)}
    for name, split in dataset.splits().items():
        np.testing.assert_array_equal(split.labels, [expected[f] for f in dataset.files[name]])
    pairs = [{int(file[:-4]) // 2 for file in files} for files in dataset.files.values()]
    assert sum(map(len, pairs)) == 20


def test_a_split_has_about_the_same_share_of_every_label(tmp_path):
    given = labels(600, (0.05, 0.3, 0.002))
    given[:9, 2] = 1
    np.savez(tmp_path / "chest.npz", images=images(600), labels=given)
    dataset = load("npz", tmp_path / "chest.npz", **SEVERAL, split={"validation": 0.2, "test": 0.2})
    whole, part = given.mean(axis=0), dataset.test.labels.mean(axis=0)
    np.testing.assert_allclose(part[:2], whole[:2], atol=0.03)
    weights = class_weights(given.astype(np.int32), 3)
    np.testing.assert_allclose(weights, (1 - whole) / whole, rtol=1e-5)


def test_the_layout_of_chestmnist(tmp_path):
    given = {
        f"{part}_{what}": make(size)
        for part, size in (("train", 8), ("val", 4), ("test", 6))
        for what, make in (("images", large_images), ("labels", labels))
    }
    path = tmp_path / "drawn.npz"
    np.savez(path, **given)
    source = MedMnistSource(
        name="drawn",
        resolution=28,
        url="https://example.org",
        licence="CC0",
        num_channels=1,
        md5=hashlib.md5(path.read_bytes()).hexdigest(),
        class_names=("a", "b", "c"),
        multilabel=True,
    )
    prepared = load_medmnist(source, data_dir=tmp_path, prepared_dir=tmp_path / "tfds")
    for part, place in (("train", 0), ("val", 8), ("test", 12)):
        size = len(given[f"{part}_labels"])
        found = prepared.labels[place : place + size]
        np.testing.assert_array_equal(found, given[f"{part}_labels"])


def test_chestmnist_is_known_with_its_labels():
    source = medmnist_source("chestmnist", 28)
    assert source.multilabel
    assert len(source.class_names) == 14
    assert not medmnist_source("bloodmnist", 28).multilabel
    assert DatasetConfig(name="chestmnist").task_name == "multilabel"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"name": "chestmnist", "task": "multiclass"}, "chestmnist is a set of the task multil"),
        ({"name": "bloodmnist", **SEVERAL}, "bloodmnist is a set of the task multiclass"),
        (
            {"name": "image_folder", "path": "x", **SEVERAL},
            "an image of image_folder has one class",
        ),
        ({"name": "npz", "path": "x", **SEVERAL, "images_per_class": 3}, "for one class an image"),
    ],
)
def test_tasks_that_do_not_fit(keys, message):
    with pytest.raises(ValueError, match=message):
        DatasetConfig(**keys)
