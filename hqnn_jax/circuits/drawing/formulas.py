"""What an angle is, as a short formula: `x[0]`, `2·w[1,2] + π/2`, `x[0]·x[1]`."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from hqnn_jax.circuits.angles import Inputs
from hqnn_jax.circuits.symbolic import Elementwise, Inexpressible, add, multiply

# How tightly the last operation of a formula binds, loosest first.
_SUM, _NEGATED, _PRODUCT, _POWER, _ATOM = range(5)
_LONGEST = 32
"""A longer formula is not shown: whoever draws says what it depends on."""
_POWERS = {"2": "²", "3": "³"}


@dataclass(frozen=True)
class Formula:
    """A formula as text.

    Attributes:
        text: what is shown.
        uses: what its value depends on.
        binding: how tightly its last operation binds.
    """

    text: str
    uses: Inputs
    binding: int = _ATOM

    def __add__(self, other: Any) -> "Formula | Inexpressible":
        """Return the sum with a formula or a number."""
        return _sum(self, formula(other))

    def __radd__(self, other: Any) -> "Formula | Inexpressible":
        """Return the sum with a number."""
        return _sum(formula(other), self)

    def __mul__(self, other: Any) -> "Formula | Inexpressible":
        """Return the product with a formula or a number."""
        return _product(self, formula(other), "·", _PRODUCT)

    def __rmul__(self, other: Any) -> "Formula | Inexpressible":
        """Return the product with a number."""
        return _product(formula(other), self, "·", _PRODUCT)

    def __pow__(self, other: Any) -> "Formula | Inexpressible":
        """Return the power with an exponent that is a formula or a number."""
        return _power(self, formula(other))

    @property
    def is_negated(self) -> bool:
        """Whether it is a minus before a product or less."""
        return self.binding == _NEGATED

    @property
    def unsigned(self) -> "Formula":
        """The formula without its minus."""
        return Formula(self.text[1:], self.uses, _PRODUCT) if self.is_negated else self

    def within(self, binding: int) -> str:
        """Return the text, in parentheses where it binds less tightly."""
        return self.text if self.binding >= binding else f"({self.text})"


def formula(value: Any) -> Formula:
    """Return a formula as it is, and a number as one: `π/2`, `0.25`."""
    if isinstance(value, Formula):
        return value
    number = float(value)
    text, binding = _number(abs(number))
    return (
        Formula(f"-{text}", Inputs(0), _NEGATED)
        if number < 0
        else Formula(text, Inputs(0), binding)
    )


def _number(value: float) -> tuple[str, int]:
    share = Fraction(value / np.pi).limit_denominator(16)
    if value == 0 or abs(float(share) * np.pi - value) > 1e-6 * value:
        return f"{value:.4g}", _ATOM
    top = "π" if share.numerator == 1 else f"{share.numerator}π"
    if share.denominator == 1:
        return top, _ATOM if share.numerator == 1 else _PRODUCT
    return f"{top}/{share.denominator}", _PRODUCT


def _made(text: str, binding: int, *parts: Formula) -> Formula | Inexpressible:
    if len(text) > _LONGEST:
        return Inexpressible("too long a formula")
    uses = Inputs(0)
    for part in parts:
        uses |= part.uses
    return Formula(text, uses, binding)


def _sum(left: Formula, right: Formula) -> Formula | Inexpressible:
    sign = "-" if right.is_negated else "+"
    return _made(f"{left.text} {sign} {right.unsigned.text}", _SUM, left, right)


def _difference(left: Formula, right: Formula) -> Formula | Inexpressible:
    if left.text == "0":
        return _negated(right)
    sign = "+" if right.is_negated else "-"
    return _made(f"{left.text} {sign} {right.unsigned.within(_PRODUCT)}", _SUM, left, right)


def _product(left: Formula, right: Formula, sign: str, binding: int) -> Formula | Inexpressible:
    """Return a product or a quotient, a minus of either factor before it."""
    text = f"{left.unsigned.within(_PRODUCT)}{sign}{right.unsigned.within(binding)}"
    if left.is_negated != right.is_negated:
        return _made(f"-{text}", _NEGATED, left, right)
    return _made(text, _PRODUCT, left, right)


def _quotient(left: Formula, right: Formula) -> Formula | Inexpressible:
    return left if right.text == "1" else _product(left, right, "/", _POWER)


def _power(base: Formula, exponent: Formula) -> Formula | Inexpressible:
    raised = _POWERS.get(exponent.text, f"^{exponent.within(_ATOM)}")
    return _made(f"{base.within(_ATOM)}{raised}", _POWER, base, exponent)


def _negated(of: Formula) -> Formula | Inexpressible:
    if of.is_negated:
        return of.unsigned
    return _made(f"-{of.within(_PRODUCT)}", _NEGATED, of)


def _called(name: str) -> Callable[..., Formula | Inexpressible]:
    def call(*operands: Any) -> Formula | Inexpressible:
        parts = [formula(operand) for operand in operands]
        return _made(f"{name}({', '.join(part.text for part in parts)})", _ATOM, *parts)

    return call


def _of_formulas(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *operands: function(*map(formula, operands))


_FUNCTIONS = {
    "abs": "abs", "acos": "arccos", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan",
    "atan2": "arctan2", "atanh": "arctanh", "ceil": "ceil", "cos": "cos", "cosh": "cosh",
    "erf": "erf", "exp": "exp", "expm1": "expm1", "floor": "floor", "log": "log",
    "log1p": "log1p", "logistic": "sigmoid", "max": "max", "min": "min", "round": "round",
    "sign": "sign", "sin": "sin", "sinh": "sinh", "sqrt": "sqrt", "tan": "tan", "tanh": "tanh",
}  # fmt: skip
ELEMENTWISE: Elementwise = {
    **{primitive: _called(name) for primitive, name in _FUNCTIONS.items()},
    "add": add,
    "add_any": add,
    "div": _of_formulas(_quotient),
    "exp2": lambda x: _power(formula(2), formula(x)),
    "mul": multiply,
    "neg": _of_formulas(_negated),
    "pow": _of_formulas(_power),
    "rsqrt": lambda x: _power(formula(x), formula(-0.5)),
    "square": lambda x: _power(formula(x), formula(2)),
    "sub": _of_formulas(lambda x, y: x if y.text == "0" else _difference(x, y)),
}
"""Primitive -> its formula of formulas and numbers; see `hqnn_jax.circuits.symbolic`."""
