"""Indices out of range are refused while a circuit is captured, exactly where NumPy refuses them.

The reference is PennyLane's QNode on NumPy arrays, or NumPy itself.
"""

import operator
import re

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from hypothesis import example, given, settings
from hypothesis.extra.numpy import basic_indices, integer_array_indices

from hqnn_jax.circuits import Circuit
from hqnn_jax.circuits.library.ansatze import ANSATZE
from hqnn_jax.errors import CircuitError

SHAPE = (2, 4, 3)
FEATURES = np.array([0.4, 1.1])
WEIGHTS = np.linspace(-2.0, 2.5, 24).reshape(SHAPE)


def capture(angle):
    """A circuit with one rotation by `angle(features, weights)`, and its quantum function."""

    def function(features, weights):
        qml.RY(angle(features, weights), 1)
        return qml.expval(qml.Z(1))

    circuit = Circuit.from_function(
        function, num_qubits=2, num_features=2, weights_shape=SHAPE, name="example"
    )
    return circuit, function


# Indices that are out of range: the angle, and the index, axis, size and array of the message.
REFUSED = {
    "feature": (lambda x, w: x[2], 2, 0, 2, "features"),
    "from the end": (lambda x, w: x[-3], -3, 0, 2, "features"),
    "far from the end": (lambda x, w: x[-30], -30, 0, 2, "features"),
    "layer": (lambda x, w: w[2, 0, 0], 2, 0, 2, "weights"),
    "qubit": (lambda x, w: w[1, 4, 0], 4, 1, 4, "weights"),
    "rotation": (lambda x, w: w[1][3][-4], -4, 0, 3, r"an array of shape \(3,\)"),
    "ellipsis": (lambda x, w: w[..., 3][0, 0], 3, 2, 3, "weights"),
    "new axis": (lambda x, w: x[None, 2][0], 2, 0, 2, "features"),
    "computed index": (lambda x, w: x[sum(k for k in range(3))], 3, 0, 2, "features"),
    "NumPy integer": (lambda x, w: x[np.int64(2)], 2, 0, 2, "features"),
    "array of one index": (lambda x, w: x[np.array(2)], 2, 0, 2, "features"),
    "JAX index": (lambda x, w: x[jnp.arange(4)[3]], 3, 0, 2, "features"),
    "of an intermediate": (lambda x, w: (2 * x)[5], 5, 0, 2, r"an array of shape \(2,\)"),
    "of a slice": (lambda x, w: w[0, 1:3][2, 0], 2, 0, 2, r"an array of shape \(2, 3\)"),
    "index array": (lambda x, w: x[np.array([1, 0, 2])].sum(), 2, 0, 2, "features"),
    "index arrays": (
        lambda x, w: w[np.array([0, 1]), :, np.array([2, -4])].sum(), -4, 2, 3, "weights"
    ),
    "take": (lambda x, w: jnp.take(x, 3), 3, 0, 2, "features"),
    "take along axis": (
        lambda x, w: jnp.take_along_axis(x, jnp.array([-3]), 0)[0], -3, 0, 2, "features"
    ),
    "at get": (lambda x, w: x.at[2].get(), 2, 0, 2, "features"),
    "at set": (lambda x, w: x.at[2].set(1.0)[0], 2, 0, 2, "features"),
    "at add": (lambda x, w: x.at[np.array([0, -3])].add(1.0)[0], -3, 0, 2, "features"),
    "at set of a part": (lambda x, w: w.at[0, 4].set(jnp.ones(3))[0, 0, 0], 4, 1, 4, "weights"),
    "in a compiled function": (
        lambda x, w: jax.jit(lambda v: jnp.sin(v[2]))(x), 2, 0, 2, "features"
    ),
    "in a differentiated function": (lambda x, w: jax.grad(lambda v: v[2] ** 2)(x)[0], 2, 0, 2,
                                     "features"),
    "in a mapped function": (
        lambda x, w: jax.vmap(lambda i: x[i])(jnp.arange(3)).sum(), 2, 0, 2, "features"
    ),
    "counter of a loop": (
        lambda x, w: jax.lax.fori_loop(0, 3, lambda i, total: total + x[i], 0.0),
        2, 0, 2, "features",
    ),
    "counter down": (
        lambda x, w: jax.lax.while_loop(
            lambda c: c[0] > -4, lambda c: (c[0] - 1, c[1] + x[c[0]]), (0, 0.0)
        )[1],
        -3, 0, 2, "features",
    ),
    "scanned": (
        lambda x, w: jax.lax.scan(
            lambda total, i: (total + x[i], None), 0.0, jnp.array([1, 0, 2])
        )[0],
        2, 0, 2, "features",
    ),
    "in a branch": (
        lambda x, w: jax.lax.cond(x[0] > 0, lambda: x[1], lambda: x[2]), 2, 0, 2, "features"
    ),
    "dynamic slice": (
        lambda x, w: jax.lax.dynamic_slice(x, (1,), (2,)).sum(), 2, 0, 2, "features"
    ),
    "without effect on a gate": (lambda x, w: (x[2], x[0])[1], 2, 0, 2, "features"),
    "of a constant": (
        lambda x, w: x[0] * jnp.arange(3.0)[3], 3, 0, 3, r"an array of shape \(3,\)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_out_of_range(case):
    angle, index, axis, size, array = REFUSED[case]
    with pytest.raises(
        CircuitError,
        match=rf"^Circuit 'example': .*\bindex {index} on axis {axis} of {array}, which has size "
        rf"{size} \(num_features=2, weights_shape={re.escape(str(SHAPE))}\); expected an index "
        rf"from {-size} to {size - 1}$",
    ):
        capture(angle)


# What NumPy accepts, and NumPy's spelling of it where it differs.
ACCEPTED = {
    "first and last": lambda x, w: x[0] * x[1] + x[-1] * x[-2] + w[-1, -1, -1],
    "slices that are too long": lambda x, w: x[:9].sum() + 2 * x[-9:1].sum() + x[5:].sum(),
    "steps": lambda x, w: w[::-1, ::3, ::-2].sum() + w[5::-1, 0, 1].sum(),
    "unpacked": lambda x, w: operator.sub(*x),
    "masked": lambda x, w: x[np.array([False, True])].sum(),
    "index arrays": lambda x, w: (w[np.array([0, -2]), :, np.array([2, -3])] * 2).sum(),
    "empty index array": lambda x, w: x[np.array([], int)].sum() + x[0],
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_in_range(case):
    circuit, function = capture(ACCEPTED[case])
    expected = qml.QNode(function, qml.device("default.qubit", wires=2))(FEATURES, WEIGHTS)
    found = circuit.to_jax("statevector")(WEIGHTS, FEATURES[None])
    np.testing.assert_allclose(found, [[expected]], atol=1e-6)


# What is defined outside the array because it was asked for, and an index that depends on the data.
DEFINED = {
    "clip": (lambda x, w: jnp.take(x, 3, mode="clip"), 1.1),
    "at clip": (lambda x, w: x.at[3].get(mode="clip"), 1.1),
    "wrap": (lambda x, w: jnp.take(x, -3, mode="wrap"), 1.1),
    "fill": (lambda x, w: x.at[3].get(mode="fill", fill_value=0.25), 0.25),
    "by the data": (lambda x, w: x[jnp.argmax(x) + 1], 1.1),
    "loop that the data end": (
        lambda x, w: jax.lax.while_loop(
            lambda c: c[1] < 1.0, lambda c: (c[0] + 1, c[1] + x[c[0]]), (0, 0.0)
        )[1],
        1.5,
    ),
}


@pytest.mark.parametrize("case", DEFINED)
def test_defined(case):
    angle, expected = DEFINED[case]
    circuit, _ = capture(angle)
    found = circuit.angles(jnp.asarray(FEATURES), jnp.asarray(WEIGHTS))
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


def assert_as_numpy(read):
    """Reading weights is refused by NumPy and by the capture, or by neither."""
    try:
        expected = np.sum(read(WEIGHTS))
    except IndexError:
        # JAX does not index where the result is empty, so that there is no wrong element.
        if jax.eval_shape(read, jnp.asarray(WEIGHTS)).size:
            with pytest.raises(CircuitError):
                capture(lambda x, w: jnp.sum(read(w)))
        return
    circuit, _ = capture(lambda x, w: jnp.sum(read(w)))
    found = circuit.angles(jnp.asarray(FEATURES), jnp.asarray(WEIGHTS))
    np.testing.assert_allclose(found, [expected], atol=1e-5)


INDEX = st.integers(-5, 5)


@settings(deadline=None, max_examples=20)
@given(st.lists(INDEX, min_size=1, max_size=3))
@example([-2, -4, -3])
@example([-3, 0, 0])
@example([1, 3, 2])
@example([1, 3, 3])
def test_integers_as_numpy(indices):
    assert_as_numpy(lambda w: w[tuple(indices)])


@settings(deadline=None, max_examples=20)
@given(basic_indices((3, 5, 4), allow_newaxis=True))
def test_indices_of_a_larger_array_as_numpy(index):
    assert_as_numpy(lambda w: w[index])


@settings(deadline=None, max_examples=15)
@given(integer_array_indices((3, 5, 4), result_shape=st.just((2,))))
def test_integer_arrays_as_numpy(indices):
    assert_as_numpy(lambda w: w[indices])


@pytest.mark.parametrize("ansatz", ["basic_entangler", "strongly_entangling"])
def test_library_parts_with_too_few_weights(ansatz):
    """One layer fewer in the weights than in a loop over layers written by hand."""
    part = ANSATZE[ansatz]
    shape = part.weights_shape(2, 2)

    def function(features, weights):
        for layer in range(3):
            part.apply(weights[layer][None], range(2))
        return qml.expval(qml.Z(0))

    with pytest.raises(CircuitError, match=r"index 2 on axis 0 of weights, which has size 2"):
        Circuit.from_function(function, num_qubits=2, num_features=0, weights_shape=shape)
