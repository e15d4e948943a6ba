"""A function in JAX's own operations, without calls or short loops, constants worked in.

What depends on constants alone is computed, which leaves of a circuit only what differs between
samples. The project's own primitives become the formulas behind them, and of what differs between
platforms the general form is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, jaxpr_as_fun
from jaxtyping import Array

from hqnn_jax.circuits.capture.index_bounds import called_jaxpr
from hqnn_jax.exporting.interpreter import bind, interpreted

_PROJECT = "hqnn_jax."
# Steps of a loop that are written out, so that what is known beforehand is found in each: the views
# an image is averaged over are 8.
_MAX_UNROLLED = 16


def plain(function: Callable[[Array], Array], like: jax.ShapeDtypeStruct) -> ClosedJaxpr:
    """Return a function of one array as a jaxpr of plain operations.

    Args:
        function: pure.
        like: shape and dtype of the array; the shape may have symbolic dimensions.
    """
    traced = jax.make_jaxpr(function)(like)
    return _folded(jax.make_jaxpr(lambda x: interpreted(traced, [x], _inlined))(like))


def _inlined(eqn: JaxprEqn, operands: list[Any]) -> Sequence[Any]:
    name, params = eqn.primitive.name, eqn.params
    called = params["call"] if name == "custom_vmap_call" else called_jaxpr(eqn)
    if called is not None:
        return interpreted(called, operands, _inlined)
    if name == "platform_index":
        return [params["platforms"].index(None)]
    if name == "cond" and isinstance(operands[0], int):
        return interpreted(params["branches"][operands[0]], operands[1:], _inlined)
    if name == "scan" and params["length"] <= _MAX_UNROLLED:
        return _unrolled(params, operands)
    formula = getattr(eqn.primitive.impl, "__wrapped__", None)
    if formula is not None and formula.__module__.startswith(_PROJECT):
        made = jax.make_jaxpr(lambda *arrays: formula(*arrays, **params))(*operands)
        return interpreted(made, operands, _inlined)
    return bind(eqn, operands)


def _unrolled(params: Mapping[str, Any], operands: list[Any]) -> list[Any]:
    """The outputs of `jax.lax.scan`, its steps one after the other."""
    first, count = params["num_consts"], params["num_carry"]
    fixed, carry = operands[:first], operands[first : first + count]
    stacked: list[list[Any]] = []
    steps = range(params["length"])
    for step in reversed(steps) if params["reverse"] else steps:
        own = [jax.lax.index_in_dim(xs, step, keepdims=False) for xs in operands[first + count :]]
        outputs = interpreted(params["jaxpr"], [*fixed, *carry, *own], _inlined)
        carry = outputs[:count]
        stacked.append(outputs[count:])
    if params["reverse"]:
        stacked.reverse()
    return [*carry, *(jnp.stack(ys) for ys in zip(*stacked, strict=True))]


def _folded(flat: ClosedJaxpr) -> ClosedJaxpr:
    """Return a jaxpr without calls in which nothing is left that is known beforehand, or unused."""
    jaxpr = flat.jaxpr
    unknown = set(jaxpr.invars)
    early, late = [], []
    for eqn in jaxpr.eqns:
        if _sized(eqn) or not unknown.isdisjoint(_variables(eqn.invars)):
            unknown.update(eqn.outvars)
            late.append(eqn)
        else:
            early.append(eqn)
    late = _used(late, jaxpr.outvars)
    read = [*(var for eqn in late for var in eqn.invars), *jaxpr.outvars]
    needed = [var for var in dict.fromkeys(_variables(read)) if var not in unknown]
    computed = jaxpr.replace(
        constvars=[],
        invars=jaxpr.constvars,
        outvars=needed,
        eqns=_used(early, needed),
        debug_info=None,
    )
    values = jax.jit(jaxpr_as_fun(ClosedJaxpr(computed, ())))(*flat.consts)
    return ClosedJaxpr(jaxpr.replace(constvars=needed, eqns=late), values)


def _variables(atoms: Sequence[Any]) -> list[Any]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]


def _used(eqns: Sequence[JaxprEqn], outputs: Sequence[Any]) -> list[JaxprEqn]:
    """The equations that outputs depend on, in order."""
    wanted, kept = set(_variables(outputs)), []
    for eqn in reversed(eqns):
        if not wanted.isdisjoint(eqn.outvars):
            wanted.update(_variables(eqn.invars))
            kept.append(eqn)
    return kept[::-1]


def _sized(eqn: JaxprEqn) -> bool:
    """Whether an equation makes what depends on a size that is known only where it runs."""
    made: list[Any] = [var.aval for var in eqn.outvars]
    sizes = [size for aval in made for size in aval.shape]
    return eqn.primitive.name == "dim_as_value" or not all(isinstance(n, int) for n in sizes)
