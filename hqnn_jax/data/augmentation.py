"""Random augmentation on the device, inside the compiled step, each image with its own draws."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hqnn_jax import keys
from hqnn_jax.config import AugmentationConfig
from hqnn_jax.data.affine import PRNGKey, random_affine_parameters, sample_affine
from hqnn_jax.data.colour import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
)
from hqnn_jax.data.preprocessing import normalise, resize, to_float
from hqnn_jax.own_parts import blamed_on, import_function, require_floats

__all__ = [
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "augment",
    "colour_jitter",
    "normalise",
    "random_affine_parameters",
    "random_flips",
    "random_quarter_turns",
    "resize",
    "sample_affine",
    "to_float",
]


_KEY = "training.augmentation.function"
_EXPECTED = (
    "a function (key, images[batch, height, width, channels]) -> images, as many and in float"
)


def augment(
    key: PRNGKey,
    images: Float[Array, "batch height width channels"],
    config: AugmentationConfig,
    output_size: int | None = None,
) -> Float[Array, "batch out_height out_width channels"]:
    """Return randomly changed copies of the images.

    A function of the user's own changes them first. Then brightness, contrast, saturation and hue
    change, in this order: at the stored size, which is 16 times cheaper than after enlarging 28
    pixels to 112. Then crop, flips and rotation are one affine map per image and one bilinear
    sampling, directly at `output_size` where that enlarges. Only what `config` enables is compiled;
    the default changes nothing but the size.

    Args:
        key: JAX random key; the same key gives the same result.
        images: values in [0, 1]; the dtype is kept.
        config: which operations, and how strong (static under `jax.jit`).
        output_size: side of the result in pixels; default: the size of the images.
    """
    if config.function is not None:
        images = own_function(config.function)(keys.own_augmentation(key), images)
    shape_key, colour_key, turn_key = jax.random.split(key, 3)
    images = colour_jitter(colour_key, images, config)
    if config.quarter_turns:
        images = random_quarter_turns(turn_key, images)
    return _reshape(shape_key, images, config, output_size)


def own_function(name: str) -> Callable[[PRNGKey, Array], Array]:
    """Import an augmentation of the user's own; see `AugmentationConfig.function`.

    Raises:
        ConfigurationError: if there is none that can be called so.
    """
    function: Callable[[PRNGKey, Array], Array] = import_function(_KEY, name, "key", "images")
    return function


def check_own_augmentation(name: str, shape: tuple[int, ...]) -> None:
    """Check that an augmentation of the user's own returns images, without computing any.

    Args:
        name: its import path.
        shape: of one image, as stored.

    Raises:
        ConfigurationError: if it does not.
    """
    images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    function = own_function(name)
    with blamed_on(_KEY, name, _EXPECTED):
        found = jax.eval_shape(function, jax.eval_shape(jax.random.key, 0), images)
    require_floats(
        found, (2, None, None, shape[-1]), f"{_KEY}: {name!r}", f"images of shape {images.shape}",
        _EXPECTED,
    )  # fmt: skip


def _reshape(
    key: PRNGKey,
    images: Float[Array, "batch height width channels"],
    config: AugmentationConfig,
    output_size: int | None,
) -> Float[Array, "batch out_height out_width channels"]:
    batch, height, width, _ = images.shape
    size = (height, width) if output_size is None else (output_size, output_size)
    if config.crop_scale == (1.0, 1.0) and config.rotation_degrees == 0:
        images = random_flips(
            key, images, horizontal=config.horizontal_flip, vertical=config.vertical_flip
        )
        return images if output_size is None else resize(images, output_size)
    matrices = random_affine_parameters(key, batch, config, height, width)
    if size[0] >= height and size[1] >= width:
        return sample_affine(images, matrices, size)
    # Sampling has no low-pass filter; shrinking needs one.
    return resize(sample_affine(images, matrices), size[0])


def random_flips(
    key: PRNGKey,
    images: Float[Array, "batch height width channels"],
    *,
    horizontal: bool,
    vertical: bool,
) -> Float[Array, "batch height width channels"]:
    """Mirror each image with probability 1/2, exactly and without interpolation.

    Args:
        key: JAX random key.
        images: any range; the dtype is kept.
        horizontal: exchange left and right.
        vertical: exchange top and bottom.
    """
    for axis, enabled, axis_key in zip(
        (2, 1), (horizontal, vertical), jax.random.split(key), strict=True
    ):
        if enabled:
            flip = jax.random.bernoulli(axis_key, shape=(len(images), 1, 1, 1))
            images = jnp.where(flip, jnp.flip(images, axis), images)
    return images


def random_quarter_turns(
    key: PRNGKey, images: Float[Array, "batch size size channels"]
) -> Float[Array, "batch size size channels"]:
    """Turn each image by 0, 90, 180 or 270 degrees with equal probability, exactly.

    Args:
        key: JAX random key.
        images: square images of any range; the dtype is kept.
    """
    quarter, half = jax.random.bernoulli(key, shape=(2, len(images), 1, 1, 1))
    images = jnp.where(quarter, jnp.rot90(images, axes=(1, 2)), images)
    return jnp.where(half, jnp.rot90(images, k=2, axes=(1, 2)), images)


def colour_jitter(
    key: PRNGKey, images: Float[Array, "batch height width channels"], config: AugmentationConfig
) -> Float[Array, "batch height width channels"]:
    """Change brightness, contrast, saturation and hue, in this order.

    torchvision's ColorJitter draws the order as well; a fixed one keeps the program small.

    Args:
        key: JAX random key.
        images: values in [0, 1]; grey images keep saturation and hue, which they do not have.
        config: strengths; 0 leaves the operation out of the compiled program.
    """
    operations = (
        (adjust_brightness, config.brightness, 1.0),
        (adjust_contrast, config.contrast, 1.0),
        (adjust_saturation, config.saturation, 1.0),
        (adjust_hue, config.hue, 0.0),
    )
    # One call for all draws: every call of the generator costs a third of a second to compile.
    draws = jax.random.uniform(key, (len(operations), len(images)), minval=-1.0, maxval=1.0)
    for (adjust, strength, centre), draw in zip(operations, draws, strict=True):
        if strength > 0:
            images = adjust(images, centre + strength * draw)
    return images
