"""EfficientNet-B0 (Tan and Le 2019, arXiv 1905.11946, table 1)."""

import re
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from hqnn_jax.backbones import Backbone
from hqnn_jax.backbones.checkpoint_layout import (
    KERAS_HEAD,
    TORCH_UNUSED,
    CheckpointLayout,
    Shape,
    TensorSource,
    VariablePath,
    keras_source,
    torch_head,
    torch_source,
)
from hqnn_jax.backbones.layers import BatchNorm, Conv, DepthwiseConv

EfficientNetVariant = Literal["tensorflow", "torch"]
"""Whose arithmetic: `tensorflow` (the official code, Keras, timm's `tf_efficientnet_b0`) pads as
TensorFlow's `SAME` and adds 1e-3 to a variance; `torch` (torchvision, timm's `efficientnet_b0`)
pads equally on all sides and adds 1e-5."""


class StageShape(NamedTuple):
    """Consecutive blocks of one shape; only the first one has the stride."""

    repeats: int
    expansion: int
    out_features: int
    kernel_size: int
    stride: int


# Stages 2 to 8 of table 1; strides and expansions from the MBConv names there.
_STAGES = (
    StageShape(repeats=1, expansion=1, out_features=16, kernel_size=3, stride=1),
    StageShape(repeats=2, expansion=6, out_features=24, kernel_size=3, stride=2),
    StageShape(repeats=2, expansion=6, out_features=40, kernel_size=5, stride=2),
    StageShape(repeats=3, expansion=6, out_features=80, kernel_size=3, stride=2),
    StageShape(repeats=3, expansion=6, out_features=112, kernel_size=5, stride=1),
    StageShape(repeats=4, expansion=6, out_features=192, kernel_size=5, stride=2),
    StageShape(repeats=1, expansion=6, out_features=320, kernel_size=3, stride=1),
)
_STEM_FEATURES = 32
_NUM_FEATURES = 1280
_SQUEEZE_RATIO = 4

# The official code draws normal values with variance 2 / fan_out, where fan_out of a depthwise
# kernel is its area; for that kernel's shape the area is what Flax calls fan_in.
_CONV_INIT = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
_DEPTHWISE_INIT = nnx.initializers.variance_scaling(2.0, "fan_in", "normal")


def _batch_norm(features: int) -> BatchNorm:
    return BatchNorm(features, momentum=0.99, epsilon=1e-3)


class SqueezeExcitation(nnx.Module):
    """Channel attention from the image's mean (Hu et al. 2018, arXiv 1709.01507)."""

    def __init__(self, features: int, reduced_features: int, *, dtype: DTypeLike, rngs: nnx.Rngs):
        """Squeeze `features` channels to `reduced_features` and back."""
        self.reduce = Conv(features, reduced_features, 1, use_bias=True, dtype=dtype, rngs=rngs)
        self.expand = Conv(reduced_features, features, 1, use_bias=True, dtype=dtype, rngs=rngs)

    def __call__(
        self, x: Float[Array, "batch height width features"]
    ) -> Float[Array, "batch height width features"]:
        """Scale each channel by its gate in (0, 1)."""
        gate = self.expand(jax.nn.swish(self.reduce(x.mean((1, 2), keepdims=True))))
        return x * jax.nn.sigmoid(gate)


