"""The streams of random numbers: stored results depend on what each of them draws."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np

from hqnn_jax import keys


def data(key) -> list[int]:
    return np.asarray(jax.random.key_data(key)).tolist()


def test_streams_are_those_that_stored_results_were_drawn_with():
    fold, seed = jax.random.fold_in, jax.random.key(7)
    training, number = fold(seed, 1), jnp.int32(3)
    expected = {
        "initial_model": (keys.initial_model(7), jax.random.split(fold(seed, 0))),
        "frozen_backbone": ([keys.frozen_backbone(7)], [seed]),
        "training": ([keys.training(7)], [training]),
        "step": (keys.step(training, number), jax.random.split(fold(training, 3))),
        "epoch_order": (
            [keys.epoch_order(training, number)],
            [fold(fold(training, 2147483647), 3)],
        ),
        "insights": ([keys.insights(training)], [fold(training, 2147483646)]),
        "own_augmentation": ([keys.own_augmentation(training)], [fold(training, 2147483647)]),
        "evaluation": ([keys.evaluation(7, 2)], [fold(fold(seed, 2), 2)]),
    }
    for name, (found, wanted) in expected.items():
        assert list(map(data, found)) == list(map(data, wanted)), name


def test_draws_on_the_host_are_those_that_stored_results_were_made_with():
    for found, seed in (
        (keys.training_rows(7, 3), (5001, 7, 3)),
        (keys.label_noise(7), (5002, 7)),
        (keys.shown_images(), 0),
    ):
        assert found.integers(2**62) == np.random.default_rng(seed).integers(2**62)


def test_the_table_names_every_stream():
    streams = [name for name, _ in inspect.getmembers(keys, inspect.isfunction)]
    assert len(streams) == 11
    for name in streams:
        assert f"`{name}` |" in keys.__doc__
