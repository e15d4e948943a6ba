"""What the publishers of ImageNet weights call the variables of our backbones.

One function per architecture and publisher, from a variable's path to its tensors, and `LAYOUTS`,
which has them all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from flax import nnx

from hqnn_jax.backbones.checkpoint_layout import (
    CAFFE,
    IMAGENET,
    NOTHING,
    TORCH_UNUSED,
    CheckpointLayout,
    Shape,
    Source,
    VariablePath,
    from_bgr,
    keras_source,
    torch_source,
)
from hqnn_jax.backbones.efficientnet import EfficientNetB0, block_positions
from hqnn_jax.backbones.resnet import ResNet
from hqnn_jax.backbones.vgg import POOLED_SIZE, VGG16

# ResNet-18 and ResNet-50


def _resnet_torch(path: VariablePath, shape: Shape) -> Source:
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


def _resnet_keras(path: VariablePath, shape: Shape) -> Source:
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
    return Source({**source.shapes, f"{layer}_conv/bias": shape}, np.subtract)


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


# VGG-16

# torchvision numbers convolutions, ReLUs and poolings through.
_VGG_FEATURES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))


def _vgg_torchvision(path: VariablePath, shape: Shape) -> Source:
    if path[0] == "stages":
        return torch_source(f"features.{_VGG_FEATURES[path[1]][path[2]]}", path, shape)
    if path[0] == "classifier":
        return torch_source("classifier.6", path, shape)
    source = torch_source(f"classifier.{3 * path[1]}", path, shape)
    if path != ("hidden", 0, "kernel"):
        return source

    def convert(tensor: np.ndarray) -> np.ndarray:
        return _from_maps(tensor.reshape(len(tensor), -1, POOLED_SIZE, POOLED_SIZE))

    return Source(source.shapes, convert)


def _vgg_timm(path: VariablePath, shape: Shape) -> Source:
    if path[0] == "stages":
        return _vgg_torchvision(path, shape)
    if path[0] == "classifier":
        return torch_source("head.fc", path, shape)
    source = torch_source(f"pre_logits.fc{path[1] + 1}", path, shape)
    if path[-1] == "bias":
        return source
    # timm has both as convolutions: over 7x7 maps, then over single pixels.
    (name,) = source.shapes
    side = POOLED_SIZE if path[1] == 0 else 1
    return Source({name: (shape[1], shape[0] // side**2, side, side)}, _from_maps)


def _from_maps(tensor: np.ndarray) -> np.ndarray:
    """From `out in height width` to `(height width in) out`: torch flattens channels first."""
    return tensor.transpose(2, 3, 1, 0).reshape(-1, len(tensor))


def _vgg_keras(path: VariablePath, shape: Shape) -> Source:
    if path[0] == "classifier":
        return keras_source("predictions", path, shape)
    if path[0] == "hidden":
        return keras_source(f"fc{path[1] + 1}", path, shape)
    source = keras_source(f"block{path[1] + 1}_conv{path[2] + 1}", path, shape)
    return from_bgr(source) if path == ("stages", 0, 0, "kernel") else source


# EfficientNet-B0

_EFFICIENTNET_TIMM = {
    "stem_conv": "conv_stem",
    "stem_norm": "bn1",
    "head_conv": "conv_head",
    "head_norm": "bn2",
    "classifier": "classifier",
}
_EFFICIENTNET_TORCHVISION = {
    "stem_conv": "features.0.0",
    "stem_norm": "features.0.1",
    "head_conv": "features.8.0",
    "head_norm": "features.8.1",
    "classifier": "classifier.1",
}
_EFFICIENTNET_KERAS = {
    "stem_conv": "stem_conv",
    "stem_norm": "stem_bn",
    "head_conv": "top_conv",
    "head_norm": "top_bn",
    "classifier": "predictions",
}
# timm numbers the layers of a block in order, so the names depend on whether it expands.
_TIMM_EXPANDING_BLOCK = {
    "expand_conv": "conv_pw",
    "expand_norm": "bn1",
    "depthwise_conv": "conv_dw",
    "depthwise_norm": "bn2",
    "project_conv": "conv_pwl",
    "project_norm": "bn3",
}
_TIMM_PLAIN_BLOCK = {
    "depthwise_conv": "conv_dw",
    "depthwise_norm": "bn1",
    "project_conv": "conv_pw",
    "project_norm": "bn2",
}
_TIMM_SQUEEZE_EXCITATION = {"reduce": "se.conv_reduce", "expand": "se.conv_expand"}
_TORCHVISION_EXPANDING_BLOCK = {
    "expand_conv": "0.0",
    "expand_norm": "0.1",
    "depthwise_conv": "1.0",
    "depthwise_norm": "1.1",
    "squeeze_excitation": "2",
    "project_conv": "3.0",
    "project_norm": "3.1",
}
_TORCHVISION_PLAIN_BLOCK = {
    "depthwise_conv": "0.0",
    "depthwise_norm": "0.1",
    "squeeze_excitation": "1",
    "project_conv": "2.0",
    "project_norm": "2.1",
}
_TORCHVISION_SQUEEZE_EXCITATION = {"reduce": "fc1", "expand": "fc2"}
_KERAS_BLOCK = {
    "expand_conv": "expand_conv",
    "expand_norm": "expand_bn",
    "depthwise_conv": "dwconv",
    "depthwise_norm": "bn",
    "project_conv": "project_conv",
    "project_norm": "project_bn",
}
_KERAS_SQUEEZE_EXCITATION = {"reduce": "se_reduce", "expand": "se_expand"}


def _efficientnet_timm(path: VariablePath, shape: Shape) -> Source:
    if path[0] != "blocks":
        return torch_source(_EFFICIENTNET_TIMM[path[0]], path, shape)
    stage, index = block_positions()[path[1]]
    if path[2] == "squeeze_excitation":
        layer = _TIMM_SQUEEZE_EXCITATION[path[3]]
    else:
        layer = (_TIMM_PLAIN_BLOCK if stage == 0 else _TIMM_EXPANDING_BLOCK)[path[2]]
    return torch_source(f"blocks.{stage}.{index}.{layer}", path, shape)


def _efficientnet_torchvision(path: VariablePath, shape: Shape) -> Source:
    if path[0] != "blocks":
        return torch_source(_EFFICIENTNET_TORCHVISION[path[0]], path, shape)
    stage, index = block_positions()[path[1]]
    layer = (_TORCHVISION_PLAIN_BLOCK if stage == 0 else _TORCHVISION_EXPANDING_BLOCK)[path[2]]
    if path[2] == "squeeze_excitation":
        layer = f"{layer}.{_TORCHVISION_SQUEEZE_EXCITATION[path[3]]}"
    return torch_source(f"features.{stage + 1}.{index}.block.{layer}", path, shape)


def _efficientnet_keras(path: VariablePath, shape: Shape) -> Source:
    if path[0] != "blocks":
        return keras_source(
            _EFFICIENTNET_KERAS[path[0]], path, shape, norm=path[0].endswith("norm")
        )
    stage, index = block_positions()[path[1]]
    block = f"block{stage + 1}{chr(ord('a') + index)}"
    if path[2] == "squeeze_excitation":
        layer = _KERAS_SQUEEZE_EXCITATION[path[3]]
    else:
        layer = _KERAS_BLOCK[path[2]]
    if path[2:] == ("depthwise_conv", "kernel"):
        height, width, _, features = shape
        return Source(
            {f"{block}_{layer}/depthwise_kernel": (height, width, features, 1)},
            lambda tensor: tensor.swapaxes(2, 3),
        )
    return keras_source(f"{block}_{layer}", path, shape, norm=path[2].endswith("norm"))


def _timm_variant(module: EfficientNetB0, architecture: str | None) -> None:
    """Take over the arithmetic; timm's two families share their tensor names."""
    torch = architecture == "efficientnet_b0"
    module.set_variant("torch" if torch else "tensorflow")


