"""Images of a user's own, in all the places they may come from."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.loading import load_dataset
from hqnn_jax.errors import HqnnError

HALVES = {"validation": 0.25, "test": 0.25}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own."""
    monkeypatch.setenv("HQNN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def make_images(tmp_path):
    """Write different images and return their folder: `make_images("a/1.png", grey=True)`."""
    rng = np.random.default_rng(0)
    root = tmp_path / "cells"

    def make(*files, grey=False, size=(9, 12)) -> Path:
        for file in files:
            pixels = rng.integers(0, 256, size if grey else (*size, 3), np.uint8)
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(pixels).save(root / file)
        return root

    return make


@pytest.fixture
def make_folder(make_images):
    """Write folders of images, each a class, and return the folder that they are in."""

    def make(*classes, images=6, **options) -> Path:
        return make_images(*(f"{c}/{k}.png" for c in classes for k in range(images)), **options)

    return make


def load(name, path=None, **keys):
    split = {"split": HALVES, **keys}
    return load_dataset(DatasetConfig(name=name, path=path, resolution=8, **split))


def error_of(call, *arguments, **keys) -> str:
    """Return the one line that a call is refused with."""
    with pytest.raises(HqnnError) as caught:
        call(*arguments, **keys)
    message = str(caught.value)
    assert "\n" not in message
    return message
