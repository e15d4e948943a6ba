"""Convolutions that are fast on the backend they run on.

Images are laid out `batch height width channels`, kernels `height width in out`.

XLA's CPU backend has no fast depthwise convolution (10 to 40 times slower than the arithmetic
needs, several hundred times in the weight gradient), so on CPU it is written as shifted products.
The branch is taken when the program is lowered for a platform (`jax.lax.platform_dependent`), so
the same traced program is right on every backend and under `jit`, `vmap` and `grad`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Float

Padding = Literal["SAME", "VALID"] | int
"""`SAME` as in TensorFlow (the odd pixel goes below and right), `VALID`, or pixels on each side."""

ConvMethod = Literal["lax", "patches"]
"""How a dense convolution is evaluated: by the library, or as patches times a matrix."""

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_Pads = tuple[tuple[int, int], tuple[int, int]]


def _resolve_padding(sides: tuple[int, ...], size: int, stride: int, padding: Padding) -> _Pads:
    """Pixels to add (before, after) along height and width of images with these sides."""
    if isinstance(padding, int):
        return (padding, padding), (padding, padding)
    vertical, horizontal = lax.padtype_to_pads(sides, (size, size), (stride, stride), padding)
    return (vertical[0], vertical[1]), (horizontal[0], horizontal[1])


def _pad(images: Array, pads: _Pads) -> Array:
    return jnp.pad(images, ((0, 0), *pads, (0, 0)))


def shifted_views(padded: Array, size: int, stride: int) -> list[Array]:
    """Return what each tap of a square window sees of padded images, by rows.

    `padded` is laid out `... height width features`; so are the views.
    """
    rows, columns = ((extent - size) // stride for extent in padded.shape[-3:-1])
    return [
        padded[..., i : i + rows * stride + 1 : stride, j : j + columns * stride + 1 : stride, :]
        for i in range(size)
        for j in range(size)
    ]


def convolution(
    images: Float[Array, "batch height width in_features"],
    kernel: Float[Array, "size size in_features out_features"],
    *,
    stride: int = 1,
    padding: Padding = "SAME",
    method: ConvMethod = "lax",
) -> Float[Array, "batch out_height out_width out_features"]:
    """Dense two-dimensional convolution (cross-correlation, as everywhere in deep learning).

    A 1x1 kernel is a matrix product over the channels on every backend. Larger kernels go through
    `method`:

    - `lax` (default): `jax.lax.conv_general_dilated`. The fastest for single training steps, with
      the least memory.
    - `patches`: gather the window, then one matrix product. Costs size * size times the memory of
      the images, but stays fast on CPU inside `lax.scan`, where `lax` does not.

    Under `vmap` over kernels (models of several seeds), `lax` on CPU is one convolution for each,
    in one program: a grouped convolution is 4.5 times slower, patches are 2 times slower. Its
    gradient is written out for that, so reverse mode only.

    Images or outputs smaller than the kernel always take patches: XLA's CPU backend has no fast
    convolution there (2x2 images with 512 channels: 150 times slower).

    Both arguments have one floating dtype, which is also the result's. Kernels are square: XLA's
    CPU compiler (jaxlib 0.10.2) aborts the process on the gradient of some strided rectangular
    ones, such as 5x2 with stride 2 and padding 1.
    """
    size = kernel.shape[0]
    pads = _resolve_padding(images.shape[1:3], size, stride, padding)
    if size == 1:
        return _pad(images, pads)[:, ::stride, ::stride] @ kernel[0, 0]
    padded_shape = [n + sum(pad) for n, pad in zip(images.shape[1:3], pads, strict=True)]
    smallest = min(*images.shape[1:3], *((n - size) // stride + 1 for n in padded_shape))
    if method == "patches" or 0 < smallest < size:
        patches = jnp.concatenate(shifted_views(_pad(images, pads), size, stride), axis=-1)
        return patches @ kernel.reshape(-1, kernel.shape[-1])
    return _dense(images, kernel, stride, pads)


def _dense_library(stride: int, pads: _Pads, images: Array, kernel: Array) -> Array:
    return lax.conv_general_dilated(
        images, kernel, (stride, stride), pads, dimension_numbers=_DIMENSIONS
    )


def _with_gradients(
    convolve: Callable[..., Array], gradients: Callable[..., tuple[Array, Array]]
) -> Callable[..., Array]:
    """Return `convolve(images, kernel, stride, pads)` whose gradients are written by hand.

    They are `gradients(images, kernel, cotangent, stride, pads)`, in images and kernel.
    """
    differentiable = jax.custom_vjp(convolve, nondiff_argnums=(2, 3))
    differentiable.defvjp(
        lambda images, kernel, *static: (differentiable(images, kernel, *static), (images, kernel)),
        lambda stride, pads, saved, cotangent: gradients(*saved, cotangent, stride, pads),
    )
    return differentiable


def _one_by_one_on_cpu(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that `vmap` applies one by one on CPU, in one program."""
    mapped = custom_vmap(function)

    @mapped.def_vmap
    def rule(size: int, batched: Sequence[bool], *args: Array) -> tuple[Any, Any]:
        def each(*args: Array) -> Any:
            outputs = [
                mapped(*(a[i] if b else a for a, b in zip(args, batched, strict=True)))
                for i in range(size)
            ]
            return jax.tree.map(lambda *leaves: jnp.stack(leaves), *outputs)

        together = jax.vmap(function, [0 if b else None for b in batched])
        outputs = lax.platform_dependent(*args, cpu=each, default=together)
        return outputs, jax.tree.map(lambda _: True, outputs)

    return mapped


