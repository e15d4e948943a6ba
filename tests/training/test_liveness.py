"""Memory at once, from a trace."""

import jax
import jax.numpy as jnp

from hqnn_jax.training.liveness import peak_bytes

X, A, B = jnp.zeros((8, 16)), jnp.zeros((16, 32)), jnp.zeros((32, 16))
WIDE = 8 * 32 * 4


def peak(function, *inputs, name=""):
    return peak_bytes(jax.make_jaxpr(function)(*inputs), name)


def test_chains_of_elementwise_operations_take_nothing():
    assert peak(lambda x: jnp.sum(jnp.tanh(2 * x + 1) ** 2), X).other == 4
    assert peak(lambda x: jnp.tanh(2 * x + 1), X).other == 0


def test_what_is_multiplied_is_there_as_a_whole():
    # x @ A, and its tanh, which the second product reads.
    assert peak(lambda x, a, b: jnp.tanh(x @ a) @ b, X, A, B).other == WIDE + WIDE

    # What is read again at the end stays.
    def residual(x, a, b):
        y = x @ a
        return (y @ b) @ a + y

    kept = peak(residual, X, A, B).other
    assert kept == WIDE + 8 * 16 * 4 + WIDE


def test_calls_are_part_of_the_program():
    def layer(x, a):
        return jax.jit(jnp.tanh)(x @ a) @ a.T

    assert peak(jax.jit(layer), X, A).other == peak(layer, X, A).other > 0


def test_gradients_need_what_the_way_back_reads():
    def loss(a):
        y = X
        for _ in range(4):
            y = jnp.tanh(y @ a @ a.T)
        return jnp.sum(y**2)

    forward, gradient = peak(loss, A).other, peak(jax.grad(loss), A).other
    assert gradient > 2 * forward


def test_loops_need_one_turn_at_a_time():
    def turn(x, _):
        return jnp.tanh(x @ A) @ A.T, None

    once = peak(lambda x: turn(x, None)[0], X).other
    often = peak(lambda x: jax.lax.scan(turn, x, None, length=50)[0], X).other
    assert often <= 2 * once


def test_a_function_by_name_is_told_apart():
    def circuit(x, wide, narrow):
        return jnp.sum((x @ A) @ wide @ narrow, axis=1)

    called = jax.jit(circuit)
    inputs = X, jnp.zeros((32, 512)), jnp.zeros((512, 2))
    found = peak(lambda x, *rest: called(jnp.tanh(x) @ (A @ B), *rest), *inputs, name="circuit")
    assert found.named == WIDE + 8 * 512 * 4
    assert found.other == 16 * 16 * 4 + 2 * 8 * 16 * 4
    assert peak(called, *inputs).named == 0
