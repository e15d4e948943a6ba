"""Splits that were stored, taken as they are."""

import json

import numpy as np
import PIL.Image
import pytest

from hqnn_jax.config import DatasetConfig, SyntheticConfig
from hqnn_jax.data.loading import load_dataset
from hqnn_jax.errors import DataError
from hqnn_jax.files import write_json


@pytest.fixture
def cells(tmp_path):
    rng = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "cells" / name).mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            PIL.Image.fromarray(pixels).save(tmp_path / "cells" / name / f"{number}.png")
    return tmp_path / "cells"


def load(path, **split):
    return load_dataset(DatasetConfig(name="image_folder", path=path, resolution=8, split=split))


def test_the_split_of_a_run_is_that_of_the_next(cells, tmp_path):
    first = load(cells, seed=5)
    write_json(tmp_path / "splits.json", first.split_record())
    again = load(cells, file=tmp_path / "splits.json", seed=1)
    assert again.fingerprint == first.fingerprint
    assert again.files == first.files


def test_a_csv_file_may_name_some_of_the_images(cells, tmp_path):
    rows = [f"{c}/{k}.png,{s}" for c in "ab" for k, s in enumerate(["train"] * 4 + ["test"] * 2)]
    (tmp_path / "split.csv").write_text("path,split\n" + "\n".join(rows))
    dataset = load(cells, file=tmp_path / "split.csv", validation=0.3)
    assert dataset.files["test"] == ("a/4.png", "a/5.png", "b/4.png", "b/5.png")
    assert [len(files) for files in dataset.files.values()] == [5, 3, 4]
    assert "8 images are in no split of split.csv: left out" in dataset.warnings


def test_published_images_have_names_too(tmp_path):
    drawn = SyntheticConfig(train_images=64, validation_images=8, test_images=64)
    rows = [
        f"{old}/{k},{new}" for old, new in (("test", "train"), ("train", "test")) for k in range(64)
    ]
    (tmp_path / "split.csv").write_text("path,split\n" + "\n".join(rows))
    split = {"file": tmp_path / "split.csv", "validation": 0.5}
    published = load_dataset(DatasetConfig(synthetic=drawn))
    changed = load_dataset(DatasetConfig(synthetic=drawn, split=split))
    assert changed.files["test"] == tuple(f"train/{k}" for k in range(64))
    np.testing.assert_array_equal(changed.test.images, published.train.images)
    assert {file.split("/")[0] for file in changed.files["train"]} == {"test"}


SPLIT = {"train": ["a/0.png", "b/0.png"], "validation": ["a/1.png"], "test": ["a/2.png", "b/2.png"]}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {**SPLIT, "test": ["a/2.png", "c/0.png", "c/1.png"]},
            "c/0.png is no image of cells (like ",
        ),
        ({**SPLIT, "validation": ["a/0.png"]}, "a/0.png is in train and in validation twice"),
        ({**SPLIT, "test": ["a/2.png", "a/2.png"]}, "a/2.png is in test twice"),
        ({**SPLIT, "test": []}, "no image of the test split"),
        ({"train": []}, "holds no lists of files for train, validation, test"),
        (None, "that run used the published split; set dataset.split.method=official"),
    ],
)
def test_splits_that_do_not_fit(cells, tmp_path, files, message):
    (tmp_path / "splits.json").write_text(json.dumps({"files": files}))
    with pytest.raises(DataError) as caught:
        load(cells, file=tmp_path / "splits.json")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_images_are_drawn_from_a_stored_split(cells):
    with pytest.raises(ValueError, match="images_per_class needs a split of its own"):
        DatasetConfig(name="image_folder", path=cells, images_per_class=3, split={"file": "a.csv"})


def test_files_that_hold_no_split(cells, tmp_path):
    for name, content in {
        "a.json": "{",
        "b.csv": "path\na",
        "c.csv": "path,split\na/0.png,x",
    }.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=name):
            load(cells, file=tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        load(cells, file=tmp_path / "missing.csv")
