"""Which images of a split are evaluated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hqnn_jax.hardware_evaluation.images import choose_images

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 3], [60, 37, 3]))


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any),
    count=st.integers(1, 150),
    seed=st.integers(0, 5),
)
def test_classes_keep_their_shares(sizes, count, seed):
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(sizes)), sizes))
    chosen = choose_images(labels, count, True, seed)
    assert len(chosen) == min(count, len(labels))
    assert np.all(np.diff(chosen) > 0)
    numbers = np.bincount(labels[chosen], minlength=len(sizes))
    exact = min(count, len(labels)) * np.array(sizes) / len(labels)
    assert np.all(numbers <= sizes)
    if count >= np.count_nonzero(sizes):
        assert np.all(numbers[np.array(sizes) > 0] > 0)
        # Classes that would have had none are given one of the others' images.
        lifted = np.count_nonzero((exact < 1) & (numbers == 1))
        assert np.all(np.abs(numbers - exact) < 1 + lifted)
    else:
        assert np.all(np.abs(numbers - exact) < 1)


def test_the_seed_decides_which():
    first, again, other = (choose_images(LABELS, 20, True, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.bincount(LABELS[first]).tolist() == [12, 7, 0, 1]


@pytest.mark.parametrize("count", [None, 100, 256])
def test_all_images_where_there_are_no_more(count):
    np.testing.assert_array_equal(choose_images(LABELS, count, True, 3), np.arange(100))


def test_without_strata_every_image_is_equally_likely():
    drawn = np.concatenate([choose_images(LABELS, 10, False, seed) for seed in range(300)])
    times = np.bincount(drawn, minlength=100)
    # 30 each on average, with a deviation of 5.2.
    assert times.min() > 8
    assert times.max() < 52
    assert abs(np.mean(LABELS[drawn] == 3) - 0.03) < 0.012
