"""Colour adjustments of images, one factor per image, with torchvision's definitions.

Every function takes images in [0, 1], float of any width, and returns the same shape and dtype,
clipped to [0, 1]. Colour images have three channels; saturation and hue of a grey image (one
channel) are undefined, and such an image is returned as it is.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

Images = Float[Array, "batch height width channels"]
PerImage = Float[Array, " batch"]

_LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601, the digits torchvision uses


def adjust_brightness(images: Images, factor: PerImage) -> Images:
    """Scale the intensities: factor 0 gives black, 1 the image itself."""
    return jnp.clip(images * _per_pixel(factor, images), 0, 1)


def adjust_contrast(images: Images, factor: PerImage) -> Images:
    """Scale the distance from the image's mean grey value: factor 0 gives flat grey."""
    # The grey value is linear, so the mean grey value is the grey value of the mean colour; the
    # reduction then reads the images as they lie in memory.
    mean = _grey(images.mean(axis=(1, 2), keepdims=True))
    return _blend(images, mean, factor)


def adjust_saturation(images: Images, factor: PerImage) -> Images:
    """Scale the distance from each pixel's grey value: factor 0 gives a grey image."""
    if images.shape[-1] == 1:
        return images
    return _blend(images, _grey(images), factor)


def adjust_hue(images: Images, shift: PerImage) -> Images:
    """Turn the colour circle by `shift` turns, exactly in HSV: 1/3 makes red green.

    Value and saturation stay; branch-free form of the HSV hexcone, as in torchvision's
    `adjust_hue` for float tensors.
    """
    if images.shape[-1] == 1:
        return images
    red, green, blue = images[..., 0], images[..., 1], images[..., 2]
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    scale = 1 / jnp.where(chroma == 0, 1, chroma)
    sector = jnp.where(
        value == red,
        (green - blue) * scale,
        jnp.where(value == green, 2 + (blue - red) * scale, 4 + (red - green) * scale),
    )
    turned = sector + 6 * shift.astype(images.dtype)[:, None, None]
    channels = []
    for offset in (5, 3, 1):
        position = turned + offset
        position = position - 6 * jnp.floor(position / 6)
        peak = jnp.clip(jnp.minimum(position, 4 - position), 0, 1)
        channels.append(value - chroma * peak)
    return jnp.clip(jnp.stack(channels, axis=-1), 0, 1)


def _per_pixel(factor: PerImage, images: Images) -> Float[Array, "batch 1 1 1"]:
    return factor.astype(images.dtype)[:, None, None, None]


def _grey(images: Images) -> Float[Array, "batch height width 1"]:
    if images.shape[-1] == 1:
        return images
    red, green, blue = images[..., 0:1], images[..., 1:2], images[..., 2:3]
    return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def _blend(images: Images, other: Float[Array, "..."], factor: PerImage) -> Images:
    weight = _per_pixel(factor, images)
    return jnp.clip(weight * images + (1 - weight) * other, 0, 1)
