"""A formula means what the angle is."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hqnn_jax.circuits import Inputs
from hqnn_jax.circuits.drawing.formulas import ELEMENTWISE, Formula, formula
from hqnn_jax.circuits.symbolic import Inexpressible, evaluate, symbols

X = [Formula(f"x[{index}]", Inputs.FEATURES) for index in range(3)]
W = [Formula(f"w[{row},{column}]", Inputs.WEIGHTS) for row in range(2) for column in range(2)]
# Asymmetric, so that no two formulas agree by accident.
FEATURES = np.array([0.37, -1.91, 2.63])
WEIGHTS = np.array([[1.13, -0.29], [0.71, 3.07]])


def written(function):
    """The formula of a scalar function of features and weights."""
    with jax.enable_x64(True):
        closed = jax.make_jaxpr(function)(jnp.zeros(3), jnp.zeros((2, 2)))
        (found,) = evaluate(closed, [symbols(X, (3,)), symbols(W, (2, 2))], ELEMENTWISE)
    return np.asarray(found).item()


def value_of(text):
    """What a formula says, as Python reads it."""
    python = re.sub(r"(\d)π", r"(\1*π)", text)
    for sign, meaning in {"·": "*", "^": "**", "²": "**2", "³": "**3"}.items():
        python = python.replace(sign, meaning)
    names = {name: getattr(np, name) for name in ("sin", "tanh", "exp", "arctan", "abs")}
    return eval(python, {"x": FEATURES, "w": WEIGHTS, "π": np.pi, **names})


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x, w: x[1], "x[1]"),
        (lambda x, w: 2 * x[1], "2·x[1]"),
        (lambda x, w: x[0] * x[1], "x[0]·x[1]"),
        (lambda x, w: (jnp.pi - x[0]) * (jnp.pi - x[1]), "(π - x[0])·(π - x[1])"),
        (lambda x, w: -w[1, 0] / 2, "-w[1,0]/2"),
        (lambda x, w: w[0, 1] + jnp.pi / 2, "w[0,1] + π/2"),
        (lambda x, w: x[0] - (x[1] - 0.25), "x[0] - (x[1] - 0.25)"),
        (lambda x, w: jnp.tanh(x[0] * w[0, 0]) ** 2, "tanh(x[0]·w[0,0])²"),
        (lambda x, w: jnp.array([1.0, 0.0, -3.0]) @ x, "x[0] - 3·x[2]"),
        (lambda x, w: x[::-1][0], "x[2]"),
    ],
)
def test_formulas_as_people_write_them(function, text):
    assert written(function).text == text


def test_what_a_formula_depends_on():
    assert written(lambda x, w: 2 * x[0]).uses == Inputs.FEATURES
    assert written(lambda x, w: jnp.sin(w[0, 1])).uses == Inputs.WEIGHTS
    assert written(lambda x, w: (x * w[0, 0])[1]).uses == Inputs.FEATURES | Inputs.WEIGHTS
    # Beside each other in one array, they are still told apart.
    assert written(lambda x, w: jnp.concatenate([x, w.ravel()])[1]).uses == Inputs.FEATURES


def test_long_and_unknown_formulas_have_none():
    assert isinstance(written(lambda x, w: jnp.sum(jnp.sin(w)) * x[0]), Inexpressible)
    assert isinstance(written(lambda x, w: jnp.linalg.norm(x > 0)), Inexpressible)


@pytest.mark.parametrize(
    ("number", "text"),
    [(np.pi, "π"), (-np.pi / 2, "-π/2"), (3 * np.pi / 4, "3π/4"), (2.0, "2"), (0.0, "0"),
     (1 / 3, "0.3333"), (-1e-9, "-1e-09"), (2 * np.pi, "2π")],
)  # fmt: skip
def test_numbers(number, text):
    assert formula(number).text == text


LEAVES = st.sampled_from(
    [
        lambda x, w: x[0], lambda x, w: x[2], lambda x, w: w[0, 1], lambda x, w: w[1, 0],
        *(lambda x, w, c=c: jnp.asarray(c) for c in (2.0, -0.5, np.pi, -np.pi / 4, 0.0, 1.0)),
    ]
)  # fmt: skip
UNARY = [lambda a: -a, jnp.sin, jnp.tanh, jnp.square, lambda a: a**3]
# What is divided by is never zero, whose sign a formula does not show.
BINARY = [jnp.add, jnp.subtract, jnp.multiply, lambda a, b: a / (2.5 + b**2)]


def combined(parts):
    one = st.tuples(st.sampled_from(UNARY), parts).map(lambda t: lambda x, w: t[0](t[1](x, w)))
    two = st.tuples(st.sampled_from(BINARY), parts, parts).map(
        lambda t: lambda x, w: t[0](t[1](x, w), t[2](x, w))
    )
    return one | two


@given(st.recursive(LEAVES, combined, max_leaves=6))
@settings(max_examples=80, deadline=None)
def test_a_formula_means_what_is_computed(function):
    with jax.enable_x64(True):
        expected = float(function(jnp.asarray(FEATURES), jnp.asarray(WEIGHTS)))
    found = written(function)
    if isinstance(found, Inexpressible) or not np.isfinite(expected):
        return
    text = formula(found).text
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(value_of(text), expected, rtol=2e-3, atol=1e-6, err_msg=text)
