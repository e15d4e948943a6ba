"""ResNet-18 and ResNet-50 (He et al. 2016, arXiv 1512.03385, table 1)."""

import re
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from hqnn_jax.backbones import Backbone
from hqnn_jax.backbones.checkpoint_layout import (
    CAFFE,
    KERAS_HEAD,
    TORCH_UNUSED,
    CheckpointLayout,
    Shape,
    TensorSource,
    VariablePath,
    from_bgr,
    keras_source,
    torch_head,
    torch_source,
)
from hqnn_jax.backbones.layers import BatchNorm, Conv
from hqnn_jax.backbones.pooling import max_pool

ResNetVariant = Literal["v1", "v1.5"]
"""Where a bottleneck block has its stride: in the first 1x1 convolution (`v1`: the paper, Keras)
or in the 3x3 convolution (`v1.5`: torchvision, timm)."""

_BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
_WIDTHS = (64, 128, 256, 512)
_STEM_FEATURES = 64

# As torchvision: normal values with variance 2 / fan_out.
_CONV_INIT = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")


class _ConvSpec(NamedTuple):
    kernel_size: int
    out_features: int
    stride: int


def _basic(width: int, stride: int) -> tuple[_ConvSpec, ...]:
    return _ConvSpec(3, width, stride), _ConvSpec(3, width, 1)


def _bottleneck(width: int, stride: int, variant: ResNetVariant) -> tuple[_ConvSpec, ...]:
    first, second = (stride, 1) if variant == "v1" else (1, stride)
    return _ConvSpec(1, width, first), _ConvSpec(3, width, second), _ConvSpec(1, 4 * width, 1)


