"""The state of a training run: one pytree of arrays, everything needed to go on bitwise."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from hqnn_jax.models.pure import Variables


class RunningMetrics(NamedTuple):
    """Sums over the training batches of the current epoch; a leading seed axis is allowed."""

    loss: Float[Array, "*seeds"]
    correct: Int[Array, "*seeds"]
    images: Int[Array, "*seeds"]

    @classmethod
    def zero(cls) -> RunningMetrics:
        """Return the sums before the first batch."""
        return cls(jnp.zeros(()), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


class TrainState(NamedTuple):
    """Parameters, batch statistics, optimiser state, their average, and the position in the data.

    `step` counts optimiser steps since the start of training. Data order, augmentation and dropout
    are functions of (`key`, `step`), so the position in the data needs no other record.
    """

    variables: Variables
    average: Variables | None
    optimizer_state: PyTree
    plateau: PyTree
    metrics: RunningMetrics
    key: Key[Array, "*seeds"]
    step: Int[Array, "*seeds"]

    @property
    def evaluated(self) -> Variables:
        """The variables that are validated and evaluated: the average where one is kept."""
        return self.variables if self.average is None else self.average


def initial_state(
    variables: Variables,
    optimizer: optax.GradientTransformation,
    plateau: optax.GradientTransformationExtraArgs,
    key: Key[Array, ""],
    *,
    keep_average: bool,
) -> TrainState:
    """Return the state before the first step; `key` decides everything random in training.

    The average starts as a copy, so that no buffer is donated twice.
    """
    return TrainState(
        variables=variables,
        average=jax.tree.map(jnp.copy, variables) if keep_average else None,
        optimizer_state=optimizer.init(variables.params),
        plateau=plateau.init(variables.params),
        metrics=RunningMetrics.zero(),
        key=key,
        step=jnp.zeros((), jnp.int32),
    )


def plain(leaf: jax.Array) -> jax.Array:
    """Return a leaf of a state as what can be stored: a typed key as its data."""
    return jax.random.key_data(leaf) if _is_key(leaf) else leaf


def like(stored: jax.typing.ArrayLike, leaf: jax.Array) -> jax.Array:
    """Return what `plain` gave as a leaf again, with the type and dtype of another."""
    if _is_key(leaf):
        return jax.random.wrap_key_data(jnp.asarray(stored), impl=jax.random.key_impl(leaf))
    return jnp.asarray(stored, leaf.dtype)


def _is_key(leaf: jax.Array) -> bool:
    return bool(jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key))
