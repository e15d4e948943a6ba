"""The angles of a circuit as Qiskit parameter expressions.

The angle function is traced in float64 and its jaxpr is evaluated on symbols instead of numbers.
Arrays without symbols stay numeric; an array with symbols is a NumPy array of dtype object whose
elements are floats, parameter expressions, or `Inexpressible`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from jax.extend.core import Jaxpr, JaxprEqn, Literal
from qiskit.circuit import ParameterExpression
from qiskit.exceptions import QiskitError

from hqnn_jax.circuits.angles import AngleFunction
from hqnn_jax.circuits.capture.index_bounds import called_jaxpr
from hqnn_jax.errors import CircuitError


@dataclass(frozen=True)
class Inexpressible:
    """Takes the place of a value that Qiskit cannot express.

    It makes inexpressible what is computed from it, and nothing else: an angle that does not
    read it is not harmed.

    Attributes:
        primitive: the JAX primitive that has no counterpart.
    """

    primitive: str


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
            _object_array(features, (angles.num_features,)),
            _object_array(weights, angles.weights_shape),
        ]
        (outputs,) = _evaluate(closed.jaxpr, closed.consts, inputs)
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


def _object_array(elements: Sequence[Any], shape: tuple[int, ...]) -> np.ndarray:
    array = np.empty(math.prod(shape), object)
    array[:] = list(elements)
    return array.reshape(shape)


def _is_symbolic(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == object


def _evaluate(jaxpr: Jaxpr, consts: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    """Evaluate a jaxpr whose inputs may be symbolic."""
    known: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    known.update(zip(jaxpr.invars, inputs, strict=True))

    def read(var: Any) -> Any:
        return var.val if isinstance(var, Literal) else known[var]

    for eqn in jaxpr.eqns:
        outputs = _apply(eqn, [read(var) for var in eqn.invars])
        for var, output in zip(eqn.outvars, outputs, strict=True):
            known[var] = _numeric_if_possible(output, _aval(var).dtype)
    return [read(var) for var in jaxpr.outvars]


def _numeric_if_possible(array: Any, dtype: Any) -> Any:
    """Turn an object array without symbols into a numeric one; other arrays stay as they are."""
    if not _is_symbolic(array):
        return array
    if any(isinstance(element, ParameterExpression | Inexpressible) for element in array.flat):
        return array
    return array.astype(dtype)


def _apply(eqn: JaxprEqn, operands: list[Any]) -> list[Any]:
    """The outputs of one equation."""
    name = eqn.primitive.name
    called = called_jaxpr(eqn)
    if called is not None:
        return _evaluate(called.jaxpr, called.consts, operands)
    if not any(map(_is_symbolic, operands)):
        return _bind(eqn, operands)
    if name in _MOVED:
        return _rearrange(eqn, operands)
    if name in _RULES:
        return [_RULES[name](eqn, *operands)]
    return _inexpressible(eqn, operands)


def _aval(var: Any) -> Any:
    """Shape and dtype of a variable."""
    return var.aval


def _bind(eqn: JaxprEqn, operands: Sequence[Any]) -> list[Any]:
    outputs = eqn.primitive.bind(*map(jnp.asarray, operands), **eqn.params)
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


def _inexpressible(eqn: JaxprEqn, operands: Sequence[Any]) -> list[Any]:
    """Outputs of an equation that cannot be evaluated, with the primitive that is the cause."""
    cause = Inexpressible(eqn.primitive.name)
    for operand in filter(_is_symbolic, operands):
        cause = next((e for e in operand.flat if isinstance(e, Inexpressible)), cause)
    shapes = [_aval(var).shape for var in eqn.outvars]
    return [_object_array([cause] * math.prod(shape), shape) for shape in shapes]


# Elementwise arithmetic


def _elementwise(function: Callable[..., Any], *operands: Any) -> np.ndarray:
    """Apply a function of scalars to each element."""

    def guarded(*elements: Any) -> Any:
        bad = next((e for e in elements if isinstance(e, Inexpressible)), None)
        return function(*elements) if bad is None else bad

    objects = [np.asarray(operand).astype(object) for operand in operands]
    return np.asarray(np.frompyfunc(guarded, len(objects), 1)(*objects), object)


def _map_elements(function: Callable[..., Any], _: JaxprEqn, *operands: Any) -> np.ndarray:
    return _elementwise(function, *operands)


def _method(name: str, numeric: Callable[[float], Any]) -> Callable[[Any], Any]:
    """A function that parameter expressions have as a method and numbers have not."""

    def function(x: Any) -> Any:
        return getattr(x, name)() if isinstance(x, ParameterExpression) else float(numeric(x))

    return function


_abs = _method("abs", abs)
_exp = _method("exp", np.exp)
_log = _method("log", np.log)


# Adding 0 and multiplying by 0 or 1 are left out, so that what comes from a product with a
# constant matrix can be read, and a symbol that does not matter does not appear.
def _add(x: Any, y: Any) -> Any:
    if not isinstance(x, ParameterExpression) and x == 0:
        return y
    return x if not isinstance(y, ParameterExpression) and y == 0 else x + y


def _multiply(x: Any, y: Any) -> Any:
    for factor, other in ((x, y), (y, x)):
        if not isinstance(factor, ParameterExpression) and factor in (0, 1):
            return other if factor == 1 else 0.0
    return x * y


def _power(x: Any, y: Any) -> Any:
    if isinstance(x, ParameterExpression) or not isinstance(y, ParameterExpression):
        return x**y
    # Qiskit cannot convert a number to the power of an expression to SymPy.
    return _exp(y * math.log(x)) if x > 0 else Inexpressible("pow of a constant below or at zero")


def _convert(eqn: JaxprEqn, operand: np.ndarray) -> np.ndarray:
    if jnp.issubdtype(eqn.params["new_dtype"], jnp.floating):
        return operand
    return _inexpressible(eqn, [operand])[0]


# Forms are chosen so that f(x) and f(-x) are never added: Qiskit 2.6 takes the sum for zero.
_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "abs": _abs,
    "acos": _method("arccos", np.arccos),
    "add": _add,
    "add_any": _add,
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
    "mul": _multiply,
    "neg": lambda x: -x,
    "pow": _power,
    "rsqrt": lambda x: x**-0.5,
    "sign": _method("sign", np.sign),
    "sin": _method("sin", np.sin),
    "sinh": lambda x: (_exp(2 * x) - 1) / (2 * _exp(x)),
    "sqrt": lambda x: x**0.5,
    "square": lambda x: x**2,
    "sub": lambda x, y: _add(x, -y),
    "tan": _method("tan", np.tan),
    "tanh": lambda x: 1 - 2 / (_exp(2 * x) + 1),
}


# Sums and products


def _reduce(function: Callable[..., Any], array: np.ndarray, axes: Any, initial: float) -> Any:
    for axis in sorted(axes, reverse=True):
        total = np.full(array.shape[:axis] + array.shape[axis + 1 :], initial, object)
        for element in np.moveaxis(array, axis, 0):
            total = _elementwise(function, total, element)
        array = total
    return array


def _cumulate(function: Callable[..., Any], eqn: JaxprEqn, array: np.ndarray) -> np.ndarray:
    moved = np.moveaxis(array, eqn.params["axis"], 0)
    moved = moved[::-1] if eqn.params["reverse"] else moved
    sums = [moved[0]]
    for element in moved[1:]:
        sums.append(_elementwise(function, sums[-1], element))
    stacked = np.stack(sums[::-1] if eqn.params["reverse"] else sums)
    return np.moveaxis(stacked, 0, eqn.params["axis"])


def _dot_general(eqn: JaxprEqn, left: Any, right: Any) -> np.ndarray:
    """Batch axes first, then the free axes of the left and of the right operand."""
    (contract_left, contract_right), (batch_left, batch_right) = eqn.params["dimension_numbers"]

    def arranged(array: Any, batch: Sequence[int], contract: Sequence[int]) -> np.ndarray:
        free = [axis for axis in range(np.ndim(array)) if axis not in (*batch, *contract)]
        array = np.transpose(np.asarray(array).astype(object), (*batch, *free, *contract))
        sizes = np.array(array.shape, int)
        split = (len(batch), len(batch) + len(free))
        return array.reshape([int(np.prod(part)) for part in np.split(sizes, split)])

    left, right = (
        arranged(left, batch_left, contract_left),
        arranged(right, batch_right, contract_right),
    )
    products = _elementwise(_multiply, left[:, :, None], right[:, None])
    return _reduce(_add, products, [3], 0.0).reshape(_aval(eqn.outvars[0]).shape)


# Structure


def _broadcast(eqn: JaxprEqn, array: np.ndarray) -> np.ndarray:
    sizes = [1] * len(eqn.params["shape"])
    for axis, size in zip(eqn.params["broadcast_dimensions"], array.shape, strict=True):
        sizes[axis] = size
    return np.broadcast_to(array.reshape(sizes), eqn.params["shape"])


def _slice(eqn: JaxprEqn, array: np.ndarray) -> np.ndarray:
    start, stop = eqn.params["start_indices"], eqn.params["limit_indices"]
    strides = eqn.params["strides"] or (1,) * array.ndim
    return array[tuple(map(slice, start, stop, strides))]


# How the output of an equation follows from its operands, of which one at least is symbolic.
_RULES: dict[str, Callable[..., Any]] = {
    **{name: partial(_map_elements, function) for name, function in _ELEMENTWISE.items()},
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda eqn, *arrays: np.concatenate(arrays, eqn.params["dimension"]),
    "convert_element_type": _convert,
    "cumprod": partial(_cumulate, _multiply),
    "cumsum": partial(_cumulate, _add),
    "dot_general": _dot_general,
    "integer_pow": lambda eqn, x: _elementwise(lambda e: e ** eqn.params["y"], x),
    "reduce_prod": lambda eqn, x: _reduce(_multiply, x, eqn.params["axes"], 1.0),
    "reduce_sum": lambda eqn, x: _reduce(_add, x, eqn.params["axes"], 0.0),
    "reshape": lambda eqn, x: x.reshape(eqn.params["new_sizes"]),
    "slice": _slice,
    "squeeze": lambda eqn, x: x.squeeze(tuple(eqn.params["dimensions"])),
    "transpose": lambda eqn, x: x.transpose(eqn.params["permutation"]),
}


# Primitives that only move elements: the operands whose elements are moved. The others say where
# from or where to.
_MOVED: dict[str, slice] = {
    "copy": slice(None),
    "dynamic_slice": slice(0, 1),
    "dynamic_update_slice": slice(0, 2),
    "expand_dims": slice(None),
    "gather": slice(0, 1),
    "pad": slice(None),
    "read_once": slice(0, 1),
    "rev": slice(None),
    "scatter": slice(0, None, 2),
    "select_n": slice(1, None),
    "split": slice(None),
    "stack": slice(None),
    "tile": slice(None),
    "unstack": slice(None),
}


def _rearrange(eqn: JaxprEqn, operands: list[Any]) -> list[Any]:
    """Apply the primitive to positions in the pool of all elements, and read the pool."""
    moved = range(len(operands))[_MOVED[eqn.primitive.name]]
    if any(_is_symbolic(x) for index, x in enumerate(operands) if index not in moved):
        return _inexpressible(eqn, operands)
    pool: list[Any] = []
    arguments = list(operands)
    for index in moved:
        array = np.asarray(operands[index]).astype(object)
        positions = np.arange(len(pool), len(pool) + array.size, dtype=np.int32)
        pool += array.ravel().tolist()
        arguments[index] = positions.reshape(array.shape)
    outputs = []
    for positions in map(np.asarray, _bind(eqn, arguments)):
        # An index out of range reads a fill value, which is not a position.
        if positions.size and not 0 <= positions.min() <= positions.max() < len(pool):
            return _inexpressible(eqn, operands)
        elements = [pool[position] for position in positions.ravel()]
        outputs.append(_object_array(elements, positions.shape))
    return outputs
