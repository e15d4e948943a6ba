"""The angles of a circuit as Qiskit parameter expressions.

The angle function is traced in float64 and its jaxpr is evaluated on parameters instead of numbers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from qiskit.circuit import ParameterExpression
from qiskit.exceptions import QiskitError

from hqnn_jax.circuits.angles import AngleFunction
from hqnn_jax.circuits.symbolic import (
    Elementwise,
    Inexpressible,
    add,
    evaluate,
    multiply,
    symbols,
)
from hqnn_jax.errors import CircuitError


def symbolic_angles(
    angles: AngleFunction,
    features: Sequence[ParameterExpression],
    weights: Sequence[ParameterExpression],
) -> list[float | ParameterExpression | Inexpressible]:
    """Evaluate all angles of a circuit, in radians, on symbols.

    Args:
        angles: the circuit's angle function.
        features: one symbol per feature.
        weights: one symbol per weight, flattened in C order.

    Returns:
        One element per angle: a number if it depends on no symbol, `Inexpressible` if its
        arithmetic has no counterpart among Qiskit's parameter expressions.
    """
    if angles.num_angles == 0:
        return []
    with jax.enable_x64(True):
        closed = jax.make_jaxpr(angles)(
            jax.ShapeDtypeStruct((angles.num_features,), jnp.float64),
            jax.ShapeDtypeStruct(angles.weights_shape, jnp.float64),
        )
        inputs = [
            symbols(features, (angles.num_features,)),
            symbols(weights, angles.weights_shape),
        ]
        (outputs,) = evaluate(closed, inputs, _ELEMENTWISE)
    return np.asarray(outputs).tolist()


def value_at(
    expression: ParameterExpression, values: Mapping[ParameterExpression, float]
) -> complex:
    """The value of an expression for the given values of its symbols, NaN where it has none."""
    try:
        return complex(expression.bind({p: values[p] for p in expression.parameters}).numeric())
    except (QiskitError, ZeroDivisionError):
        return complex("nan")


def to_sympy(expression: ParameterExpression, circuit_name: str) -> sympy.Expr:
    """Convert an expression to SymPy, each parameter to the symbol of its name.

    Raises:
        CircuitError: Qiskit cannot convert the expression, or gets it wrong.
    """
    if expression.is_symbol():
        # Qiskit 2.6 takes any of the parameters if others have cancelled out.
        return sympy.Symbol(next(p.name for p in expression.parameters if p == expression))
    generator = np.random.default_rng(0)
    point = {p: generator.uniform(0.1, 0.9) for p in expression.parameters}
    expected = value_at(expression, point)
    try:
        # Qiskit 2.6 fails on numbers to the power of an expression.
        converted = sympy.sympify(expression.sympify(), strict=True)
        found = complex(converted.evalf(subs={sympy.Symbol(p.name): v for p, v in point.items()}))
    except (sympy.SympifyError, AttributeError, TypeError) as error:
        raise _conversion_error(expression, circuit_name) from error
    if np.isfinite(expected) and not np.isclose(found, expected, rtol=1e-8, atol=1e-8):
        raise _conversion_error(expression, circuit_name)
    return converted


def _conversion_error(expression: ParameterExpression, circuit_name: str) -> CircuitError:
    return CircuitError(
        f"Circuit '{circuit_name}': Qiskit cannot convert the angle {expression} to SymPy; write "
        "it in another way, for example a power of a number as exp(log(...) * ...)"
    )


def _method(name: str, numeric: Callable[[float], Any]) -> Callable[[Any], Any]:
    """A function that parameter expressions have as a method and numbers have not."""

    def function(x: Any) -> Any:
        return getattr(x, name)() if isinstance(x, ParameterExpression) else float(numeric(x))

    return function


_abs = _method("abs", abs)
_exp = _method("exp", np.exp)
_log = _method("log", np.log)


def _power(x: Any, y: Any) -> Any:
    if isinstance(x, ParameterExpression) or not isinstance(y, ParameterExpression):
        return x**y
    # Qiskit cannot convert a number to the power of an expression to SymPy.
    return _exp(y * math.log(x)) if x > 0 else Inexpressible("pow of a constant below or at zero")


# Forms are chosen so that f(x) and f(-x) are never added: Qiskit 2.6 takes the sum for zero.
_ELEMENTWISE: Elementwise = {
    "abs": _abs,
    "acos": _method("arccos", np.arccos),
    "add": add,
    "add_any": add,
    "asin": _method("arcsin", np.arcsin),
    "atan": _method("arctan", np.arctan),
    "cos": _method("cos", np.cos),
    "cosh": lambda x: (_exp(2 * x) + 1) / (2 * _exp(x)),
    "div": lambda x, y: x / y,
    "exp": _exp,
    "exp2": lambda x: _exp(x * math.log(2)),
    "expm1": lambda x: _exp(x) - 1,
    "log": _log,
    "log1p": lambda x: _log(x + 1),
    "logistic": lambda x: 1 / (_exp(-x) + 1),
    "max": lambda x, y: (x + y + _abs(x - y)) / 2,
    "min": lambda x, y: (x + y - _abs(x - y)) / 2,
    "mul": multiply,
    "neg": lambda x: -x,
    "pow": _power,
    "rsqrt": lambda x: x**-0.5,
    "sign": _method("sign", np.sign),
    "sin": _method("sin", np.sin),
    "sinh": lambda x: (_exp(2 * x) - 1) / (2 * _exp(x)),
    "sqrt": lambda x: x**0.5,
    "square": lambda x: x**2,
    "sub": lambda x, y: add(x, -y),
    "tan": _method("tan", np.tan),
    "tanh": lambda x: 1 - 2 / (_exp(2 * x) + 1),
}
