"""Predictions of a whole split: padding, order, and averages over flips and turns."""

import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.models.pure import Variables
from hqnn_jax.training.prediction import Predictor, averaged_over_views, dihedral_views

WEIGHTS = jnp.asarray(np.random.default_rng(0).normal(size=(4 * 4 * 3, 5)), jnp.float32)
VARIABLES = Variables({"kernel": WEIGHTS}, {})


def linear(variables, images):
    return images.reshape(images.shape[0], -1) @ variables.params["kernel"]


@pytest.fixture
def images():
    return np.random.default_rng(1).normal(size=(11, 4, 4, 3)).astype(np.float32)


@pytest.mark.parametrize("batch_size", [1, 4, 11, 64])
def test_every_example_is_predicted_once_and_in_order(images, batch_size):
    predictor = Predictor.compile(linear, VARIABLES, images, batch_size)
    advanced = []
    outputs = predictor(VARIABLES, images, advanced.append)
    np.testing.assert_allclose(outputs, linear(VARIABLES, images), rtol=1e-4, atol=1e-5)
    assert sum(advanced) == 11


def test_there_are_eight_different_views_that_keep_the_pixels(images):
    views = [np.asarray(view) for view in dihedral_views(jnp.asarray(images))]
    assert len(views) == 8
    assert len({view.tobytes() for view in views}) == 8
    for view in views:
        np.testing.assert_array_equal(
            np.sort(view.reshape(11, 16, 3), axis=1), np.sort(images.reshape(11, 16, 3), axis=1)
        )


def test_average_over_views_does_not_depend_on_the_orientation(images):
    predict = averaged_over_views(linear, "dihedral")
    upright = predict(VARIABLES, jnp.asarray(images))
    turned = predict(VARIABLES, jnp.rot90(jnp.asarray(images), axes=(1, 2)))
    np.testing.assert_allclose(upright, turned, rtol=1e-4, atol=1e-5)
    plain = averaged_over_views(linear, "none")(VARIABLES, jnp.asarray(images))
    assert np.abs(np.asarray(plain - upright)).max() > 0.1
