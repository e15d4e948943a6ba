"""A trained model as one program of StableHLO, with its weights inside, by `jax.export`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from hqnn_jax.exporting.packages import require
from hqnn_jax.trained.model import TrainedModel

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
"""What a program is for unless asked otherwise: every platform that JAX names."""


def to_stablehlo(model: TrainedModel, platforms: Sequence[str] = PLATFORMS) -> bytes:
    """Return a model as bytes that `jax.export.deserialize` reads, with JAX alone.

    `call(images)` of what it returns takes uint8[batch, resolution, resolution, channels], any
    number of images, and returns calibrated probabilities, float32[batch, classes].

    Args:
        model: the model; its weights become constants of the program.
        platforms: what the program can run on.

    Raises:
        ExportError: where a package is missing.
    """
    require("stablehlo", "flatbuffers", "export")
    function, variables = model.function(), model.variables
    (batch,) = jax.export.symbolic_shape("batch")
    shape = (batch, model.resolution, model.resolution, model.channels)
    program = jax.jit(lambda images: function(variables, images))
    exported = jax.export.export(program, platforms=platforms)(
        jax.ShapeDtypeStruct(shape, jnp.uint8)
    )
    return bytes(exported.serialize())


def stablehlo_program(content: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Return the program in such bytes, compiled here for each number of images."""
    program = jax.export.deserialize(bytearray(content))
    return lambda images: np.asarray(program.call(images))
