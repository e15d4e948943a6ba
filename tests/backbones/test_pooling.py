"""Pooling against XLA's own windows and against torch's definition, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from hqnn_jax.backbones.pooling import adaptive_average_pool, max_pool, max_pool_2x2

IMAGES = jax.random.normal(jax.random.key(0), (2, 7, 10, 3))  # one odd and one even side


def windows(images, size, stride, padding):
    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    return lax.reduce_window(
        images, -jnp.inf, lax.max, (1, size, size, 1), (1, stride, stride, 1), pads
    )


def assert_same_values_and_gradients(ours, reference):
    @jax.jit
    def values_and_gradients(images):
        results = []
        for function in (ours, reference):
            value, pullback = jax.vjp(function, images)
            weights = jax.random.normal(jax.random.key(1), value.shape)
            results.append((value, *pullback(weights)))
        return results

    actual, expected = values_and_gradients(IMAGES)
    np.testing.assert_array_equal(actual[0], expected[0])
    np.testing.assert_allclose(actual[1], expected[1], rtol=1e-6)


def test_max_pool_2x2_agrees_with_xla_and_drops_the_odd_edge():
    assert_same_values_and_gradients(max_pool_2x2, lambda x: windows(x, 2, 2, 0))


@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 2, 1), (3, 1, 0), (2, 3, 1)])
def test_max_pool_agrees_with_xla(size, stride, padding):
    assert_same_values_and_gradients(
        lambda x: max_pool(x, size=size, stride=stride, padding=padding),
        lambda x: windows(x, size, stride, padding),
    )


def test_padding_never_wins_the_maximum():
    pooled = max_pool(jnp.full((1, 4, 5, 2), -3.0), size=3, stride=2, padding=1)
    np.testing.assert_array_equal(pooled, jnp.full((1, 2, 3, 2), -3.0))


@pytest.mark.parametrize("shape", [(7, 7), (14, 21), (5, 12), (2, 1), (10, 3)])
def test_adaptive_average_pool_follows_torch(shape):
    images = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype(np.float32)
    expected = np.empty((2, 4, 4, 3), np.float32)
    for row in range(4):
        for column in range(4):
            tops = np.floor(row * shape[0] / 4), np.ceil((row + 1) * shape[0] / 4)
            lefts = np.floor(column * shape[1] / 4), np.ceil((column + 1) * shape[1] / 4)
            window = images[:, slice(*map(int, tops)), slice(*map(int, lefts))]
            expected[:, row, column] = window.mean((1, 2))
    pooled = adaptive_average_pool(jnp.asarray(images), 4)
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)


def test_adaptive_average_pool_keeps_images_of_its_size():
    images = jax.random.normal(jax.random.key(2), (1, 7, 7, 2))
    np.testing.assert_allclose(adaptive_average_pool(images, 7), images, rtol=1e-6)
