"""Images as arrays: in an `.npz` file, and returned by a function."""

import dataclasses
import sys
import types

import numpy as np
import PIL.Image
import pytest

from hqnn_jax.data import ImagePool, image_digests
from hqnn_jax.errors import ConfigurationError
from tests.data.own.conftest import error_of, load

RNG = np.random.default_rng(0)


def images(number=12, side=8, channels=3):
    return RNG.integers(0, 256, (number, side, side, channels), np.uint8)


def parts(**more):
    """Arrays laid out as MedMNIST has them."""
    sizes = {"train": 12, "val": 6, "test": 8}
    arrays = {f"{part}_images": images(size) for part, size in sizes.items()}
    arrays |= {f"{part}_labels": np.arange(size)[:, None] % 2 for part, size in sizes.items()}
    return arrays | more


@pytest.fixture
def write(tmp_path):
    def write(arrays):
        np.savez(tmp_path / "cells.npz", **arrays)
        return tmp_path / "cells.npz"

    return write


@pytest.fixture
def function(monkeypatch):
    """Return `function(call)`, the name under which a function can be imported."""

    def named(call):
        module = types.ModuleType("my_images")
        module.load = call
        monkeypatch.setitem(sys.modules, "my_images", module)
        return "my_images:load"

    return named


def both(write, function, arrays, **keys):
    """Load arrays from a file and from a function; they are the same set."""
    from_file = load("npz", write(arrays), **keys)
    returned = load(function(lambda: arrays), **keys)
    assert from_file.fingerprint == returned.fingerprint
    assert from_file.class_names == returned.class_names
    assert from_file.files == returned.files
    return from_file


def test_the_parts_of_medmnist_are_the_splits(write, function):
    arrays = parts()
    dataset = both(write, function, arrays)
    assert dataset.class_names == ("0", "1")
    for split, part in (("train", "train"), ("validation", "val"), ("test", "test")):
        np.testing.assert_array_equal(dataset.splits()[split].images, arrays[f"{part}_images"])
        np.testing.assert_array_equal(
            dataset.splits()[split].labels, arrays[f"{part}_labels"][:, 0]
        )
    assert dataset.files["test"][:2] == ("test/0", "test/1")


