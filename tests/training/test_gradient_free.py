"""COBYLA and SPSA on functions whose minimum is known, and the gains of SPSA."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.errors import TrainingError
from hqnn_jax.training.gradient_free import cobyla, spsa

MINIMUM = jnp.asarray([[0.3, -1.2, 2.0], [0.7, 0.1, -0.4]])
SCALES = jnp.asarray([[1.0, 2.0, 0.5], [1.5, 1.0, 3.0]])


def bowl(weights):
    return jnp.sum(SCALES * (weights - MINIMUM) ** 2) + 0.25


def test_cobyla_finds_the_minimum_within_its_evaluations():
    found = cobyla(jax.jit(bowl), jnp.zeros((2, 3)), iterations=200)
    assert found.weights.shape == (2, 3)
    assert found.weights.dtype == jnp.float32
    np.testing.assert_allclose(found.weights, MINIMUM, atol=0.02)
    assert len(found.losses) <= 200
    assert found.losses[0] == pytest.approx(float(bowl(jnp.zeros((2, 3)))))


def test_cobyla_returns_the_best_of_what_it_evaluated():
    # So few evaluations that the last point is not the best one.
    found = cobyla(jax.jit(bowl), MINIMUM, iterations=8)
    assert len(found.losses) == 8
    assert found.losses[-1] > found.losses.min()
    assert float(bowl(jnp.asarray(found.weights))) == pytest.approx(found.losses.min())


def test_cobyla_refuses_a_loss_that_is_not_finite():
    with pytest.raises(TrainingError, match="the loss is nan at evaluation 1"):
        cobyla(lambda w: jnp.nan * w[0], jnp.ones(2), iterations=20)


@pytest.fixture(scope="module")
def spsa_runs():
    run = jax.jit(jax.vmap(lambda key: spsa(bowl, jnp.zeros((2, 3)), key, iterations=400)))
    return run(jax.random.split(jax.random.key(0), 8))


def test_spsa_finds_the_minimum_for_every_seed(spsa_runs):
    assert spsa_runs.weights.shape == (8, 2, 3)
    assert spsa_runs.losses.shape == (8, 400)
    np.testing.assert_allclose(np.median(spsa_runs.weights, axis=0), MINIMUM, atol=0.1)
    assert (jax.vmap(bowl)(spsa_runs.weights) < 0.5).all()
    assert (spsa_runs.losses[:, 0] > 5).all()


def test_seeds_differ(spsa_runs):
    assert len(np.unique(spsa_runs.losses[:, 20])) == 8


def test_spsa_has_the_wanted_first_change_and_spalls_gains():
    # In one dimension the estimate of a linear loss is exact, whatever the signs.
    found = spsa(lambda w: 3.0 * w[0], jnp.zeros(1), jax.random.key(1), iterations=2)
    offset = 0.1 * 2
    expected = -0.2 * (1 + ((1 + offset) / (2 + offset)) ** 0.602)
    assert found.weights[0] == pytest.approx(expected, rel=1e-4)


def test_spsa_descends_on_average():
    slope = jnp.asarray([1.0, -2.0, 0.5])
    run = jax.jit(
        jax.vmap(lambda key: spsa(lambda w: slope @ w, jnp.zeros(3), key, iterations=1).weights)
    )
    mean = np.mean(run(jax.random.split(jax.random.key(2), 4000)), axis=0)
    # Simultaneous perturbation is unbiased on a linear loss: the mean step is along -slope.
    np.testing.assert_allclose(mean / np.abs(mean).sum(), -slope / 3.5, atol=0.05)


def test_spsa_stays_finite_on_a_flat_loss():
    found = spsa(lambda w: 0.0 * w.sum(), jnp.ones(4), jax.random.key(0), iterations=5)
    np.testing.assert_array_equal(found.weights, np.ones(4))


def test_spsa_evaluates_a_pair_an_iteration_and_needs_no_gradient():
    calls = []

    def loss(weights):
        jax.debug.callback(calls.append, weights)
        return jnp.sum(jnp.floor(10 * weights))

    spsa(loss, jnp.ones(3), jax.random.key(0), iterations=7, calibration=2)
    jax.effects_barrier()
    assert len(calls) == 2 * (7 + 2)
