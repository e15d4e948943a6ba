"""The loss of each image, from logits and targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from hqnn_jax.own_parts import blamed_on, import_function, require_floats

Loss = Callable[
    [Float[Array, "batch num_classes"], Float[Array, "batch num_classes"]], Float[Array, "batch"]
]
"""`(logits, targets) -> losses`; a target is the smoothed one-hot label of an image."""

LOSSES: Mapping[str, Loss] = {"cross_entropy": optax.softmax_cross_entropy}
_KEY = "training.loss"
_EXPECTED = "a function (logits[batch, classes], targets[batch, classes]) -> losses[batch]"


def loss_function(name: str) -> Loss:
    """Return the loss of that name, or of that import path.

    Raises:
        ConfigurationError: if there is none that can be called so.
    """
    return LOSSES.get(name) or import_function(_KEY, name, "logits", "targets")


def check_loss(name: str, num_classes: int) -> None:
    """Check that a loss gives one number for each image, without computing any.

    Raises:
        ConfigurationError: if it does not.
    """
    batch = jax.ShapeDtypeStruct((4, num_classes), jnp.float32)
    loss = loss_function(name)
    with blamed_on(_KEY, name, _EXPECTED):
        found = jax.eval_shape(loss, batch, batch)
    require_floats(found, (4,), f"{_KEY}: {name!r}", f"logits of shape {batch.shape}", _EXPECTED)