class _ResidualBlock(nnx.Module):
    """relu(shortcut(x) + branch(x)); the shortcut is a convolution where the shape changes."""

    def __init__(
        self,
        in_features: int,
        branch: tuple[_ConvSpec, ...],
        *,
        epsilon: float,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.convolutions: nnx.List[Conv] = nnx.List([])
        self.norms: nnx.List[BatchNorm] = nnx.List([])
        features, stride = in_features, 1
        for spec in branch:
            self.convolutions.append(_conv(features, spec, dtype, rngs))
            self.norms.append(BatchNorm(spec.out_features, momentum=0.9, epsilon=epsilon))
            features, stride = spec.out_features, stride * spec.stride
        self.shortcut: Conv | None = nnx.data(None)
        self.shortcut_norm: BatchNorm | None = nnx.data(None)
        if stride != 1 or in_features != features:
            self.shortcut = _conv(in_features, _ConvSpec(1, features, stride), dtype, rngs)
            self.shortcut_norm = BatchNorm(features, momentum=0.9, epsilon=epsilon)

    def __call__(self, x: Array) -> Array:
        hidden = x
        for convolution, norm in zip(self.convolutions[:-1], self.norms[:-1], strict=True):
            hidden = jax.nn.relu(norm(convolution(hidden)))
        hidden = self.norms[-1](self.convolutions[-1](hidden))
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = self.shortcut_norm(self.shortcut(x))
        return jax.nn.relu(x + hidden)


def _conv(in_features: int, spec: _ConvSpec, dtype: DTypeLike, rngs: nnx.Rngs) -> Conv:
    return Conv(
        in_features,
        spec.out_features,
        spec.kernel_size,
        stride=spec.stride,
        padding=spec.kernel_size // 2,
        kernel_init=_CONV_INIT,
        dtype=dtype,
        rngs=rngs,
    )


class ResNet(Backbone):
    """ResNet of 18 (basic blocks) or 50 layers (bottleneck blocks), for images of any size.

    Without classifier 11,176,512 and 23,508,032 parameters. Padding is explicit: 3 pixels at the
    7x7 stem, 1 at the 3x3 convolutions and at the 3x3 max-pool.

    Attributes:
        num_features: 512 or 2048.
        stages: the residual blocks of the four stages; each stage but the first starts with a
            stride of 2.
        classifier: linear layer to class logits, or None.
        variant: see `ResNetVariant`; means nothing for 18 layers.
    """

    def __init__(
        self,
        *,
        depth: Literal[18, 50],
        variant: ResNetVariant = "v1.5",
        epsilon: float = 1e-5,
        in_channels: int = 3,
        num_classes: int | None = None,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Build the network; with `num_classes` a call returns logits instead of features.

        `epsilon` is what batch normalisation adds to a variance: 1e-5 in torchvision, 1.001e-5 in
        Keras.
        """
        self.stem = _conv(in_channels, _ConvSpec(7, _STEM_FEATURES, 2), dtype, rngs)
        self.stem_norm = BatchNorm(_STEM_FEATURES, momentum=0.9, epsilon=epsilon)
        self.stages: nnx.List[nnx.List[_ResidualBlock]] = nnx.List([])
        features = _STEM_FEATURES
        for number, (width, num_blocks) in enumerate(zip(_WIDTHS, _BLOCKS[depth], strict=True)):
            blocks: nnx.List[_ResidualBlock] = nnx.List([])
            for index in range(num_blocks):
                stride = 2 if number > 0 and index == 0 else 1
                branch = (
                    _basic(width, stride) if depth == 18 else _bottleneck(width, stride, variant)
                )
                blocks.append(
                    _ResidualBlock(features, branch, epsilon=epsilon, dtype=dtype, rngs=rngs)
                )
                features = branch[-1].out_features
            self.stages.append(blocks)
        self.num_features = features
        self.classifier = (
            nnx.data(None) if num_classes is None else nnx.Linear(features, num_classes, rngs=rngs)
        )
        self.variant: ResNetVariant = variant
        self.dtype = jnp.dtype(dtype)

    def feature_maps(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch map_height map_width num_features"]:
        """Return the output of the last residual block, a 32nd of the images' resolution."""
        x = jax.nn.relu(self.stem_norm(self.stem(images.astype(self.dtype))))
        x = max_pool(x, size=3, stride=2, padding=1)
        for blocks in self.stages:
            for block in blocks:
                x = block(x)
        return x

    def pool(
        self,
        maps: Float[Array, "batch map_height map_width num_features"],
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "batch num_features"]:
        """Return the features: the mean of each map."""
        return maps.mean((1, 2), dtype=jnp.promote_types(self.dtype, jnp.float32))


# What the publishers of ImageNet weights call the variables.


def _resnet_torch(path: VariablePath, shape: Shape) -> TensorSource:
    top = {"stem": "conv1", "stem_norm": "bn1", "classifier": "fc"}
    if path[0] in top:
        return torch_source(top[path[0]], path, shape)
    _, stage, block, part, *rest = path
    layers = {
        "convolutions": f"conv{rest[0] + 1}" if part == "convolutions" else "",
        "norms": f"bn{rest[0] + 1}" if part == "norms" else "",
        "shortcut": "downsample.0",
        "shortcut_norm": "downsample.1",
    }
    return torch_source(f"layer{stage + 1}.{block}.{layers[part]}", path, shape)


def _resnet_keras(path: VariablePath, shape: Shape) -> TensorSource:
    if path[0] == "classifier":
        return keras_source("predictions", path, shape)
    if path[0] == "stem":
        return from_bgr(keras_source("conv1_conv", path, shape))
    if path[0] == "stem_norm":
        layer = "conv1"
    else:
        _, stage, block, part, *rest = path
        # Keras counts stages from 2 and the shortcut as layer 0 of its block.
        number = 0 if part.startswith("shortcut") else rest[0] + 1
        layer = f"conv{stage + 2}_block{block + 1}_{number}"
        if path[-1] == "kernel":
            return keras_source(f"{layer}_conv", path, shape)
    source = keras_source(f"{layer}_bn", path, shape, norm=True)
    if path[-1] != "mean":
        return source
    # Keras' convolutions have biases; the normalisation after them takes them away with the mean.
    return TensorSource({**source.shapes, f"{layer}_conv/bias": shape}, np.subtract)


def _other_strides(module: ResNet, architecture: str | None) -> str | None:
    """Why a ResNet-50 cannot take weights that were trained with its strides elsewhere."""
    stated = "v1.5" if architecture == "resnet50" else None  # torchvision's and timm's name
    if re.search(r"(?<![a-z0-9])v1(?![.\w])", (architecture or "").lower()):
        stated = "v1"
    bottleneck = len(module.stages[0][0].convolutions) == 3
    if stated is None or not bottleneck or stated == module.variant:
        return None
    names = {"v1": "resnet50_v1", "v1.5": "resnet50"}
    return (
        f"weights of {architecture!r} have the strides of {names[stated]}, not of "
        f"{names[module.variant]}; choose the backbone {names[stated]}"
    )


ResNet.layouts = (
    CheckpointLayout(
        telling="layer1.0.conv1.weight",
        source=_resnet_torch,
        head=torch_head("fc"),
        unused=TORCH_UNUSED,
        adapt=_other_strides,
    ),
    CheckpointLayout(
        telling="conv1_conv/kernel",
        source=_resnet_keras,
        head=KERAS_HEAD,
        normalization=CAFFE,
        adapt=lambda module, _: _other_strides(module, "ResNet-50 v1 of Keras"),
    ),
)

resnet18 = partial(ResNet, depth=18)
resnet50 = partial(ResNet, depth=50)
# The epsilon of Keras, whose weights these are.
resnet50_v1 = partial(ResNet, depth=50, variant="v1", epsilon=1.001e-5)
