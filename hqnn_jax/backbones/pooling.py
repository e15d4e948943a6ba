"""Maxima and means over windows of images, laid out `batch height width features`."""

from functools import reduce

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from hqnn_jax.backbones.convolutions import shifted_views


def max_pool_2x2(
    images: Float[Array, "batch height width features"],
) -> Float[Array, "batch half_height half_width features"]:
    """Maximum over non-overlapping 2x2 windows; an odd last row or column is dropped.

    A reshape and a reduction instead of `lax.reduce_window`, whose gradient (select-and-scatter)
    costs a third of a training step of the five-layer CNN on CPU.
    """
    batch, height, width, features = images.shape
    rows, columns = height // 2, width // 2
    windows = images[:, : 2 * rows, : 2 * columns].reshape(batch, rows, 2, columns, 2, features)
    return windows.max((2, 4))


def max_pool(
    images: Float[Array, "batch height width features"], *, size: int, stride: int, padding: int
) -> Float[Array, "batch out_height out_width features"]:
    """Maximum over square windows of `size` pixels, `padding` pixels on each side left out of it.

    The maximum of shifted views: as fast as `lax.reduce_window` on CPU, with a gradient eight times
    as fast. Among equal maxima the gradient is shared.
    """
    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(images, pads, constant_values=-jnp.inf)
    return reduce(jnp.maximum, shifted_views(padded, size, stride))


def adaptive_average_pool(
    images: Float[Array, "batch height width features"], size: int
) -> Float[Array, "batch size size features"]:
    """Average images of any size to `size` x `size`, as torch's `AdaptiveAvgPool2d` defines it.

    Output row i is the mean of the input rows from floor(i height / size) to, exclusively,
    ceil((i + 1) height / size): neighbouring windows overlap where the sizes do not divide, and
    repeat rows where the image is the smaller one. Likewise for columns.
    """
    _, height, width, _ = images.shape
    rows, columns = (jnp.asarray(_window_means(n, size), images.dtype) for n in (height, width))
    return jnp.einsum("ih,jw,bhwf->bijf", rows, columns, images, precision=lax.Precision.HIGHEST)


def _window_means(length: int, size: int) -> np.ndarray:
    """Matrix [size, length] whose rows average the windows of adaptive pooling."""
    means = np.zeros((size, length))
    for index in range(size):
        window = slice(index * length // size, -(-(index + 1) * length // size))
        means[index, window] = 1 / (window.stop - window.start)
    return means
