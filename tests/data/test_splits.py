"""Tasks and splits: which images of a pool go where."""

import dataclasses

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hqnn_jax.config import DatasetConfig, SplitConfig, SyntheticConfig
from hqnn_jax.data.leakage import image_digests
from hqnn_jax.data.loading import load_dataset, load_pool
from hqnn_jax.data.pool import ImagePool, draw_per_class, mapped_task
from hqnn_jax.data.splits import split_indices
from hqnn_jax.errors import ConfigurationError, DataError


def _pool(labels, contents=None, parts=None, part_names=("images",), groups=None):
    """Images of one pixel; equal contents are equal images."""
    contents = np.arange(len(labels)) if contents is None else np.asarray(contents)
    images = contents.astype(">u2").view(np.uint8).reshape(-1, 1, 1, 2)
    return ImagePool(
        name="small",
        images=images,
        labels=np.array(labels, np.int32),
        class_names=tuple(f"class {k}" for k in range(max(labels) + 1)),
        digests=image_digests(images),
        parts=np.zeros(len(labels), np.int32) if parts is None else np.array(parts, np.int32),
        part_names=part_names,
        files=tuple(f"file {k}" for k in range(len(labels))),
        licence="none",
        citation="nobody",
        groups=None if groups is None else np.array(groups),
    )


def _counts(pool, splits):
    return {
        name: np.bincount(pool.labels[k], minlength=len(pool.class_names)).tolist()
        for name, k in splits.items()
    }


def test_a_stratified_split_has_the_same_share_of_every_class():
    pool = _pool([0] * 100 + [1] * 50 + [2] * 30)
    splits = split_indices(pool, SplitConfig(validation=0.1, test=0.2), "stratified")
    assert _counts(pool, splits) == {
        "train": [70, 35, 21],
        "validation": [10, 5, 3],
        "test": [20, 10, 6],
    }
    assert list(splits) == ["train", "validation", "test"]
    together = np.concatenate(list(splits.values()))
    np.testing.assert_array_equal(np.sort(together), np.arange(180))
    assert all((np.diff(k) > 0).all() for k in splits.values())


def test_the_seed_decides_the_split():
    pool = _pool([0, 1] * 40)

    def test_split(seed):
        return split_indices(pool, SplitConfig(seed=seed), "stratified")["test"].tolist()

    assert test_split(3) == test_split(3)
    assert test_split(3) != test_split(4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60)), min_size=60, max_size=150))
def test_no_image_is_on_two_sides_however_often_it_occurs(drawn):
    labels, contents = zip(*drawn, strict=True)
    pool = _pool(labels, contents)
    try:
        splits = split_indices(pool, SplitConfig(validation=0.2, test=0.3), "stratified")
    except DataError:
        return
    sides = [set(np.asarray(contents)[k].tolist()) for k in splits.values()]
    assert sum(map(len, sides)) == len(set(contents))
    assert sum(map(len, splits.values())) == len(labels)


def test_groups_stay_together_and_classes_balanced():
    # 30 groups of 10 images, each of one class; two images of different groups are the same.
    groups = np.repeat(np.arange(30), 10)
    contents = np.arange(300)
    contents[5] = contents[295]
    pool = _pool((groups % 2).tolist(), contents, groups=groups)
    splits = split_indices(pool, SplitConfig(validation=0.2, test=0.2), "grouped")
    sides = [set(groups[k].tolist()) for k in splits.values()]
    assert sum(map(len, sides)) == 30
    assert any({0, 29} <= side for side in sides)
    for counts in _counts(pool, splits).values():
        assert min(counts) >= 20
    shares = [len(k) / 300 for k in splits.values()]
    np.testing.assert_allclose(shares, [0.6, 0.2, 0.2], atol=0.05)


def test_grouped_without_groups_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="neither patients nor source images"):
        split_indices(_pool([0, 1] * 20), SplitConfig(), "grouped")


