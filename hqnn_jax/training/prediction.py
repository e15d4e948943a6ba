"""Class probabilities for a whole split, in batches of one compiled shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Key, Shaped

from hqnn_jax.data.records import RecordImages
from hqnn_jax.models.pure import Variables


def dihedral_views(
    images: Shaped[Array, "batch size size channels"],
) -> list[Shaped[Array, "batch size size channels"]]:
    """Return the 8 images a square image becomes under flips and quarter turns."""
    views = []
    for image in (images, jnp.swapaxes(images, 1, 2)):
        for rows in (slice(None), slice(None, None, -1)):
            for columns in (slice(None), slice(None, None, -1)):
                views.append(image[:, rows, columns])
    return views


def averaged_over_views(
    predict: Callable[..., Float[Array, "batch num_classes"]],
    views: Literal["none", "dihedral"],
) -> Callable[..., Float[Array, "batch num_classes"]]:
    """Return `predict(variables, images, *key)` with its probabilities averaged over the views."""
    if views == "none":
        return predict

    def predict_views(variables: Variables, images: jax.Array, *key: jax.Array) -> jax.Array:
        stacked = jnp.stack(dihedral_views(images))
        keys = tuple(jax.random.split(k, len(stacked)) for k in key)
        # One view at a time keeps the memory that of a single view.
        outputs = jax.lax.map(lambda view: predict(variables, *view), (stacked, *keys))
        return jnp.mean(outputs, axis=0)

    return predict_views


def of_seeds(
    predict: Callable[..., Float[Array, "batch num_classes"]],
) -> Callable[..., Float[Array, "batch seeds num_classes"]]:
    """Return `predict(variables, inputs, *key)` of variables and keys with a leading seed axis."""

    def predict_seeds(variables: Variables, inputs: jax.Array, *keys: jax.Array) -> jax.Array:
        axes = (0, None, *(0 for _ in keys))
        return jax.vmap(predict, in_axes=axes, out_axes=1)(variables, inputs, *keys)

    return predict_seeds


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A compiled `predict(variables, batch, *key)`, applied to any number of examples."""

    compiled: Callable[..., Float[Array, "batch *outputs"]]
    batch_size: int

    @classmethod
    def compile(
        cls,
        predict: Callable[..., Float[Array, "batch *outputs"]],
        variables: Variables,
        inputs: Shaped[Array | np.ndarray | RecordImages, "num_examples *shape"],
        batch_size: int,
        key: Key[Array, "*seeds"] | None = None,
    ) -> Predictor:
        """Compile for batches of `batch_size` examples like `inputs`, with a key where given."""
        batch = jax.ShapeDtypeStruct((batch_size, *inputs.shape[1:]), inputs.dtype)
        keys = () if key is None else (key,)
        return cls(jax.jit(predict).lower(variables, batch, *keys).compile(), batch_size)

    def __call__(
        self,
        variables: Variables,
        inputs: Shaped[Array | np.ndarray | RecordImages, "num_examples *shape"],
        advance: Callable[[int], None] = lambda amount: None,
        key: Key[Array, "*seeds"] | None = None,
    ) -> Float32[np.ndarray, "num_examples *outputs"]:
        """Return the probabilities of every example, in order, on the host.

        `advance` is told how many examples each finished batch held. `key`, with or without a seed
        axis, gives each batch its own random numbers; it is needed where it was given to `compile`.
        """
        outputs = []
        for start in range(0, inputs.shape[0], self.batch_size):
            batch = inputs[start : start + self.batch_size]
            size = batch.shape[0]
            # The last batch is filled up, so that its shape is the compiled one.
            padding = [(0, self.batch_size - size)] + [(0, 0)] * (inputs.ndim - 1)
            batch = jnp.pad(batch, padding) if padding[0][1] else batch
            keys = () if key is None else (_fold_in(key, start),)
            result = self.compiled(variables, batch, *keys)
            outputs.append(np.asarray(result, np.float32)[:size])
            advance(size)
        return np.concatenate(outputs)


def _fold_in(key: Key[Array, "*seeds"], number: int) -> Key[Array, "*seeds"]:
    return jax.vmap(jax.random.fold_in, (0, None))(key.ravel(), number).reshape(key.shape)
