"""Circuits that grow while they are trained.

Layerwise learning (Skolik et al., 2020, arXiv 2006.14904): a small circuit is trained first, and a
layer whose weights are zero is added when validation stalls; likewise one more qubit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from hqnn_jax.config import CircuitConfig, Config
from hqnn_jax.training.state import TrainState


def circuit_size(config: CircuitConfig, records: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of layers or qubits with which the next epoch is trained.

    Args:
        config: the circuit as it starts, with its rule of growth.
        records: the history of the finished epochs of one seed, in order.

    The circuit grows by one after `patience` epochs without a validation loss lower than the lowest
    by at least `min_improvement`, until it has reached `maximum`. Without a rule the size is that
    of the configuration. A pure function of the history, so a resumed run grows as it would have.
    """
    growth, size = config.growth, config.size
    if growth is None:
        return size
    lowest, stalled = float("inf"), 0
    for record in records:
        improved = record["validation_loss"] < lowest - growth.min_improvement
        lowest = min(lowest, record["validation_loss"])
        stalled = 0 if improved else stalled + 1
        if stalled >= growth.patience and size < growth.maximum:
            size, stalled = size + 1, 0
    return size


def saved_circuit_size(
    config: CircuitConfig, records: Sequence[Mapping[str, Any]], epochs: float
) -> int:
    """Return the size at which a checkpoint was saved, `epochs` after the start of training.

    A checkpoint at the end of an epoch still has the size of that epoch.
    """
    return circuit_size(config, records[: max(0, math.ceil(epochs) - 1)])


def with_circuit_size(config: Config, size: int) -> Config:
    """Return the configuration with this number of layers or qubits (the axis that grows)."""
    model = config.model.model_copy(update={"circuit": config.model.circuit.with_size(size)})
    return config.model_copy(update={"model": model})


def enlarge(state: TrainState, fresh: TrainState) -> TrainState:
    """Return `state` with the shapes of `fresh`, the state before training at the larger size.

    Every array keeps its values in the leading block of the larger one. The rest is that of
    `fresh` (optimiser moments: zero), but new circuit weights are zero.
    """

    def grown(path: Any, old: Array, new: Array) -> Array:
        if old.shape == new.shape:
            return old
        if jax.tree_util.DictKey("middle") in path:
            new = jnp.zeros_like(new)
        return new.at[tuple(slice(extent) for extent in old.shape)].set(old)

    return jax.tree_util.tree_map_with_path(grown, state, fresh)
