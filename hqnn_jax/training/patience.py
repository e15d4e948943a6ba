"""Training until validation stops improving, as one compiled loop over a whole run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

State = Any
"""A pytree of arrays: whatever `step` takes and returns."""
Batch = Any
"""A pytree of arrays with the examples along the first axis."""


class PatientFit(NamedTuple):
    """A finished run.

    Attributes:
        best: the state with the lowest validation loss.
        best_epoch: epochs trained up to it.
        epochs: epochs trained in all.
        validation_loss: [max_epochs], NaN for epochs that were not trained.
    """

    best: State
    best_epoch: Int[Array, ""]
    epochs: Int[Array, ""]
    validation_loss: Float[Array, " max_epochs"]


def fit_with_patience(
    step: Callable[[State, Batch], State],
    validate: Callable[[State], Float[Array, ""]],
    state: State,
    examples: Batch,
    key: PRNGKeyArray,
    *,
    batch_size: int,
    max_epochs: int,
    patience: int,
) -> PatientFit:
    """Train until the validation loss has not fallen for `patience` epochs; keep the best state.

    A pure function to be compiled as a whole. Under `vmap` every run stops on its own: a finished
    one keeps its values while the others go on, and the loop ends with the last of them. A loss
    that is not finite counts as no improvement.

    Args:
        step: `(state, batch) -> state`, one update.
        validate: `state -> loss`.
        state: initial state.
        examples: pytree of training examples along the first axis. Each epoch shuffles them; what
            does not fill a batch is left out of that epoch.
        key: of the shuffles.
        batch_size: examples in a batch; all of them where there are fewer.
        max_epochs: epochs at most.
        patience: epochs without improvement after which training stops.
    """
    count = len(jax.tree.leaves(examples)[0])
    size = min(batch_size, count)
    steps = count // size

    def train_epoch(state: State, epoch: Array) -> State:
        order = jax.random.permutation(jax.random.fold_in(key, epoch), count)
        order = order[: steps * size].reshape(steps, size)

        def update(state: State, rows: Array) -> tuple[State, None]:
            return step(state, jax.tree.map(lambda leaf: leaf[rows], examples)), None

        return jax.lax.scan(update, state, order)[0]

    def goes_on(carry: tuple) -> Array:
        _, fit = carry
        return (fit.epochs < max_epochs) & (fit.epochs - fit.best_epoch < patience)

    def one_epoch(carry: tuple) -> tuple:
        state, fit = carry
        state = train_epoch(state, fit.epochs)
        loss = validate(state)
        # Epoch 0 is no candidate: the first epoch is always better than its infinite loss.
        lowest = jnp.nanmin(fit.validation_loss, initial=jnp.inf)
        improved = loss < lowest
        best = jax.tree.map(lambda new, old: jnp.where(improved, new, old), state, fit.best)
        epochs = fit.epochs + 1
        return state, PatientFit(
            best,
            jnp.where(improved, epochs, fit.best_epoch),
            epochs,
            fit.validation_loss.at[fit.epochs].set(loss),
        )

    zero = jnp.zeros((), jnp.int32)
    losses = jnp.full(max_epochs, jnp.nan, jax.eval_shape(validate, state).dtype)
    start = PatientFit(state, zero, zero, losses)
    return jax.lax.while_loop(goes_on, one_epoch, (state, start))[1]
