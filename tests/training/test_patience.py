"""Early stopping: each run stops on its own, keeps its best state, and sees every example."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.training.patience import fit_with_patience


def fit(start, slope, *, count=10, batch_size=4, max_epochs=20, patience=3):
    """Train x by `slope` an update; the validation loss is |x|, so crossing zero is the best."""
    return fit_with_patience(
        lambda x, batch: x + slope,
        jnp.abs,
        start,
        jnp.arange(count),
        jax.random.key(0),
        batch_size=batch_size,
        max_epochs=max_epochs,
        patience=patience,
    )


@pytest.fixture(scope="module")
def runs():
    starts, slopes = jnp.asarray([-5.0, 1.0, -100.0, -1.0]), jnp.asarray([0.5, 0.5, 0.5, jnp.nan])
    return jax.jit(jax.vmap(fit))(starts, slopes)


def test_each_run_stops_after_its_patience(runs):
    # Two updates an epoch: the first crosses zero in epoch 5; the second only gets worse.
    np.testing.assert_array_equal(runs.best_epoch[:3], [5, 1, 20])
    np.testing.assert_array_equal(runs.epochs[:3], [8, 4, 20])


def test_the_best_state_is_kept_and_not_the_last(runs):
    np.testing.assert_allclose(runs.best[:3], [0.0, 2.0, -80.0])


def test_validation_losses_are_those_of_the_trained_epochs(runs):
    np.testing.assert_allclose(runs.validation_loss[0, :8], [4, 3, 2, 1, 0, 1, 2, 3])
    assert np.isnan(runs.validation_loss[0, 8:]).all()
    assert np.isfinite(runs.validation_loss[2]).all()


def test_a_loss_that_is_not_finite_is_no_improvement(runs):
    assert runs.epochs[3] == 3
    assert runs.best_epoch[3] == 0
    assert runs.best[3] == -1.0


def test_epochs_shuffle_and_use_each_example_at_most_once():
    def note(state, batch):
        steps, seen = state
        return steps + 1, jax.lax.dynamic_update_slice(seen, batch, (4 * steps,))

    fit = fit_with_patience(
        note,
        lambda state: -state[0].astype(jnp.float32),
        (jnp.zeros((), jnp.int32), jnp.full(16, -1)),
        jnp.arange(10),
        jax.random.key(3),
        batch_size=4,
        max_epochs=2,
        patience=2,
    )
    seen = fit.best[1].reshape(2, 8)
    for epoch in seen:
        assert len(set(epoch.tolist())) == 8
        assert set(epoch.tolist()) <= set(range(10))
    assert seen[0].tolist() != seen[1].tolist()


def test_a_batch_larger_than_the_examples_is_all_of_them():
    found = fit(jnp.float32(-3.0), 1.0, count=3, batch_size=64, max_epochs=2)
    assert found.epochs == 2
    assert found.best == -1.0
