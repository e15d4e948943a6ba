"""Sets of training images and wrong labels: exact in number, nested, and drawn anew per seed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hqnn_jax.data.selection import noisy_labels, training_rows
from hqnn_jax.errors import DataError

NAMES = ("neutrophil", "basophil", "platelet")
SEEDS = st.integers(0, 2**31 - 1)


def labels_of(counts, seed=0):
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    return np.random.default_rng(seed).permutation(labels)


@st.composite
def label_sets(draw):
    counts = draw(st.lists(st.integers(4, 30), min_size=2, max_size=6))
    return labels_of(counts, draw(st.integers(0, 9)))


@settings(deadline=None)
@given(label_sets(), SEEDS, st.integers(1, 4), st.integers(1, 4))
def test_rows_are_balanced_sorted_and_nested(labels, seed, few, more):
    names = [str(k) for k in range(labels.max() + 1)]
    few, more = sorted((few, more))
    rows = training_rows(labels, few, seed, names)
    assert rows.dtype == np.int32
    assert np.all(np.diff(rows) > 0)
    np.testing.assert_array_equal(np.bincount(labels[rows]), few)
    assert set(rows) <= set(training_rows(labels, more, seed, names))


def test_rows_of_a_class_do_not_depend_on_the_other_classes():
    labels = labels_of([9, 12, 7])
    relabelled = np.where(labels == 2, 1, labels)
    rows = training_rows(labels, 5, 3, NAMES)
    others = training_rows(relabelled, 5, 3, NAMES[:2])
    np.testing.assert_array_equal(rows[labels[rows] == 0], others[relabelled[others] == 0])


def test_every_seed_and_every_class_draws_its_own_rows():
    labels = np.tile(np.arange(3, dtype=np.int32), 40)
    sets = [tuple(training_rows(labels, 10, seed, NAMES)) for seed in range(20)]
    assert len(set(sets)) == 20
    # With one permutation for all classes, row k of every class would be chosen together.
    rows = training_rows(labels, 10, 0, NAMES)
    assert not np.array_equal(rows[labels[rows] == 0] // 3, rows[labels[rows] == 1] // 3)
    # Each image is as likely as any other: 400 draws of a quarter of 40, mean 100, deviation 8.7.
    drawn = np.concatenate([training_rows(labels, 10, seed, NAMES) for seed in range(400)])
    assert np.all(np.abs(np.bincount(drawn, minlength=120) - 100) < 45)


def test_all_rows():
    labels = labels_of([3, 1, 2])
    np.testing.assert_array_equal(training_rows(labels, None, 4, NAMES), np.arange(6))


def test_a_class_with_too_few_images():
    with pytest.raises(DataError, match=r"6 asked for.*'basophil' has 5.*at most 4") as error:
        training_rows(labels_of([9, 5, 4]), 6, 0, NAMES)
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"'platelet' has 0 training images; choose a dataset"):
        training_rows(labels_of([9, 5]), 2, 0, NAMES)


@settings(deadline=None)
@given(label_sets(), SEEDS, st.floats(0, 1), st.floats(0, 1))
def test_wrong_labels_are_exact_in_number_and_nested(labels, seed, low, high):
    num_classes = int(labels.max()) + 1
    low, high = sorted((low, high))
    original = labels.copy()
    noisy = noisy_labels(labels, low, num_classes, seed)
    noisier = noisy_labels(labels, high, num_classes, seed)
    np.testing.assert_array_equal(labels, original)
    assert noisy.dtype == np.int32
    assert noisy.min() >= 0
    assert noisy.max() < num_classes
    wrong = noisy != labels
    assert wrong.sum() == round(low * len(labels))
    assert (noisier != labels).sum() == round(high * len(labels))
    np.testing.assert_array_equal(noisier[wrong], noisy[wrong])


def test_wrong_labels_are_uniform_over_images_and_the_other_classes():
    labels = np.repeat(np.arange(4, dtype=np.int32), [100, 900, 2000, 3000])
    noisy = noisy_labels(labels, 0.5, 4, 1)
    confusion = np.zeros((4, 4))
    np.add.at(confusion, (labels, noisy), 1)
    shares = confusion / confusion.sum(1, keepdims=True)
    expected = np.where(np.eye(4, dtype=bool), 0.5, 0.5 / 3)
    deviations = np.sqrt(expected * (1 - expected) / np.bincount(labels)[:, None])
    assert np.all(np.abs(shares - expected) < 4 * deviations)


def test_no_noise_is_the_very_labels():
    labels = labels_of([5, 5])
    assert noisy_labels(labels, 0.0, 2, 0) is labels


def test_seeds_draw_other_wrong_labels():
    labels = labels_of([50, 50, 50])
    drawn = {noisy_labels(labels, 0.2, 3, seed).tobytes() for seed in range(20)}
    assert len(drawn) == 20


def test_which_labels_are_wrong_is_independent_of_the_chosen_rows():
    labels = np.repeat(np.arange(2, dtype=np.int32), 500)
    wrong_among_chosen = [
        (noisy_labels(labels, 0.3, 2, seed) != labels)[training_rows(labels, 100, seed, "ab")]
        for seed in range(50)
    ]
    # 50 · 200 draws of 0.3: deviation 0.0046 or less.
    assert abs(np.mean(wrong_among_chosen) - 0.3) < 0.02


def test_noise_needs_another_class():
    with pytest.raises(DataError, match=r"label_noise: 0.1 asked for.*1 class"):
        noisy_labels(np.zeros(5, np.int32), 0.1, 1, 0)
