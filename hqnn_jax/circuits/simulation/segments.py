"""Runs of layers whose forms repeat: looped over, so that compile time does not grow with depth."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from hqnn_jax.circuits.simulation.components import Components
from hqnn_jax.circuits.simulation.layer import LayerParameters, Structure, Tables
from hqnn_jax.circuits.simulation.schedule import Entangler

# Fewer layers of one form are unrolled: a loop costs some time in each step.
_MIN_SCANNED_LAYERS = 6
_MAX_PERIOD = 8


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive layers whose forms repeat.

    Attributes:
        layers: positions of the layers, [repeats, period].
        structures: the forms of one period.
        tables: for each of these, the tables of its layers, stacked.
    """

    layers: np.ndarray
    structures: tuple[Structure, ...]
    tables: tuple[Tables, ...]

    @classmethod
    def of(
        cls,
        layers: np.ndarray,
        structures: tuple[Structure, ...],
        entanglers: Sequence[Entangler | None],
        components: int,
    ) -> "Segment":
        """A segment with its tables.

        Args:
            layers: positions of the layers, [repeats, period].
            structures: the forms of one period.
            entanglers: those of all layers of the circuit, which `layers` are positions in.
            components: 1 if every gate is real, else 2.
        """
        stacked = []
        for form, positions in zip(structures, layers.T, strict=True):
            tables = [form.tables(entanglers[position], components) for position in positions]
            stacked.append(jax.tree.map(lambda *rows: np.stack(rows), *tables))
        return cls(layers, structures, tuple(stacked))

    def apply(self, parameters: tuple[LayerParameters, ...], state: Components) -> Components:
        """Apply the layers, given each form's parameters, stacked."""

        def period(state, xs):
            for form, tables, own in zip(self.structures, *xs, strict=True):
                state = form.apply(tables, own, state)
            return state, None

        if len(self.layers) == 1:
            return period(state, _only((self.tables, parameters)))[0]
        return jax.lax.scan(period, state, (self.tables, parameters))[0]

    def undo_with_gradient(
        self, parameters: tuple[LayerParameters, ...], state: Components, cotangent: Components
    ) -> tuple[Components, Components, tuple[LayerParameters, ...]]:
        """Go back through the layers, computing states anew.

        Args:
            parameters: those of each form, stacked.
            state: the state after the segment.
            cotangent: its cotangent.

        Returns:
            The state before the segment, its cotangent, and the gradient in the parameters.
        """

        def period(carry, xs):
            state, cotangent = carry
            gradients = []
            for form, tables, own in reversed(list(zip(self.structures, *xs, strict=True))):
                gradient = jax.tree.map(jnp.zeros_like, own)
                # Stage by stage: only one intermediate state is held at a time.
                for stage in reversed(range(form.num_stages)):
                    state = form.undo_stage(stage, tables, own, state)
                    apply = functools.partial(form.apply_stage, stage, tables)
                    _, transpose = jax.vjp(apply, own, state)
                    own_gradient, cotangent = transpose(cotangent)
                    gradient = jax.tree.map(jnp.add, gradient, own_gradient)
                gradients.append(gradient)
            return (state, cotangent), tuple(gradients[::-1])

        carry, xs = (state, cotangent), (self.tables, parameters)
        if len(self.layers) == 1:
            carry, gradients = period(carry, _only(xs))
            gradients = jax.tree.map(lambda leaf: leaf[None], gradients)
        else:
            carry, gradients = jax.lax.scan(period, carry, xs, reverse=True)
        return *carry, gradients


def divide(structures: Sequence[Structure]) -> list[np.ndarray]:
    """Divide layers of these forms into segments, each as the positions [repeats, period]."""
    segments = []
    start = 0
    while start < len(structures):
        period, repeats = 1, 1
        for candidate in range(1, _MAX_PERIOD + 1):
            count = _repeats(structures[start:], candidate)
            long_enough = count > 1 and count * candidate >= _MIN_SCANNED_LAYERS
            if long_enough and count * candidate > period * repeats:
                period, repeats = candidate, count
        positions = np.arange(start, start + period * repeats)
        segments.append(positions.reshape(repeats, period))
        start += period * repeats
    return segments


def _repeats(structures: Sequence[Structure], period: int) -> int:
    """How often the first `period` structures stand one after the other."""
    count = 1
    while structures[count * period : (count + 1) * period] == structures[:period]:
        count += 1
    return count


def _only(stacked):
    return jax.tree.map(lambda leaf: leaf[0], stacked)
