"""Class probabilities for a whole split, in batches of one compiled shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Shaped

from hqnn_jax.data.records import RecordImages
from hqnn_jax.models import Variables


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
    """Return `predict(variables, images)` with its probabilities averaged over the views."""
    if views == "none":
        return predict

    def predict_views(variables: Variables, images: jax.Array) -> jax.Array:
        stacked = jnp.stack(dihedral_views(images))
        # One view at a time keeps the memory that of a single view.
        return jnp.mean(jax.lax.map(lambda view: predict(variables, view), stacked), axis=0)

    return predict_views


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A compiled `predict(variables, batch)`, applied to any number of examples."""

    compiled: Callable[..., Float[Array, "batch num_classes"]]
    batch_size: int

    @classmethod
    def compile(
        cls,
        predict: Callable[..., Float[Array, "batch num_classes"]],
        variables: Variables,
        inputs: Shaped[Array | np.ndarray | RecordImages, "num_examples *shape"],
        batch_size: int,
    ) -> Predictor:
        """Compile for batches of `batch_size` examples like `inputs`."""
        batch = jax.ShapeDtypeStruct((batch_size, *inputs.shape[1:]), inputs.dtype)
        return cls(jax.jit(predict).lower(variables, batch).compile(), batch_size)

    def __call__(
        self,
        variables: Variables,
        inputs: Shaped[Array | np.ndarray | RecordImages, "num_examples *shape"],
        advance: Callable[[int], None] = lambda amount: None,
    ) -> Float32[np.ndarray, "num_examples outputs"]:
        """Return the probabilities of every example, in order, on the host.

        `advance` is told how many examples each finished batch held.
        """
        outputs = []
        for start in range(0, inputs.shape[0], self.batch_size):
            batch = inputs[start : start + self.batch_size]
            size = batch.shape[0]
            # The last batch is filled up, so that its shape is the compiled one.
            padding = [(0, self.batch_size - size)] + [(0, 0)] * (inputs.ndim - 1)
            result = self.compiled(variables, jnp.pad(batch, padding) if padding[0][1] else batch)
            outputs.append(np.asarray(result, np.float32)[:size])
            advance(size)
        return np.concatenate(outputs)