def _torch_head(layer: str) -> frozenset[str]:
    return frozenset({f"{layer}.weight", f"{layer}.bias"})


_KERAS_HEAD = frozenset({"predictions/kernel", "predictions/bias"})
# Keras' EfficientNet normalises images itself.
_KERAS_NORMALIZATION = re.compile(r"normalization\w*/.*")

LAYOUTS: Mapping[type[nnx.Module], tuple[CheckpointLayout, ...]] = {
    ResNet: (
        CheckpointLayout(
            telling="layer1.0.conv1.weight",
            source=_resnet_torch,
            head=_torch_head("fc"),
            unused=TORCH_UNUSED,
            normalization=IMAGENET,
            adapt=_other_strides,
        ),
        CheckpointLayout(
            telling="conv1_conv/kernel",
            source=_resnet_keras,
            head=_KERAS_HEAD,
            unused=NOTHING,
            normalization=CAFFE,
            adapt=lambda module, _: _other_strides(module, "ResNet-50 v1 of Keras"),
        ),
    ),
    VGG16: (
        CheckpointLayout(
            telling="classifier.0.weight",
            source=_vgg_torchvision,
            head=_torch_head("classifier.6"),
            unused=NOTHING,
            normalization=IMAGENET,
        ),
        CheckpointLayout(
            telling="pre_logits.fc1.weight",
            source=_vgg_timm,
            head=_torch_head("head.fc"),
            unused=NOTHING,
            normalization=IMAGENET,
        ),
        CheckpointLayout(
            telling="block1_conv1/kernel",
            source=_vgg_keras,
            head=_KERAS_HEAD,
            unused=NOTHING,
            normalization=CAFFE,
        ),
    ),
    EfficientNetB0: (
        CheckpointLayout(
            telling="conv_stem.weight",
            source=_efficientnet_timm,
            head=_torch_head("classifier"),
            unused=TORCH_UNUSED,
            normalization=IMAGENET,
            adapt=_timm_variant,
        ),
        CheckpointLayout(
            telling="features.1.0.block.0.0.weight",
            source=_efficientnet_torchvision,
            head=_torch_head("classifier.1"),
            unused=TORCH_UNUSED,
            normalization=IMAGENET,
            adapt=lambda module, _: module.set_variant("torch"),
        ),
        CheckpointLayout(
            telling="stem_conv/kernel",
            source=_efficientnet_keras,
            head=_KERAS_HEAD,
            unused=_KERAS_NORMALIZATION,
            normalization=IMAGENET,
            adapt=lambda module, _: module.set_variant("tensorflow"),
        ),
    ),
}
"""The layouts of each architecture; the first is taken to list what an unknown file lacks."""
