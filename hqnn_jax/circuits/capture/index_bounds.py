"""Indices out of range in a traced function.

JAX answers an index outside an array with another element or with NaN, where NumPy, and so
PennyLane, raises. The indices known beforehand, however they are computed, are in the jaxpr as
written: Python and NumPy integers, arrays of them, counters of loops, indices inside functions
that are compiled, mapped or scanned. So the jaxpr is evaluated as far as it is known, and each of
them is looked at.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal
from jax.lax import GatherScatterMode

from hqnn_jax.errors import CircuitError

# Steps of a loop that are followed one by one; after them, and in a loop that ends when the data
# say so, what changes from step to step counts as unknown.
_MAX_STEPS = 10_000

# Primitives that call a jaxpr of theirs once.
_CALLS = frozenset(
    ["checkpoint", "closed_call", "custom_jvp_call", "custom_vjp_call", "jit", "pjit", "remat2"]
)

Known = Any
"""An array known beforehand; None for one that depends on the inputs."""


def check_indices(closed: ClosedJaxpr, names: Sequence[str], where: str, sizes: str) -> None:
    """Check the indices known beforehand in a traced function.

    As in NumPy, an index on an axis of size n is in range from -n to n - 1. Slices always are, and
    so is what a mode of JAX defines that must have been asked for: `mode="clip"`, or `"fill"` with
    a `fill_value`.

    Args:
        closed: the function's jaxpr.
        names: name of each input, for messages.
        where: the function, for messages.
        sizes: sizes of the inputs, for messages.

    Raises:
        CircuitError: an index is out of range.
    """
    check = _Check(where, sizes)
    # The trace may itself be part of one, in which constants would not be known.
    with jax.ensure_compile_time_eval():
        check.run(closed, [None] * len(closed.jaxpr.invars), names)


def called_jaxpr(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """The jaxpr that an equation calls once, with its operands; None for any other equation."""
    if eqn.primitive.name not in _CALLS:
        return None
    inner = eqn.params.get("jaxpr") or eqn.params["call_jaxpr"]
    return inner if isinstance(inner, ClosedJaxpr) else ClosedJaxpr(inner, ())


@dataclass(frozen=True)
class _Check:
    """An evaluation of what is known; `names` are those of inputs passed on as they are."""

    where: str
    sizes: str

    def run(
        self, closed: ClosedJaxpr, inputs: Sequence[Known], names: Sequence[str | None]
    ) -> list[Known]:
        """Evaluate a jaxpr and return its outputs."""
        jaxpr: Jaxpr = closed.jaxpr
        known: dict[Any, Known] = dict(zip(jaxpr.constvars, closed.consts, strict=True))
        known.update(zip(jaxpr.invars, inputs, strict=True))
        name_of: dict[Any, str | None] = dict(zip(jaxpr.invars, names, strict=True))
        for eqn in jaxpr.eqns:
            operands = [v.val if isinstance(v, Literal) else known.get(v) for v in eqn.invars]
            called_names = [None if isinstance(v, Literal) else name_of.get(v) for v in eqn.invars]
            if eqn.primitive.name in _BOUNDS:
                self._check(eqn, operands, called_names[0])
            outputs = self._outputs(eqn, operands, called_names)
            known.update(zip(eqn.outvars, outputs, strict=True))
        return [v.val if isinstance(v, Literal) else known.get(v) for v in jaxpr.outvars]

    def _outputs(
        self, eqn: JaxprEqn, operands: list[Known], names: list[str | None]
    ) -> Sequence[Known]:
        called = called_jaxpr(eqn)
        if called is not None:
            return self.run(called, operands, names)
        unknown = [None] * len(eqn.outvars)
        if all(operand is not None for operand in operands):
            return unknown if eqn.effects else _evaluated(eqn, operands)
        follow = {"cond": self._cond, "scan": self._scan, "while": self._while}
        if eqn.primitive.name in follow:
            return follow[eqn.primitive.name](eqn, operands, names)
        return unknown

    def _cond(
        self, eqn: JaxprEqn, operands: list[Known], names: list[str | None]
    ) -> Sequence[Known]:
        chosen, *arguments = operands
        branches = eqn.params["branches"]
        if chosen is not None:
            return self.run(branches[int(chosen)], arguments, names[1:])
        for branch in branches:
            self.run(branch, arguments, names[1:])
        return [None] * len(eqn.outvars)

    def _scan(
        self, eqn: JaxprEqn, operands: list[Known], names: list[str | None]
    ) -> Sequence[Known]:
        first = eqn.params["num_consts"]
        split = first + eqn.params["num_carry"]
        constants, carry, stacked = operands[:first], operands[first:split], operands[split:]
        passed = names[:first] + [None] * (len(names) - first)
        steps = range(eqn.params["length"])[:_MAX_STEPS]
        for step in reversed(steps) if eqn.params["reverse"] else steps:
            elements = [None if array is None else array[step] for array in stacked]
            results = self.run(eqn.params["jaxpr"], [*constants, *carry, *elements], passed)
            carry = results[: len(carry)]
            if all(value is None for value in (*carry, *elements)):
                break
        return [None] * len(eqn.outvars)

    def _while(
        self, eqn: JaxprEqn, operands: list[Known], names: list[str | None]
    ) -> Sequence[Known]:
        first = eqn.params["cond_nconsts"]
        split = first + eqn.params["body_nconsts"]
        carry = operands[split:]
        body_names = names[first:split] + [None] * len(carry)
        cond_names = names[:first] + [None] * len(carry)
        for _ in range(_MAX_STEPS):
            (goes_on,) = self.run(eqn.params["cond_jaxpr"], operands[:first] + carry, cond_names)
            if goes_on is None:
                break
            if not goes_on:
                return carry
            carry = self.run(eqn.params["body_jaxpr"], operands[first:split] + carry, body_names)
        unknown: list[Known] = [None] * len(carry)
        self.run(eqn.params["body_jaxpr"], operands[first:split] + unknown, body_names)
        return unknown

    def _check(self, eqn: JaxprEqn, operands: list[Known], name: str | None) -> None:
        shape = _shape(eqn.invars[0])
        for axis, starts, width in _BOUNDS[eqn.primitive.name](eqn, operands):
            size = shape[axis]
            wrong = starts[(starts < 0) | (starts + width > size)]
            if wrong.size == 0:
                continue
            # Indices from the end have had the size added.
            start = int(wrong[0])
            index = start - size if start < 0 else start + width - 1
            array = name or f"an array of shape {shape}"
            raise CircuitError(
                f"{self.where} reads index {index} on axis {axis} of {array}, which has size "
                f"{size} ({self.sizes}); expected {_allowed(size)}"
            )


def _allowed(size: int) -> str:
    return f"an index from {-size} to {size - 1}" if size else "no index, the axis is empty"


def _evaluated(eqn: JaxprEqn, operands: Sequence[Known]) -> Sequence[Known]:
    outputs = eqn.primitive.bind(*map(jnp.asarray, operands), **eqn.params)
    return list(outputs) if eqn.primitive.multiple_results else [outputs]


# Where an equation indexes its first operand: axes, first indices, and how many follow each.
_Bounds = list[tuple[int, np.ndarray, int]]


def _dynamic_slice(eqn: JaxprEqn, operands: list[Known]) -> _Bounds:
    return _starting_at(operands[1:], eqn.params["slice_sizes"])


def _dynamic_update_slice(eqn: JaxprEqn, operands: list[Known]) -> _Bounds:
    return _starting_at(operands[2:], _shape(eqn.invars[1]))


def _starting_at(starts: Sequence[Known], widths: Sequence[int]) -> _Bounds:
    return [
        (axis, np.asarray(start).ravel().astype(np.int64), width)
        for axis, (start, width) in enumerate(zip(starts, widths, strict=True))
        if start is not None
    ]


def _gather(eqn: JaxprEqn, operands: list[Known]) -> _Bounds:
    numbers, mode = eqn.params["dimension_numbers"], eqn.params["mode"]
    fill = eqn.params["fill_value"]
    filled = mode == GatherScatterMode.FILL_OR_DROP and fill is not None and not np.isnan(fill)
    # `x[i]` with a mapped i is clipped, too, but keeps the axis.
    clipped = mode == GatherScatterMode.CLIP and numbers.collapsed_slice_dims
    if operands[1] is None or filled or clipped:
        return []
    return _columns(operands[1], numbers.start_index_map, eqn.params["slice_sizes"])


def _scatter(eqn: JaxprEqn, operands: list[Known]) -> _Bounds:
    numbers = eqn.params["dimension_numbers"]
    if operands[1] is None or eqn.params["mode"] == GatherScatterMode.CLIP:
        return []
    updates = _shape(eqn.invars[2])
    windows = iter(updates[axis] for axis in numbers.update_window_dims)
    whole = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
    widths = [1 if axis in whole else next(windows) for axis in range(len(_shape(eqn.invars[0])))]
    return _columns(operands[1], numbers.scatter_dims_to_operand_dims, widths)


def _columns(indices: Known, axes: Sequence[int], widths: Sequence[int]) -> _Bounds:
    columns = np.asarray(indices).astype(np.int64).reshape(-1, len(axes)).T
    return [(axis, column, widths[axis]) for axis, column in zip(axes, columns, strict=True)]


def _shape(var: Any) -> tuple[int, ...]:
    return var.aval.shape


_SCATTERS = ("scatter", "scatter-add", "scatter-max", "scatter-min", "scatter-mul", "scatter-sub")
_BOUNDS: dict[str, Callable[[JaxprEqn, list[Known]], _Bounds]] = {
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
    **dict.fromkeys(_SCATTERS, _scatter),
}