def test_images_alone_are_divided_resized_and_may_be_grey(write, function):
    arrays = {
        "images": images(side=16, channels=1)[..., 0],
        "labels": np.array(["sick", "well"] * 6),
        "groups": np.arange(12) // 2,
        "weights": np.linspace(1, 2, 12),
        "class_names": np.array(["well", "sick"]),
    }
    dataset = both(write, function, arrays)
    assert dataset.class_names == ("well", "sick")
    assert dataset.train.images.shape[1:] == (8, 8, 1)
    number = int(dataset.files["train"][0].removeprefix("images/"))
    expected = PIL.Image.fromarray(arrays["images"][number]).resize(
        (8, 8), PIL.Image.Resampling.BILINEAR
    )
    np.testing.assert_array_equal(dataset.train.images[0, ..., 0], np.asarray(expected))
    assert dataset.train.labels[0] == 1 - number % 2
    assert dataset.train.weights[0] == np.float32(arrays["weights"][number])
    pairs = [{int(f[7:]) // 2 for f in files} for files in dataset.files.values()]
    assert sum(map(len, pairs)) == 6


def mixed():
    found = np.empty(2, object)
    found[:] = [images(1)[0], images(1, side=9)[0]]
    return found


VOLUMES = RNG.integers(0, 256, (4, 8, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": mixed(), "labels": [0, 1]}, "of mixed size"),
        ({"images": VOLUMES, "labels": [0, 1, 0, 1]}, "volumes or stacks of images; expected [N, "),
        ({"images": VOLUMES[..., None], "labels": [0, 1, 0, 1]}, "volumes or stacks of images"),
        ({"images": VOLUMES[:, 0, 0], "labels": [0, 1, 0, 1]}, "found uint8 [4, 8]; expected"),
        ({"images": images(4) / 255, "labels": [0, 1, 0, 1]}, "found float64 [4, 8, 8, 3]; expect"),
        ({"images": images(4)[:0], "labels": []}, "expected at least one image"),
        ({"images": images(4)}, "no array labels; expected images and labels"),
        ({"labels": [0, 1]}, "found the arrays labels; expected images and labels"),
        ({"images": images(4), "labels": [0, 1]}, "one value for each of 4 images"),
        ({"images": images(2), "labels": [0.5, 1.5]}, "found float64; expected whole numbers or n"),
        ({"images": images(2), "labels": [3, 3]}, "found only the class '3'"),
        (
            {"images": images(2), "labels": [0, 2], "class_names": ["a", "b"]},
            "2 is outside 0 to 1, which class_names are for",
        ),
        (
            {"images": images(2), "labels": ["a", "c"], "class_names": ["a", "b"]},
            "'c' is none of class_names: a, b",
        ),
        ({"images": images(2), "labels": [0, 1], "weights": [1, 0]}, "expected positive numbers"),
        (parts(val_images=images(6, channels=1)), "grey and colour images in one set"),
        (parts(train_groups=np.arange(12)), "train_groups is there, but no val_groups"),
    ],
)
def test_arrays_that_are_no_set_of_images(write, function, changes, message):
    given = {name: np.asarray(array) for name, array in changes.items()}
    for told in (
        error_of(load, "npz", write(given)),
        error_of(load, function(lambda: given)),
    ):
        assert message in told or ("mixed size" in told and "mixed size" in message)


def test_files_that_are_no_archives(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"no archive")
    assert "corrupt or truncated" in error_of(load, "npz", tmp_path / "a.npz")
    assert "no such file; expected an .npz" in error_of(load, "npz", tmp_path / "b.npz")


def test_a_truncated_archive_is_told_and_nothing_is_kept(write, cache):
    path = write(parts())
    content = bytearray(path.read_bytes())
    content[800:900] = bytes(100)
    path.write_bytes(content)
    assert "corrupt or truncated" in error_of(load, "npz", path)
    assert not list(cache.glob("tfds/*/*/*/dataset_info.json"))


def test_a_function_may_return_a_pool(function):
    pixels = images(20)
    pool = ImagePool(
        name="drawn",
        images=pixels,
        labels=np.arange(20, dtype=np.int32) % 2,
        class_names=("even", "odd"),
        digests=image_digests(pixels),
        parts=np.zeros(20, np.int32),
        part_names=("images",),
        files=tuple(map(str, range(20))),
        licence="CC0",
        citation="Us (2026)",
        synthetic=True,
    )
    dataset = load(function(lambda: pool))
    assert (dataset.name, dataset.synthetic, dataset.citation) == ("drawn", True, "Us (2026)")
    # Loading leaves the function's own arrays as they were.
    named = load("my_images:load", card={"licence": "MIT"})
    assert named.fingerprint == dataset.fingerprint
    assert (named.name, named.licence) == ("drawn", "MIT")
    assert "an image of drawn has one class" in error_of(load, "my_images:load", task="multilabel")
    short = dataclasses.replace(pool, files=pool.files[:7])
    assert "20 images but 7 files" in error_of(load, function(lambda: short))


def test_what_a_function_says_of_itself_is_shown(function):
    arrays = {"images": images(), "labels": [0, 1] * 6, "licence": "CC0", "name": "Ours"}
    dataset = load(function(lambda: arrays))
    assert (dataset.name, dataset.licence) == ("Ours", "CC0")
    assert dataset.citation.startswith("not given")


def fails():
    raise ValueError("no\nimages today")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (fails, "raised ValueError: no images today; expected a mapping with the arrays images"),
        (lambda: None, "returned NoneType; expected a mapping"),
        (lambda: {1: 2}, "returned dict; expected a mapping"),
        (lambda: ([1], [2]), "returned tuple; expected a mapping"),
        (lambda: {"images": [[1], [2, 3]], "labels": [0, 1]}, "images of mixed size"),
        (lambda: sys.exit(3), "raised SystemExit"),
    ],
)
def test_a_function_that_returns_no_images(function, call, message):
    assert f"dataset.name 'my_images:load': {message}" in error_of(load, function(call))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:load", "cannot import 'load' from 'no_such_module'"),
        ("my_images:other", "cannot import 'other' from 'my_images'"),
        ("my_images:__name__", "is str; expected a function that returns images and labels"),
    ],
)
def test_a_function_that_is_not_there(function, name, message):
    function(dict)
    with pytest.raises(ConfigurationError):
        load(name)
    assert message in error_of(load, name)
