"""From stored uint8 images to the numbers a network takes; pure functions for the compiled step."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, UInt8


def to_float(
    images: UInt8[Array, "batch height width channels"], dtype: DTypeLike = jnp.float32
) -> Float[Array, "batch height width channels"]:
    """Return the images with values in [0, 1].

    Args:
        images: stored images, 0 to 255.
        dtype: floating-point type of the result.
    """
    return images.astype(dtype) / 255


def resize(
    images: Float[Array, "batch height width channels"], size: int
) -> Float[Array, "batch size size channels"]:
    """Return the images at `size` x `size` pixels, bilinear, low-pass filtered when shrinking.

    The same filter as Pillow's `BILINEAR` and torchvision's antialiased resize.

    Args:
        images: any range; the dtype is kept.
        size: side of the result in pixels.
    """
    batch, height, width, channels = images.shape
    if (height, width) == (size, size):
        return images
    return jax.image.resize(
        images, (batch, size, size, channels), jax.image.ResizeMethod.LINEAR, antialias=True
    )


def normalise(
    images: Float[Array, "batch height width channels"],
    mean: Sequence[float],
    std: Sequence[float],
) -> Float[Array, "batch height width channels"]:
    """Return (images - mean) / std per channel.

    Args:
        images: values in [0, 1]; the dtype is kept.
        mean: one value per channel, or a single one for all.
        std: likewise.
    """
    return (images - jnp.asarray(mean, images.dtype)) / jnp.asarray(std, images.dtype)
