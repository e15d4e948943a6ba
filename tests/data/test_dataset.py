"""Fingerprint, leakage counts and class weights of small datasets."""

import numpy as np
import pytest

from hqnn_jax.data.dataset import Split, class_weights, make_dataset
from hqnn_jax.data.leakage import SharedImages
from hqnn_jax.errors import DataError


def _split(contents, labels):
    """Images of 2 x 3 grey pixels, all of one value each."""
    images = np.broadcast_to(
        np.array(contents, np.uint8)[:, None, None, None], (len(labels), 2, 3, 1)
    )
    return Split(images.copy(), np.array(labels, np.int32))


def _dataset(train, validation, test):
    return make_dataset(
        {"test": test, "train": train, "validation": validation},
        name="small",
        class_names=("a", "b"),
        licence="none",
        citation="nobody",
        synthetic=True,
    )


def test_shared_images_are_counted_for_each_pair_of_splits():
    dataset = _dataset(
        train=_split([1, 2, 3, 3], [0, 0, 1, 0]),
        validation=_split([2, 9], [0, 1]),
        test=_split([3, 1, 1, 7], [1, 0, 1, 1]),
    )
    assert dataset.shared_images == (
        SharedImages("train", "validation", images=1, different_labels=0),
        # 3 occurs with both labels in train; the second copy of 1 carries another label.
        SharedImages("train", "test", images=3, different_labels=2),
        SharedImages("validation", "test", images=0, different_labels=0),
    )


def test_fingerprint_depends_on_every_image_label_and_split():
    def fingerprint(**changed):
        splits = {
            "train": _split([1, 2], [0, 1]),
            "validation": _split([3], [0]),
            "test": _split([4], [1]),
        }
        return _dataset(**{**splits, **changed}).fingerprint

    original = fingerprint()
    assert len(original) == 64
    assert original == fingerprint()
    variants = {
        original,
        fingerprint(train=_split([1, 5], [0, 1])),
        fingerprint(train=_split([2, 1], [0, 1])),
        fingerprint(test=_split([4], [0])),
        fingerprint(validation=_split([4], [0]), test=_split([3], [1])),
    }
    assert len(variants) == 5


def test_splits_come_in_their_order_with_their_lengths():
    dataset = _dataset(_split([1, 2], [0, 1]), _split([3], [0]), _split([4, 5, 6], [1, 0, 0]))
    assert {name: len(split) for name, split in dataset.splits().items()} == {
        "train": 2,
        "validation": 1,
        "test": 3,
    }
    assert list(dataset.splits()) == ["train", "validation", "test"]
    assert dataset.num_classes == 2


def test_class_weights_are_inverse_frequencies_averaging_to_one():
    labels = np.array([0, 1, 1, 1, 2, 2], np.int32)
    weights = class_weights(labels, 3)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, [2, 2 / 3, 1])
    assert weights[labels].mean() == pytest.approx(1)


@pytest.mark.parametrize("num_classes", [2, 4])
def test_class_weights_need_every_class(num_classes):
    with pytest.raises(DataError, match=r"counts \[1, 3, 2"):
        class_weights(np.array([0, 1, 1, 1, 2, 2], np.int32), num_classes)