class MBConv(nnx.Module):
    """Inverted residual block: expand, depthwise, squeeze-and-excite, project.

    The expansion is left out where `expansion` is 1; the input is added where the block keeps its
    shape.
    """

    def __init__(
        self, in_features: int, stage: StageShape, stride: int, *, dtype: DTypeLike, rngs: nnx.Rngs
    ):
        """Build one block of `stage` with its own `stride`."""
        features = in_features * stage.expansion
        self.expand_conv: Conv | None = nnx.data(None)
        self.expand_norm: BatchNorm | None = nnx.data(None)
        if stage.expansion != 1:
            self.expand_conv = Conv(
                in_features, features, 1, kernel_init=_CONV_INIT, dtype=dtype, rngs=rngs
            )
            self.expand_norm = _batch_norm(features)
        self.depthwise_conv = DepthwiseConv(
            features,
            stage.kernel_size,
            stride=stride,
            kernel_init=_DEPTHWISE_INIT,
            dtype=dtype,
            rngs=rngs,
        )
        self.depthwise_norm = _batch_norm(features)
        self.squeeze_excitation = SqueezeExcitation(
            features, max(1, in_features // _SQUEEZE_RATIO), dtype=dtype, rngs=rngs
        )
        self.project_conv = Conv(
            features, stage.out_features, 1, kernel_init=_CONV_INIT, dtype=dtype, rngs=rngs
        )
        self.project_norm = _batch_norm(stage.out_features)
        self.has_residual = stride == 1 and in_features == stage.out_features

    def __call__(
        self, x: Float[Array, "batch height width in_features"]
    ) -> Float[Array, "batch out_height out_width out_features"]:
        """Apply the block."""
        hidden = x
        if self.expand_conv is not None and self.expand_norm is not None:
            hidden = jax.nn.swish(self.expand_norm(self.expand_conv(hidden)))
        hidden = jax.nn.swish(self.depthwise_norm(self.depthwise_conv(hidden)))
        hidden = self.project_norm(self.project_conv(self.squeeze_excitation(hidden)))
        return x + hidden if self.has_residual else hidden


class EfficientNetB0(Backbone):
    """EfficientNet-B0: 1280 features an image, 4,007,548 parameters without the classifier.

    Any image size works; the published one is 224 pixels.

    Attributes:
        num_features: 1280.
        blocks: the blocks, stage by stage.
        classifier: linear layer to class logits, or None.
        variant: see `EfficientNetVariant`; `load_pretrained` sets that of the weights.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int | None = None,
        variant: EfficientNetVariant = "tensorflow",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Build the network; with `num_classes` a call returns logits instead of features."""
        self.num_features = _NUM_FEATURES
        self.stem_conv = Conv(
            in_channels,
            _STEM_FEATURES,
            3,
            stride=2,
            kernel_init=_CONV_INIT,
            dtype=dtype,
            rngs=rngs,
        )
        self.stem_norm = _batch_norm(_STEM_FEATURES)
        self.blocks: nnx.List[MBConv] = nnx.List([])
        features = _STEM_FEATURES
        for stage in _STAGES:
            for index in range(stage.repeats):
                stride = stage.stride if index == 0 else 1
                self.blocks.append(MBConv(features, stage, stride, dtype=dtype, rngs=rngs))
                features = stage.out_features
        self.head_conv = Conv(
            features, _NUM_FEATURES, 1, kernel_init=_CONV_INIT, dtype=dtype, rngs=rngs
        )
        self.head_norm = _batch_norm(_NUM_FEATURES)
        self.classifier = (
            nnx.data(None)
            if num_classes is None
            else nnx.Linear(_NUM_FEATURES, num_classes, rngs=rngs)
        )
        self.dtype = jnp.dtype(dtype)
        self.set_variant(variant)

    def set_variant(self, variant: EfficientNetVariant) -> None:
        """Pad and normalise as the framework the weights come from; changes no variable."""
        self.variant = variant
        for _, layer in nnx.iter_graph(self):
            if isinstance(layer, Conv | DepthwiseConv):
                size = layer.kernel.shape[0]
                layer.padding = "SAME" if variant == "tensorflow" else size // 2
            elif isinstance(layer, BatchNorm):
                layer.epsilon = 1e-3 if variant == "tensorflow" else 1e-5

    def feature_maps(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch map_height map_width 1280"]:
        """Return the output of the last 1x1 convolution after its activation."""
        x = jax.nn.swish(self.stem_norm(self.stem_conv(images.astype(self.dtype))))
        for block in self.blocks:
            x = block(x)
        return jax.nn.swish(self.head_norm(self.head_conv(x)))

    def pool(
        self, maps: Float[Array, "batch map_height map_width 1280"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch 1280"]:
        """Return the features: the mean of each map."""
        return maps.mean((1, 2), dtype=jnp.promote_types(self.dtype, jnp.float32))


# What the publishers of ImageNet weights call the layers, in a block without the block's own name.
# timm and torchvision number the layers of a block, of which a plain one, not expanding, has fewer.


_TIMM = {
    "stem_conv": "conv_stem",
    "stem_norm": "bn1",
    "expand_conv": "conv_pw",
    "expand_norm": "bn1",
    "depthwise_conv": "conv_dw",
    "depthwise_norm": "bn2",
    "reduce": "se.conv_reduce",
    "expand": "se.conv_expand",
    "project_conv": "conv_pwl",
    "project_norm": "bn3",
    "head_conv": "conv_head",
    "head_norm": "bn2",
    "classifier": "classifier",
}
_TIMM_PLAIN = _TIMM | {"depthwise_norm": "bn1", "project_conv": "conv_pw", "project_norm": "bn2"}
_TORCHVISION = {
    "stem_conv": "features.0.0",
    "stem_norm": "features.0.1",
    "expand_conv": "0.0",
    "expand_norm": "0.1",
    "depthwise_conv": "1.0",
    "depthwise_norm": "1.1",
    "reduce": "2.fc1",
    "expand": "2.fc2",
    "project_conv": "3.0",
    "project_norm": "3.1",
    "head_conv": "features.8.0",
    "head_norm": "features.8.1",
    "classifier": "classifier.1",
}
_TORCHVISION_PLAIN = {
    "depthwise_conv": "0.0",
    "depthwise_norm": "0.1",
    "reduce": "1.fc1",
    "expand": "1.fc2",
    "project_conv": "2.0",
    "project_norm": "2.1",
}
_KERAS = {
    "stem_conv": "stem_conv",
    "stem_norm": "stem_bn",
    "expand_conv": "expand_conv",
    "expand_norm": "expand_bn",
    "depthwise_conv": "dwconv",
    "depthwise_norm": "bn",
    "reduce": "se_reduce",
    "expand": "se_expand",
    "project_conv": "project_conv",
    "project_norm": "project_bn",
    "head_conv": "top_conv",
    "head_norm": "top_bn",
    "classifier": "predictions",
}


def _place(path: VariablePath) -> tuple[tuple[int, int] | None, str]:
    """Return in which block a layer is, (stage, index within it) from zero, and its own name."""
    if path[0] != "blocks":
        return None, path[0]
    blocks = [(stage, k) for stage, shape in enumerate(_STAGES) for k in range(shape.repeats)]
    return blocks[path[1]], path[3] if path[2] == "squeeze_excitation" else path[2]


def _efficientnet_timm(path: VariablePath, shape: Shape) -> TensorSource:
    block, layer = _place(path)
    if block is None:
        return torch_source(_TIMM[layer], path, shape)
    name = (_TIMM if _STAGES[block[0]].expansion > 1 else _TIMM_PLAIN)[layer]
    return torch_source(f"blocks.{block[0]}.{block[1]}.{name}", path, shape)


def _efficientnet_torchvision(path: VariablePath, shape: Shape) -> TensorSource:
    block, layer = _place(path)
    if block is None:
        return torch_source(_TORCHVISION[layer], path, shape)
    name = (_TORCHVISION if _STAGES[block[0]].expansion > 1 else _TORCHVISION_PLAIN)[layer]
    return torch_source(f"features.{block[0] + 1}.{block[1]}.block.{name}", path, shape)


def _efficientnet_keras(path: VariablePath, shape: Shape) -> TensorSource:
    block, layer = _place(path)
    name = _KERAS[layer]
    if block is not None:
        name = f"block{block[0] + 1}{chr(ord('a') + block[1])}_{name}"
    if path[2:] == ("depthwise_conv", "kernel"):
        height, width, _, features = shape
        return TensorSource(
            {f"{name}/depthwise_kernel": (height, width, features, 1)},
            lambda tensor: tensor.swapaxes(2, 3),
        )
    return keras_source(name, path, shape, norm=layer.endswith("norm"))


def _timm_variant(module: EfficientNetB0, architecture: str | None) -> None:
    """Take over the arithmetic; timm's two families share their tensor names."""
    torch = architecture == "efficientnet_b0"
    module.set_variant("torch" if torch else "tensorflow")


# Keras' EfficientNet normalises images itself.
_KERAS_NORMALIZATION = re.compile(r"normalization\w*/.*")

EfficientNetB0.layouts = (
    CheckpointLayout(
        telling="conv_stem.weight",
        source=_efficientnet_timm,
        head=torch_head("classifier"),
        unused=TORCH_UNUSED,
        adapt=_timm_variant,
    ),
    CheckpointLayout(
        telling="features.1.0.block.0.0.weight",
        source=_efficientnet_torchvision,
        head=torch_head("classifier.1"),
        unused=TORCH_UNUSED,
        adapt=lambda module, _: module.set_variant("torch"),
    ),
    CheckpointLayout(
        telling="stem_conv/kernel",
        source=_efficientnet_keras,
        head=KERAS_HEAD,
        unused=_KERAS_NORMALIZATION,
        adapt=lambda module, _: module.set_variant("tensorflow"),
    ),
)
