"""The optimiser: one learning rate per parameter group, one schedule for all of them."""

from __future__ import annotations

import jax
import optax
import optax.contrib
from jaxtyping import PyTree

from hqnn_jax.config import TrainingConfig
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.models.groups import GROUPS, Group


def make_schedule(config: TrainingConfig, steps_per_epoch: int) -> optax.Schedule:
    """Return the factor on every peak learning rate as a function of the optimiser step.

    Reduce-on-plateau contributes its own factor once per epoch; see `make_plateau`.

    Raises:
        ConfigurationError: for more steps than int32, in which they are counted, holds.
    """
    schedule = config.schedule
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    total = max(config.epochs * steps_per_epoch, warmup + 1)
    if total >= 2**31:
        raise ConfigurationError(
            f"training: {total:,} steps are more than can be counted (2^31); lower epochs and "
            "schedule.warmup_epochs, or raise batch_size"
        )
    if schedule.name == "cosine":
        main = optax.cosine_decay_schedule(1.0, total - warmup, alpha=schedule.final_factor)
    else:
        main = optax.constant_schedule(1.0)
    if warmup == 0:
        return main
    # The ramp starts one step in: a first step with learning rate zero would be lost.
    ramp = optax.linear_schedule(1.0 / (warmup + 1), 1.0, warmup)
    return optax.join_schedules([ramp, main], [warmup])


def make_plateau(config: TrainingConfig) -> optax.GradientTransformationExtraArgs:
    """Return the reduce-on-plateau rule, fed with the validation loss once per epoch.

    Its state's `scale` multiplies all learning rates; it stays 1 for the other schedules.
    """
    return optax.contrib.reduce_on_plateau(
        factor=config.schedule.factor, patience=config.schedule.patience
    )


def make_optimizer(
    config: TrainingConfig, labels: PyTree, steps_per_epoch: int
) -> optax.GradientTransformation:
    """Return clipping by global norm, then Adam or AdamW per parameter group.

    Args:
        config: learning rates, weight decay (AdamW, arrays of two or more axes, never circuit
            weights: decay towards zero is not neutral for an angle), clipping, schedule.
        labels: a tree like the parameters with the group of each (`parameter_groups`).
        steps_per_epoch: optimiser steps per epoch, for schedules given in epochs.
    """
    factor = make_schedule(config, steps_per_epoch)

    def rule(group: Group) -> optax.GradientTransformation:
        peak = getattr(config.learning_rate, group)

        def learning_rate(step: jax.typing.ArrayLike) -> jax.typing.ArrayLike:
            return peak * factor(step)

        if config.optimizer == "adam":
            return optax.adam(learning_rate)
        decay = 0.0 if group == "circuit" else config.weight_decay
        return optax.adamw(learning_rate, weight_decay=decay, mask=_is_kernel)

    clip = optax.identity()
    if config.clip_norm is not None:
        clip = optax.clip_by_global_norm(config.clip_norm)
    return optax.chain(
        clip, optax.multi_transform({group: rule(group) for group in GROUPS}, labels)
    )


def _is_kernel(params: PyTree) -> PyTree:
    return jax.tree.map(lambda p: p.ndim > 1, params)
