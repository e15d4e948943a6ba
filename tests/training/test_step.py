"""The compiled step: loss, data order, averaging, and its equivalents."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.conftest import assert_same, norm_of_difference


def test_loss_is_the_weighted_smoothed_cross_entropy(small_study):
    task = small_study(label_smoothing=0.1).task
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 1.0, 3.0], [1.0, 1.5, -2.0], [0.1, 0.2, 0.3]])
    labels = np.array([0, 1, 1, 2])
    weights = np.array([0.5, 3.0, 1.5])
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = 0.0
    for row, label in zip(log_probabilities, labels, strict=True):
        target = np.full(3, 0.1 / 3)
        target[label] += 0.9
        expected += weights[label] * -(target * row).sum()
    expected /= weights[labels].sum()
    loss = task.loss(jnp.asarray(logits, jnp.float32), jnp.asarray(labels), jnp.asarray(weights))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_an_example_of_weight_two_counts_as_two_examples(small_study):
    task = small_study().task
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(3, 3)), jnp.float32)
    labels, ones = jnp.asarray([0, 2, 1]), jnp.ones(3)
    weighted = task.loss(logits, labels, ones, jnp.asarray([1.0, 2.0, 1.0]))
    twice = jnp.asarray([0, 1, 1, 2])
    assert float(weighted) == pytest.approx(float(task.loss(logits[twice], labels[twice], ones)))
    task = dataclasses.replace(task, multilabel=True)
    labels = jnp.asarray([[1, 0, 1], [0, 0, 0], [1, 1, 1]])
    weighted = task.loss(logits, labels, ones, jnp.asarray([1.0, 2.0, 1.0]))
    assert float(weighted) == pytest.approx(float(task.loss(logits[twice], labels[twice], ones)))


def test_each_of_several_labels_has_a_loss_of_its_own(small_study):
    task = dataclasses.replace(small_study().task, multilabel=True)
    smoothing = task.training.label_smoothing
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(5, 3)), rng.integers(0, 2, (5, 3))
    weights = np.array([1.0, 3.0, 2.0])
    probabilities = 1 / (1 + np.exp(-logits))
    targets = labels * (1 - smoothing) + smoothing / 2
    losses = -targets * np.log(probabilities) - (1 - targets) * np.log(1 - probabilities)
    expected = (np.where(labels == 1, weights, 1) * losses).mean()
    found = task.loss(jnp.asarray(logits, jnp.float32), jnp.asarray(labels), jnp.asarray(weights))
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_an_epoch_visits_examples_at_most_once_in_a_new_order(small_study):
    study = small_study()
    first = study.task.epoch_order(study.state, study.data.rows)
    again = study.task.epoch_order(study.state, study.data.rows)
    later = study.state._replace(step=study.state.step + study.task.steps_per_epoch)
    second = study.task.epoch_order(later, study.data.rows)
    assert sorted(np.asarray(first)) == list(range(70))
    np.testing.assert_array_equal(first, again)
    assert np.any(np.asarray(first) != np.asarray(second))
    other_seed = study.state._replace(key=jax.random.key(99))
    third = study.task.epoch_order(other_seed, study.data.rows)
    assert np.any(np.asarray(first) != np.asarray(third))


def test_order_is_the_same_anywhere_within_the_epoch(small_study):
    study = small_study()
    middle = study.state._replace(step=study.state.step + 2)
    np.testing.assert_array_equal(
        study.task.epoch_order(study.state, study.data.rows),
        study.task.epoch_order(middle, study.data.rows),
    )


def test_steps_use_consecutive_batches_of_the_order(small_study):
    study = small_study(learning_rate={"classical": 1e-3})
    data = study.data
    order = jnp.arange(70)[::-1]
    state = study.state._replace(step=jnp.int32(1))
    # Only the second batch of the order, examples 53 to 38, is made of one class.
    batch = np.arange(70)[::-1][16:32]
    labels = data.train.labels.at[batch].set(2)
    marked = data.train._replace(labels=labels)
    step = jax.jit(study.task.train_step)
    after = step(state, marked, order, data.class_weights)
    inputs = np.asarray(data.train.inputs).copy()
    inputs[np.setdiff1d(np.arange(70), batch)] = 1e6  # examples that must not be read
    other = step(state, marked._replace(inputs=jnp.asarray(inputs)), order, data.class_weights)
    assert_same(after, other)
    assert int(after.metrics.images) == 16
    assert int(after.step) == 2


def test_an_epoch_in_one_program_equals_its_steps(small_study):
    study = small_study(average_decay=0.9)
    task, data = study.task, study.data
    order = task.epoch_order(study.state, data.rows)
    state = study.state
    step = jax.jit(task.train_step)
    for _ in range(task.steps_per_epoch):
        state = step(state, data.train, order, data.class_weights)
    whole = jax.jit(task.train_epoch)(study.state, data.train, order, data.class_weights)
    assert int(whole.step) == task.steps_per_epoch
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        whole.variables,
        state.variables,
    )
    from_the_middle = step(study.state, data.train, order, data.class_weights)
    rest = jax.jit(task.train_epoch)(from_the_middle, data.train, order, data.class_weights)
    assert int(rest.step) == task.steps_per_epoch


def test_training_lowers_the_loss(small_study):
    study = small_study(learning_rate={"classical": 3e-2, "circuit": 3e-2})
    task, data, state = study.task, study.data, study.state
    step = jax.jit(task.train_step)
    losses = []
    for _ in range(12):
        order = task.epoch_order(state, data.rows)
        for _ in range(task.steps_per_epoch):
            state = step(state, data.train, order, data.class_weights)
        losses.append(float(state.metrics.loss) / int(state.metrics.images))
        state = task.end_epoch(state, jnp.float32(0))
    assert losses[-1] < 0.5 * losses[0]
    assert int(state.metrics.images) == 0


def test_plateau_scale_multiplies_the_step(small_study):
    study = small_study(optimizer="adam")
    data = study.data
    order = study.task.epoch_order(study.state, data.rows)
    step = jax.jit(study.task.train_step)
    full = step(study.state, data.train, order, data.class_weights)
    reduced = study.state._replace(plateau=study.state.plateau._replace(scale=jnp.float32(0.25)))
    quarter = step(reduced, data.train, order, data.class_weights)
    ratio = norm_of_difference(quarter.variables, study.state.variables) / norm_of_difference(
        full.variables, study.state.variables
    )
    assert ratio == pytest.approx(0.25, rel=1e-4)


def test_average_follows_the_parameters_and_is_what_is_evaluated(small_study):
    study = small_study(average_decay=0.5)
    data = study.data
    order = study.task.epoch_order(study.state, data.rows)
    after = jax.jit(study.task.train_step)(study.state, data.train, order, data.class_weights)
    # The first decay is min(0.5, 1 / 10).
    expected = jax.tree.map(
        lambda old, new: 0.1 * old + 0.9 * new, study.state.variables, after.variables
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        after.average,
        expected,
    )
    assert after.evaluated is after.average
    assert small_study().state.evaluated is not None


def test_evaluation_neither_drops_out_nor_uses_the_batch(small_study):
    study = small_study()
    predict = jax.jit(study.task.predict)
    inputs = study.data.validation.inputs
    together = predict(study.state.variables, inputs)
    alone = jnp.concatenate([predict(study.state.variables, inputs[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(together[:5], alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(together.sum(-1), 1.0, rtol=1e-5)


def test_seeds_can_be_mapped_over(small_study):
    first, second = small_study(seed=0), small_study(seed=7)
    data = first.data
    stacked = jax.tree.map(lambda a, b: jnp.stack([a, b]), first.state, second.state)
    step = jax.jit(jax.vmap(first.task.train_step, in_axes=(0, None, None, None)))
    order = jnp.arange(70)
    both = step(stacked, data.train, order, data.class_weights)
    for index, study in enumerate((first, second)):
        alone = jax.jit(study.task.train_step)(study.state, data.train, order, data.class_weights)
        jax.tree.map(
            lambda a, b, i=index: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-5),
            both.variables,
            alone.variables,
        )
