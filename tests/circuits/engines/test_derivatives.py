"""Mapping over weights, second derivatives, and forward mode."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hqnn_jax.circuits import Circuit
from tests.circuits.engines.examples import (
    FAST_ENGINES,
    UNOPTIMISED,
    asymmetric_inputs,
    build,
    make,
    qnode,
)


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *(("small", engine) for engine in (*FAST_ENGINES, "pennylane")),
        ("no_shared_angle", "statevector"),
    ],
)
def test_vmap_over_weights(name, engine):
    circuit = make(name)
    function = build(circuit, engine)
    weights, features, cotangents = asymmetric_inputs(circuit, 5, jnp.float32)
    several = jnp.stack([weights, weights[::-1] - 0.3, 2 - weights, weights / 2])

    def loss(weights):
        outputs = function(weights, features)
        return jnp.sum(cotangents * outputs), outputs

    gradient = jax.grad(loss, has_aux=True)
    found = jax.jit(jax.vmap(gradient), compiler_options=UNOPTIMISED)(several)
    assert found[0].shape == several.shape
    assert found[1].shape == (4, 5, circuit.num_outputs)
    one = jax.jit(gradient, compiler_options=UNOPTIMISED)
    for row, alone in enumerate(several):
        for together, single in zip(found, one(alone), strict=True):
            np.testing.assert_allclose(together[row], single, atol=2e-6)


def second_derivatives(function, circuit: Circuit):
    """Derivatives along a direction, in weights and features, of derivatives in both."""
    weights, features, cotangents = asymmetric_inputs(circuit, 2, jnp.float64)
    along = asymmetric_inputs(circuit, 3, jnp.float64)
    scalar = lambda w, x: jnp.vdot(cotangents, function(w, x))  # noqa: E731

    def slope(weights, features):
        by_weights, by_features = jax.grad(scalar, (0, 1))(weights, features)
        return jnp.vdot(by_weights, along[0]) + jnp.vdot(by_features, along[1][1:])

    derivative = jax.jit(jax.grad(slope, (0, 1)), compiler_options=UNOPTIMISED)
    return derivative(weights, features)


@functools.cache
def expected_second_derivatives():
    with jax.enable_x64(True):
        return jax.device_get(second_derivatives(qnode(make("small")), make("small")))


@pytest.mark.parametrize("engine", FAST_ENGINES)
def test_second_derivatives(engine):
    expected = expected_second_derivatives()
    assert min(np.max(np.abs(part)) for part in expected) > 0.1
    with jax.enable_x64(True):
        found = second_derivatives(build(make("small"), engine), make("small"))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


@pytest.mark.parametrize("engine", ["statevector", "unitary", "pauli_transfer"])
def test_forward_mode_agrees_with_reverse_mode(engine):
    circuit = make("small")
    function = build(circuit, engine)
    with jax.enable_x64(True):
        weights, features, cotangents = asymmetric_inputs(circuit, 3, jnp.float64)
        along = (jnp.cos(weights), jnp.sin(3 * features))

        def both(weights, features):
            scalar = lambda w, x: jnp.vdot(cotangents, function(w, x))  # noqa: E731
            _, forward = jax.jvp(scalar, (weights, features), along)
            reverse = jax.grad(scalar, (0, 1))(weights, features)
            return forward, sum(map(jnp.vdot, reverse, along))

        forward, reverse = jax.jit(both, compiler_options=UNOPTIMISED)(weights, features)
    assert abs(forward) > 0.1
    np.testing.assert_allclose(forward, reverse, atol=1e-11)
