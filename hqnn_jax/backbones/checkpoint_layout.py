"""What a publisher's file of ImageNet weights is: names, shapes and order of axes.

torchvision and timm keep kernels `out in height width` and `out in`; Keras as here,
`height width in out` and `in out`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

VariablePath = tuple[Any, ...]
"""Where a variable is in a module, such as `("blocks", 3, "expand_conv", "kernel")`."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ImageNormalization:
    """What a pretrained network expects: `(image - mean) / std` per channel, image in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET = ImageNormalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation over ImageNet, RGB."""

CAFFE = ImageNormalization(
    (123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255, 1 / 255, 1 / 255)
)
"""Mean over ImageNet taken away and nothing else: ResNet and VGG of Keras (mode `caffe`), RGB."""


class TensorSource(NamedTuple):
    """The tensors a variable is made of, with the shapes they have in the file."""

    shapes: Mapping[str, Shape]
    convert: Callable[..., np.ndarray]
    """From these tensors, in order, to the variable."""


@dataclass(frozen=True)
class CheckpointLayout:
    """How the variables of one architecture are stored in one publisher's files.

    Attributes:
        telling: name of a tensor that no other layout has.
        source: what the variable at a path, of a shape, is made of.
        head: tensors of the classifier, not needed by a backbone without one.
        unused: tensors that mean nothing here, a pattern; by default there are none.
        normalization: the publisher's, for files that do not say.
        adapt: called with the module and the architecture the file names, or None: makes the
            module compute as the weights need where tensors do not show it, or returns why it
            cannot.
    """

    telling: str
    source: Callable[[VariablePath, Shape], TensorSource]
    head: frozenset[str]
    unused: re.Pattern[str] = re.compile(r"(?!)")
    normalization: ImageNormalization = IMAGENET
    adapt: Callable[[Any, str | None], str | None] = lambda module, architecture: None


_TORCH_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}

TORCH_UNUSED = re.compile(r".+\.num_batches_tracked")
"""PyTorch counts the batches of each normalisation; it means nothing in evaluation."""

KERAS_HEAD = frozenset({"predictions/kernel", "predictions/bias"})


def torch_head(layer: str) -> frozenset[str]:
    """Return the tensors of the classifier that PyTorch calls `layer`."""
    return frozenset({f"{layer}.weight", f"{layer}.bias"})


def torch_source(layer: str, path: VariablePath, shape: Shape) -> TensorSource:
    """Return what PyTorch's `layer` calls the variable at `path`."""
    name = f"{layer}.{_TORCH_LEAVES[path[-1]]}"
    if len(shape) == 4:
        height, width, inputs, outputs = shape
        file_shape: Shape = (outputs, inputs, height, width)
        return TensorSource({name: file_shape}, lambda tensor: tensor.transpose(2, 3, 1, 0))
    return TensorSource({name: shape[::-1]}, np.transpose)


_KERAS_LEAVES = {
    "kernel": "kernel",
    "bias": "bias",
    "scale": "gamma",
    "mean": "moving_mean",
    "var": "moving_variance",
}


def keras_source(
    layer: str, path: VariablePath, shape: Shape, *, norm: bool = False
) -> TensorSource:
    """Return what Keras' `layer`, a batch normalisation or not, calls the variable at `path`."""
    leaf = "beta" if norm and path[-1] == "bias" else _KERAS_LEAVES[path[-1]]
    return TensorSource({f"{layer}/{leaf}": shape}, lambda tensor: tensor)


def from_bgr(source: TensorSource) -> TensorSource:
    """Return the first kernel of a network trained on BGR images, for RGB images."""
    return TensorSource(source.shapes, lambda tensor: tensor[:, :, ::-1])
