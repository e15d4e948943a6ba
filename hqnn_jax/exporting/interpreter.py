"""Evaluating traced functions equation by equation, each by a rule of one's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal


def interpreted(
    closed: ClosedJaxpr,
    inputs: Sequence[Any],
    rule: Callable[[JaxprEqn, list[Any]], Sequence[Any]],
) -> list[Any]:
    """Evaluate a jaxpr; the rule makes the outputs of an equation from its operands."""
    known: dict[Any, Any] = dict(zip(closed.jaxpr.constvars, closed.consts, strict=True))
    known.update(zip(closed.jaxpr.invars, inputs, strict=True))

    def read(var: Any) -> Any:
        return var.val if isinstance(var, Literal) else known[var]

    for eqn in closed.jaxpr.eqns:
        outputs = rule(eqn, [read(var) for var in eqn.invars])
        known.update(zip(eqn.outvars, outputs, strict=True))
    return [read(var) for var in closed.jaxpr.outvars]


def bind(eqn: JaxprEqn, operands: Sequence[Any], **changed: Any) -> list[Any]:
    """Apply the operation of an equation to operands, perhaps with other parameters."""
    outputs = eqn.primitive.bind(*operands, **{**eqn.params, **changed})
    return list(outputs) if eqn.primitive.multiple_results else [outputs]
