"""Cosine and sine computed together, against double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.circuits.simulation.trigonometry import cosine_sine


def test_single_precision_is_accurate_over_many_turns():
    rng = np.random.default_rng(0)
    near = np.concatenate([np.linspace(-20, 20, 20001), np.arange(-8, 9) * np.pi / 4])
    angles = np.concatenate([near, rng.uniform(-8192, 8192, 20000)]).astype(np.float32)
    cosine, sine = jax.jit(cosine_sine)(angles)
    exact = angles.astype(np.float64)
    np.testing.assert_allclose(cosine, np.cos(exact), rtol=0, atol=1.5e-7)
    np.testing.assert_allclose(sine, np.sin(exact), rtol=0, atol=1.5e-7)


def test_double_precision_is_exact():
    with jax.enable_x64(True):
        angles = jnp.linspace(-9.0, 9.0, 101)
        cosine, sine = cosine_sine(angles)
        np.testing.assert_array_equal(cosine, jnp.cos(angles))
        np.testing.assert_array_equal(sine, jnp.sin(angles))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_any_order(order):
    angles = jnp.array([-7.3, -0.4, 0.0, 0.9, 2.5, 100.25])
    derivatives = [lambda x: cosine_sine(x)[0], lambda x: cosine_sine(x)[1]]
    for _ in range(order):
        derivatives = [jax.grad(function) for function in derivatives]
    exact = np.asarray(angles, np.float64) + order * np.pi / 2
    for function, expected in zip(derivatives, (np.cos(exact), np.sin(exact)), strict=True):
        np.testing.assert_allclose(jax.vmap(function)(angles), expected, atol=3e-7)
