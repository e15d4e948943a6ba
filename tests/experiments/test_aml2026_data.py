"""Samples of aml2026 without leakage, and what its components keep."""

import numpy as np
import pytest

from hqnn_jax.data.pool import ImagePool
from hqnn_jax.errors import ConfigurationError, DataError
from hqnn_jax.experiments.aml2026.data import (
    Parts,
    SamplingConfig,
    component_angles,
    fitted_on_train,
    repeated_across_parts,
    retained_variance,
    sample_positions,
)

SAMPLING = SamplingConfig()


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(0).permutation(np.repeat([0, 1], [70, 90])).astype(np.int32)


def test_samples_are_balanced_and_divided_without_overlap(labels):
    positions = sample_positions(labels, 50, (0, 1, 7), SAMPLING)
    assert [part.shape for part in positions] == [(3, 64), (3, 16), (3, 20)]
    for fit, validation, test in zip(*positions, strict=True):
        assert len({*fit, *validation, *test}) == 100
        for part in (fit, validation, test):
            assert labels[part].mean() == 0.5


def test_the_seed_decides_the_sample_and_smaller_ones_are_nested(labels):
    def images(size, seed):
        return {
            int(k) for part in sample_positions(labels, size, (seed,), SAMPLING) for k in part[0]
        }

    assert images(20, 0) < images(50, 0)
    assert images(50, 0) != images(50, 1)
    again = sample_positions(labels, 50, (1, 0), SAMPLING)
    np.testing.assert_array_equal(
        again.test[1], sample_positions(labels, 50, (0,), SAMPLING).test[0]
    )


def test_too_few_images_are_refused(labels):
    with pytest.raises(DataError, match=r"80 images per class .* has \[70, 90\]"):
        sample_positions(labels, 80, (0,), SAMPLING)
    with pytest.raises(ConfigurationError, match="cannot be divided"):
        sample_positions(labels, 2, (0,), SAMPLING)


def test_transformations_are_fitted_on_the_training_images_only(labels):
    positions = sample_positions(labels, 40, (3,), SAMPLING)
    features = np.random.default_rng(1).normal(size=(len(labels), 6)) * np.arange(1, 7)
    found = fitted_on_train(lambda: component_angles(4), features, positions)
    assert found.train.shape == (1, 64, 4)
    np.testing.assert_allclose(found.train.min(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(found.train.max(axis=1), 2 * np.pi, atol=1e-5)
    # What is not trained on moves nothing, and is not clipped.
    moved = features.copy()
    moved[positions.test[0]] *= 10
    again = fitted_on_train(lambda: component_angles(4), moved, positions)
    np.testing.assert_array_equal(again.train, found.train)
    assert again.test.min() < -1
    assert again.test.max() > 2 * np.pi + 1


def test_images_that_are_tested_and_trained_on_are_counted():
    digests = (b"a", b"b", b"c", b"a", b"d", b"e")
    pool = ImagePool(
        name="x", images=np.zeros((6, 8, 8, 1), np.uint8), labels=np.zeros(6, np.int32),
        class_names=("x",), digests=digests, parts=np.zeros(6, np.int32), part_names=("all",),
        files=("",) * 6, licence="", citation="",
    )  # fmt: skip
    positions = Parts(np.array([[0, 1], [0, 1]]), np.array([[2], [4]]), np.array([[3, 4], [2, 5]]))
    assert repeated_across_parts(positions, pool) == 1


def test_retained_variance_is_that_of_the_training_images(labels):
    rng = np.random.default_rng(2)
    # Three groups of equal columns: three components hold everything, two hold two thirds.
    features = np.repeat(rng.normal(size=(len(labels), 3)), 2, axis=1)
    positions = sample_positions(labels, 60, (0,), SAMPLING)
    features[positions.test[0]] = 0
    (three,) = retained_variance(features, positions, 3)
    (two,) = retained_variance(features, positions, 2)
    assert three == pytest.approx(1)
    assert 2 / 3 <= two < 0.85
    train = features[positions.train[0]]
    train = (train - train.mean(axis=0)) / train.std(axis=0)
    values = np.linalg.svd(train, compute_uv=False) ** 2
    assert two == pytest.approx(values[:2].sum() / values.sum())