def _dense_gradients(
    images: Array, kernel: Array, cotangent: Array, stride: int, pads: _Pads
) -> tuple[Array, Array]:
    def pulled_back(images: Array, kernel: Array, cotangent: Array) -> tuple[Array, Array]:
        _, pull_back = jax.vjp(partial(_dense_library, stride, pads), images, kernel)
        return pull_back(cotangent)

    return _one_by_one_on_cpu(pulled_back)(images, kernel, cotangent)


@partial(_with_gradients, gradients=_dense_gradients)
def _dense(images: Array, kernel: Array, stride: int, pads: _Pads) -> Array:
    return _one_by_one_on_cpu(partial(_dense_library, stride, pads))(images, kernel)


def depthwise_convolution(
    images: Float[Array, "batch height width features"],
    kernel: Float[Array, "size size 1 features"],
    *,
    stride: int = 1,
    padding: Padding = "SAME",
) -> Float[Array, "batch out_height out_width features"]:
    """Convolve every channel with its own kernel.

    On CPU the sum of shifted products, elsewhere the library's grouped convolution. The gradient
    is written by hand (see `_depthwise_gradients_cpu`), so reverse mode only: `jax.grad` and
    `jax.vjp` work, `jax.jvp` raises TypeError. Both arguments have one floating dtype, which is
    also the result's.
    """
    pads = _resolve_padding(images.shape[1:3], kernel.shape[0], stride, padding)
    return _depthwise(images, kernel, stride, pads)


def _depthwise_shifted(images: Array, kernel: Array, stride: int, pads: _Pads) -> Array:
    views = shifted_views(_pad(images, pads), kernel.shape[0], stride)
    taps = kernel.reshape(-1, kernel.shape[-1])
    total = views[0] * taps[0]
    for view, tap in zip(views[1:], taps[1:], strict=True):
        total = total + view * tap
    return total


def _depthwise_library(images: Array, kernel: Array, stride: int, pads: _Pads) -> Array:
    return lax.conv_general_dilated(
        images,
        kernel,
        (stride, stride),
        pads,
        dimension_numbers=_DIMENSIONS,
        feature_group_count=images.shape[-1],
    )


def _depthwise_gradients(
    images: Array, kernel: Array, cotangent: Array, stride: int, pads: _Pads
) -> tuple[Array, Array]:
    return lax.platform_dependent(
        images,
        kernel,
        cotangent,
        cpu=partial(_depthwise_gradients_cpu, stride=stride, pads=pads),
        default=partial(_depthwise_gradients_library, stride=stride, pads=pads),
    )


@partial(_with_gradients, gradients=_depthwise_gradients)
def _depthwise(images: Array, kernel: Array, stride: int, pads: _Pads) -> Array:
    return lax.platform_dependent(
        images,
        kernel,
        cpu=partial(_depthwise_shifted, stride=stride, pads=pads),
        default=partial(_depthwise_library, stride=stride, pads=pads),
    )


def _depthwise_gradients_library(
    images: Array, kernel: Array, cotangent: Array, *, stride: int, pads: _Pads
) -> tuple[Array, Array]:
    _, pullback = jax.vjp(partial(_depthwise_library, stride=stride, pads=pads), images, kernel)
    return pullback(cotangent)


def _depthwise_gradients_cpu(
    images: Array, kernel: Array, cotangent: Array, *, stride: int, pads: _Pads
) -> tuple[Array, Array]:
    """Gradients of the shifted products, each in the form that was measured to be fastest.

    Images: at stride 1 again a depthwise convolution, with the kernel turned by half a turn; at
    larger strides the transpose that JAX derives is cheaper. Kernel: left to XLA, one full-size
    product per tap exists at the same time and all leave the cache; walking over the batch and
    accumulating one image's products is 3 to 9 times faster.
    """
    if stride == 1:
        images_gradient = _depthwise_turned(cotangent, kernel, pads)
    else:
        (images_gradient,) = jax.linear_transpose(
            lambda x: _depthwise_shifted(x, kernel, stride, pads), images
        )(cotangent)
    return images_gradient, _depthwise_kernel_gradient(
        images, cotangent, kernel.shape[0], stride, pads
    )


def _depthwise_turned(cotangent: Array, kernel: Array, pads: _Pads) -> Array:
    """Transpose of the depthwise convolution with stride 1 and `pads`, in the images."""
    margin = kernel.shape[0] - 1
    zero = jnp.zeros((), cotangent.dtype)
    # Padding wider than the margin makes these negative, which crops.
    edges = [(margin - before, margin - after, 0) for before, after in pads]
    config = [(0, 0, 0), *edges, (0, 0, 0)]
    padded = lax.pad(cotangent, zero, config)
    return _depthwise_shifted(padded, jnp.flip(kernel, (0, 1)), 1, ((0, 0), (0, 0)))


def _depthwise_kernel_gradient(
    images: Array, cotangent: Array, size: int, stride: int, pads: _Pads
) -> Array:
    # At least float32, because each entry sums batch * height * width products.
    dtype = jnp.promote_types(cotangent.dtype, jnp.float32)

    def accumulate(totals: list[Array], sample: tuple[Array, Array]) -> tuple[list[Array], None]:
        image, gradient = sample
        views = shifted_views(image, size, stride)
        products = [view.astype(dtype) * gradient.astype(dtype) for view in views]
        return [total + product for total, product in zip(totals, products, strict=True)], None

    zeros = [jnp.zeros(cotangent.shape[1:], dtype)] * size**2
    totals, _ = lax.scan(accumulate, zeros, (_pad(images, pads), cotangent))
    gradient = jnp.stack([total.sum((0, 1)) for total in totals])
    return gradient.reshape(size, size, 1, -1).astype(cotangent.dtype)
