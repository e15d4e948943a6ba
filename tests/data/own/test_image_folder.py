"""Folders of a user's own images: what is taken, and what is said of the rest."""

import numpy as np
import PIL.Image
import pytest

from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.loading import load_pool
from tests.data.own.conftest import HALVES, error_of, load


def refused(path, **keys):
    return error_of(load, "image_folder", path, **keys)


def test_a_folder_is_a_class_and_its_name_the_set(make_folder):
    root = make_folder("b cells", "a/inner", "c")
    dataset = load("image_folder", root)
    assert dataset.class_names == ("a", "b cells", "c")
    assert dataset.name == "cells"
    assert not dataset.synthetic
    assert {name: len(split) for name, split in dataset.splits().items()} == {
        "train": 8, "validation": 5, "test": 5,
    }  # fmt: skip
    files = [file for files in dataset.files.values() for file in files]
    assert len(files) == len(set(files)) == 18
    assert "a/inner/3.png" in files
    for name, split in dataset.splits().items():
        for file, image, label in zip(dataset.files[name], split.images, split.labels, strict=True):
            assert file.startswith(dataset.class_names[label])
            with PIL.Image.open(root / file) as picture:
                expected = picture.resize((8, 8), PIL.Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(image, np.asarray(expected))


def test_nothing_is_said_of_licence_and_citation_but_what_the_user_says(make_folder):
    root = make_folder("a", "b")
    silent = load("image_folder", root)
    assert silent.licence == "not given (dataset.card.licence)"
    assert silent.citation == "not given (dataset.card.citation)"
    card = {"name": "Our cells", "licence": "CC0", "citation": "Us (2026)", "url": "https://x.org"}
    told = load("image_folder", root, card=card)
    assert (told.name, told.licence, told.citation, told.url) == tuple(card.values())
    assert told.fingerprint == silent.fingerprint


@pytest.mark.parametrize("validation", ["validation", "val", "valid", None])
def test_folders_of_splits_are_kept(make_folder, validation):
    parts = [part for part in ("TRAIN", validation, "test") if part]
    root = make_folder(*(f"{part}/{c}" for part in parts for c in "ab"), images=8)
    (root / "leftovers").mkdir()
    dataset = load("image_folder", root)
    assert {file.split("/")[0] for file in dataset.files["test"]} == {"test"}
    assert len(dataset.files["test"]) == 16
    expected = {"TRAIN"} if validation is None else {validation}
    assert {file.split("/")[0] for file in dataset.files["validation"]} == expected
    assert len(dataset.validation) == (4 if validation is None else 16)
    assert any("1 folders beside TRAIN" in warning for warning in dataset.warnings)


def test_grey_files_stay_grey_and_one_in_colour_makes_all_of_them_so(make_folder, make_images):
    root = make_folder("a", "b", grey=True)
    assert load("image_folder", root).train.images.shape[-1] == 1
    make_images("a/colour.png")
    dataset = load("image_folder", root)
    assert dataset.train.images.shape[-1] == 3
    assert "12 images grey, converted to RGB (the first: a/0.png)" in dataset.warnings


def test_patients_in_the_paths_stay_on_one_side(make_images):
    root = make_images(*(f"{c}/p{p}_{k}.png" for c in "ab" for p in range(8) for k in range(3)))
    dataset = load("image_folder", root, group_pattern=r"/(p\d+)_")
    of_split = [{file[2:4] for file in files} for files in dataset.files.values()]
    assert sum(map(len, of_split)) == 8
    assert all(of_split)
    message = refused(root, group_pattern=r"b/(p\d+)_")
    assert "finds no group in a/p0_0.png, nor in 23 more" in message


def test_prepared_images_are_used_again_whatever_the_classes_are_called(make_folder, cache):
    root = make_folder("a", "b")
    before = load("image_folder", root)
    assert load("image_folder", root).fingerprint == before.fingerprint
    assert len(list(cache.glob("tfds/image_folder_8_*"))) == 1


def test_large_sets_stay_on_disk(make_folder):
    streamed = load("image_folder", root := make_folder("a", "b"), storage="stream")
    assert streamed.streams
    assert streamed.fingerprint == load("image_folder", root).fingerprint


def test_the_task_may_be_part_of_the_classes(make_folder):
    root = make_folder("a", "b", "c")
    mapped = load("image_folder", root, label_map={"new": ("c", "a"), "other": ("b",)})
    assert mapped.class_names == ("new", "other")
    message = refused(root, label_map={"x": ("A",), "y": ("b",)})
    assert "'A' is not a class of cells; did you mean 'a'?" in message


def test_an_empty_class_folder(make_folder):
    root = make_folder("a", "b")
    (root / "empty").mkdir()
    (root / "empty" / ".hidden.png").write_bytes(b"")
    message = refused(root)
    assert f"{root / 'empty'}: the class folder holds no image (.jpg" in message
    assert "put images of the class there, or remove the folder" in message


def test_one_image_of_a_class(make_folder, make_images):
    make_images("rare/1.png")
    message = refused(make_folder("a", "b"))
    assert "class 'rare' has 1 different images; expected at least 3" in message


def test_a_class_that_is_missing_from_the_test_images(make_folder):
    root = make_folder("train/a", "train/b", "test/a", images=3)
    message = refused(root)
    assert f"{root / 'test' / 'b'}: class folder missing, but train/ has it" in message


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ((), "holds no folders; expected one folder of images per class"),
        (("a",), "found only the class 'a'; expected images of at least two classes"),
        (("train/a", "train/b"), "without test/; add it, or set dataset.path="),
        (("train/a", "train/b", "val/a", "val/b"), "has train and validation but no test images"),
        (("train/a", "val/a", "valid/a"), "val/ and valid/ are both for validation"),
    ],
)
def test_folders_that_are_no_set(make_folder, tmp_path, classes, message):
    (tmp_path / "cells").mkdir()
    make_folder(*classes)
    assert message in refused(tmp_path / "cells")


def test_images_without_folders(make_images):
    assert "2 images lie directly in it" in refused(make_images("1.png", "2.png"))


def test_files_that_are_no_images(make_folder):
    root = make_folder("a", "b")
    (root / "a" / "notes.png").write_text("patient was tired")
    (root / "b" / "list.jpg").write_text("patient was tired")
    (root / "b" / "readme.txt").write_text("not taken for an image")
    message = refused(root)
    assert f"{root / 'a' / 'notes.png'}: not a readable image" in message
    assert "1 more files are no images either" in message


def test_a_path_that_is_no_folder(tmp_path):
    assert f"{tmp_path / 'typo'}: no such folder" in refused(tmp_path / "typo")
    (tmp_path / "cells.csv").write_text("path,label\n")
    assert "is a file; expected a folder" in refused(tmp_path / "cells.csv")
    assert "set dataset.name=table" in refused(tmp_path / "cells.csv")


def test_no_images_of_one_class_are_drawn_from_a_split_that_is_given(make_folder):
    root = make_folder("train/a", "train/b", "test/a", "test/b")
    assert "has a split of its own" in refused(root, images_per_class=2)
    drawn = load("image_folder", root, images_per_class=5, split={**HALVES, "method": "stratified"})
    assert sum(map(len, drawn.splits().values())) == 10


def test_a_pool_knows_kinds_and_sizes_of_files(make_folder, make_images):
    make_images("a/large.png", size=(20, 30))
    config = DatasetConfig(name="image_folder", path=make_folder("a", "b"), resolution=8)
    headers = load_pool(config).headers
    assert headers.modes() == {"RGB": 13}
    assert headers.sizes() == {(12, 9): 12, (30, 20): 1}
