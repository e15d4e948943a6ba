"""Random crops, flips and rotations as one affine map per image, sampled once.

An affine map takes a pixel of the result to a place in the source image. Both are measured in
pixels from the image centre, x to the right and y down:

    [x_source, y_source] = matrix[:, :2] @ [x_result, y_result] + matrix[:, 2]
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, Key, UInt32

from hqnn_jax.config import AugmentationConfig

PRNGKey = Key[Array, ""] | UInt32[Array, "2"]

Indices = Int32[Array, "batch rows columns"]

_ASPECT_RATIOS = (3 / 4, 4 / 3)  # width to height, torchvision's RandomResizedCrop
_CROP_ATTEMPTS = 10  # likewise


def random_affine_parameters(
    key: PRNGKey, batch: int, config: AugmentationConfig, height: int, width: int
) -> Float[Array, "batch 2 3"]:
    """Draw one affine map per image: crop, then flips, then rotation about the centre.

    The map's result has the source's `height` and `width`. Crops are torchvision's
    RandomResizedCrop (area share from `config.crop_scale`, aspect ratio from 3/4 to 4/3, ten
    attempts, else the whole image), but not rounded to whole pixels.

    Args:
        key: JAX random key.
        batch: number of images, each with draws of its own.
        config: which operations, and how strong.
        height: rows of the source images.
        width: columns of the source images.
    """
    # One call for all draws: every call of the generator adds to the compile time.
    share, ratio, place, flip, turn = jnp.split(
        jax.random.uniform(key, (2 * _CROP_ATTEMPTS + 5, batch)),
        [_CROP_ATTEMPTS, 2 * _CROP_ATTEMPTS, 2 * _CROP_ATTEMPTS + 2, 2 * _CROP_ATTEMPTS + 4],
    )
    scale, centre = jnp.ones((2, batch)), jnp.zeros((2, batch))
    if config.crop_scale != (1.0, 1.0):
        image = jnp.array([[width], [height]], share.dtype)
        extent = _crop_extent(share, ratio, config.crop_scale, image)
        scale, centre = extent / image, (place - 0.5) * (image - extent)
    enabled = jnp.array([[config.horizontal_flip], [config.vertical_flip]])
    scale = jnp.where((flip < 0.5) & enabled, -scale, scale)
    rotation = _rotations((2 * turn[0] - 1) * math.radians(config.rotation_degrees))
    return jnp.concatenate([scale.T[:, :, None] * rotation, centre.T[:, :, None]], axis=2)


def _rotations(angle: Float[Array, " batch"]) -> Float[Array, "batch 2 2"]:
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([cosine, -sine, sine, cosine], axis=-1).reshape(-1, 2, 2)


def _crop_extent(
    share: Float[Array, "attempts batch"],
    ratio: Float[Array, "attempts batch"],
    scale: tuple[float, float],
    image: Float[Array, "2 1"],
) -> Float[Array, "2 batch"]:
    """Return width and height in pixels of the first attempt that fits the image.

    `share` and `ratio` are uniform on [0, 1) and become area and (logarithmic) aspect ratio.
    """
    low, high = map(math.log, _ASPECT_RATIOS)
    root = jnp.exp((low + (high - low) * ratio) / 2)
    side = jnp.sqrt((scale[0] + (scale[1] - scale[0]) * share) * image.prod())
    candidates = jnp.stack([side * root, side / root])
    fits = (candidates <= image[:, None]).all(axis=0)
    first = jnp.argmax(fits, axis=0)
    chosen = jnp.take_along_axis(candidates, first[None, None], axis=1)[:, 0]
    return jnp.where(fits.any(axis=0), chosen, image)


def sample_affine(
    images: Float[Array, "batch height width channels"],
    matrices: Float[Array, "batch 2 3"],
    output_size: tuple[int, int] | None = None,
) -> Float[Array, "batch out_height out_width channels"]:
    """Sample every image once, bilinearly, where its affine map says.

    Outside the image its mirror image is seen: a rotated cell keeps a background that looks like
    background, where a constant would draw black corners and a repeated edge would draw streaks.

    Args:
        images: source images; the dtype is kept.
        matrices: one affine map per image (see the module), for a result of the source's size.
        output_size: rows and columns of the result (default: the source's); the map is scaled so
            that it shows the same part of the image. Enlarging only: there is no low-pass filter.
    """
    height, width = images.shape[1:3]
    out_height, out_width = output_size or (height, width)
    x = (jnp.arange(out_width) - (out_width - 1) / 2) * (width / out_width)
    y = (jnp.arange(out_height) - (out_height - 1) / 2) * (height / out_height)
    terms = matrices[..., None, None]
    source = terms[:, :, 0] * x + terms[:, :, 1] * y[:, None] + terms[:, :, 2]
    left, right, x_weight = _neighbours(source[:, 0] + (width - 1) / 2, width)
    top, bottom, y_weight = _neighbours(source[:, 1] + (height - 1) / 2, height)
    x_weight = x_weight[..., None].astype(images.dtype)
    y_weight = y_weight[..., None].astype(images.dtype)

    first_row = (jnp.arange(len(images)) * height)[:, None, None]
    pixels = images.reshape(-1, images.shape[-1])

    def at(row: Indices, column: Indices) -> Float[Array, "batch rows columns channels"]:
        index = (first_row + row) * width + column
        return pixels.at[index].get(mode="promise_in_bounds")

    upper = at(top, left) * (1 - x_weight) + at(top, right) * x_weight
    lower = at(bottom, left) * (1 - x_weight) + at(bottom, right) * x_weight
    return upper * (1 - y_weight) + lower * y_weight


def _neighbours(
    position: Float[Array, "batch rows columns"], size: int
) -> tuple[Indices, Indices, Float[Array, "batch rows columns"]]:
    """Return the pixels on either side of a position and the weight of the second one."""
    last = size - 1
    period = max(2 * last, 1)
    # Mirror at the centres of the border pixels, however far outside.
    position = position - period * jnp.floor(position / period)
    position = jnp.minimum(position, 2 * last - position)
    low = jnp.clip(jnp.floor(position), 0, max(last - 1, 0)).astype(jnp.int32)
    return low, jnp.minimum(low + 1, last), position - low