def test_an_official_split_without_validation_takes_it_from_train():
    pool = _pool([0, 1] * 50, parts=[0] * 80 + [1] * 20, part_names=("train", "test"))
    splits = split_indices(pool, SplitConfig(validation=0.25), "official")
    assert splits["test"].tolist() == list(range(80, 100))
    assert _counts(pool, splits) == {"train": [30, 30], "validation": [10, 10], "test": [10, 10]}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0] * 30 + [1], "class 'class 1' has 1 different images; expected at least 3"),
        ([0] * 30 + [1] * 2, "class 'class 1'"),
        ([0, 1, 2, 3, 4] * 3, "15 different images are too few for a stratified share"),
    ],
)
def test_classes_too_small_to_divide(labels, message):
    with pytest.raises(DataError, match=message) as caught:
        split_indices(_pool(labels), SplitConfig(validation=0.1, test=0.2), "stratified")
    assert "\n" not in str(caught.value)


def test_a_part_without_a_class_is_named():
    parts = [0] * 6 + [1] * 6 + [2] * 6
    pool = _pool([0, 1] * 6 + [0] * 6, parts=parts, part_names=("train", "validation", "test"))
    with pytest.raises(DataError, match="the test split has no image of class 'class 1'"):
        split_indices(pool, SplitConfig(), "official")


def test_a_label_map_joins_reorders_and_leaves_out():
    pool = mapped_task(_pool([0, 1, 2, 3, 2]), {"b": ("class 3", "class 1"), "a": ("class 2",)})
    assert pool.class_names == ("b", "a")
    assert pool.labels.tolist() == [0, 1, 0, 1]
    assert pool.files == ("file 1", "file 2", "file 3", "file 4")
    assert pool.images[:, 0, 0, 1].tolist() == [1, 2, 3, 4]
    assert pool.digests == image_digests(pool.images)


def test_a_label_map_with_an_unknown_class_names_the_closest():
    with pytest.raises(ConfigurationError, match=r"'CLASS 2' is not.*mean 'class 2'"):
        mapped_task(_pool([0, 1, 2]), {"a": ("class 0",), "b": ("CLASS 2",)})


def test_drawing_images_per_class():
    pool = _pool([0] * 20 + [1] * 9)
    small, large = (draw_per_class(pool, n, seed=1) for n in (4, 8))
    assert np.bincount(small.labels).tolist() == [4, 4]
    assert set(small.files) < set(large.files)
    assert draw_per_class(pool, 4, seed=2).files != small.files
    with pytest.raises(DataError, match="class 'class 1' has 9 images; expected at least 10"):
        draw_per_class(pool, 10, seed=1)


SMALL = SyntheticConfig(train_images=48, validation_images=16, test_images=16)


def test_any_set_can_be_divided_anew():
    changes = {"resolution": 8, "synthetic": SMALL}
    official = load_dataset(DatasetConfig(**changes))
    assert official.files is None
    assert official.split_record()["files"] is None
    stratified = load_dataset(
        DatasetConfig(
            **changes,
            images_per_class=9,
            split={"method": "stratified", "validation": 0.2, "test": 0.2},
            label_map={"granulocyte": ("neutrophil", "basophil"), "other": ("lymphocyte",)},
        )
    )
    assert {name: len(split) for name, split in stratified.splits().items()} == {
        "train": 10, "validation": 4, "test": 4,
    }  # fmt: skip
    everything = load_pool(DatasetConfig(**changes))
    position = {file: k for k, file in enumerate(everything.files)}
    for name, split in stratified.splits().items():
        chosen = [position[file] for file in stratified.split_record()["files"][name]]
        np.testing.assert_array_equal(everything.images[chosen], split.images)
    assert "train/0" in position


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "pbc", "split": {"method": "official"}}, "pbc has no official split"),
        ({"images_per_class": 5}, "images_per_class needs a split of its own"),
        ({"name": "bloodmnist", "split": {"method": "grouped"}}, "grouped"),
    ],
)
def test_splits_a_set_cannot_have_are_refused_before_it_is_loaded(changes, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        DatasetConfig(**changes)


def test_a_pool_keeps_what_belongs_together():
    pool = dataclasses.replace(_pool([0, 1, 0], groups=[7, 8, 9]), warnings=("careful",))
    chosen = pool.select(np.array([2, 0]))
    assert chosen.groups.tolist() == [9, 7]
    assert chosen.files == ("file 2", "file 0")
    assert chosen.warnings == ("careful",)
