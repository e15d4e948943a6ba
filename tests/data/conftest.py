"""Small folder sets of our own making, laid out as the published ones."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from hqnn_jax.data.folder_sources import FOLDER_SOURCES


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, and no data folder from the environment."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("HQNN_CACHE_DIR", str(folder))
    monkeypatch.delenv("HQNN_DATA_DIR", raising=False)
    return folder


@pytest.fixture
def make_set(tmp_path):
    """Write a folder set and return its folder of parts or classes: `make_set(name, images=5)`."""

    def make(name, images=5, data_dir=None) -> Path:
        source = FOLDER_SOURCES[name]
        root = (data_dir or tmp_path / "data").joinpath(name, *source.layout)
        rng = np.random.default_rng(0)
        mode = source.file_mode
        channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
        for folder in source.parts.values():
            for class_name in source.class_names:
                (root / folder / class_name).mkdir(parents=True)
                for number in range(images):
                    pixels = rng.integers(0, 256, (9, 12, channels), np.uint8)
                    if mode == "RGBA":
                        pixels[..., 3] = 255
                    path = root / folder / class_name / f"{class_name}_{number}.png"
                    PIL.Image.fromarray(pixels.squeeze()).save(path)
        return root

    return make
