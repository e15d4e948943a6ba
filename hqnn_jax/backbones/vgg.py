"""VGG-16 without batch normalisation (Simonyan and Zisserman 2015, arXiv 1409.1556, column D)."""

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
    CheckpointLayout,
    Shape,
    TensorSource,
    VariablePath,
    from_bgr,
    keras_source,
    torch_head,
    torch_source,
)
from hqnn_jax.backbones.layers import Conv
from hqnn_jax.backbones.pooling import adaptive_average_pool, max_pool_2x2
from hqnn_jax.errors import ConfigurationError

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of the 3x3 convolutions; a 2x2 max-pool ends each stage."""

POOLED_SIZE = 7
"""Side in pixels of the maps that the fully connected layers see."""

_HIDDEN_FEATURES = 4096
_DROPOUT = 0.5
_MIN_IMAGE_SIZE = 2 ** len(STAGES)

# As torchvision: normal values with variance 2 / fan_out, and with deviation 0.01.
_CONV_INIT = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
_LINEAR_INIT = nnx.initializers.normal(0.01)


class VGG16(Backbone):
    """Thirteen 3x3 convolutions and two fully connected layers, for images from 32 pixels on.

    As in torchvision the maps are averaged or repeated to 7x7 before the fully connected layers,
    which follow ReLU and dropout 0.5 each. Without classifier 134,260,544 parameters.

    Attributes:
        num_features: 4096, the outputs of the second fully connected layer.
        classifier: linear layer to class logits, or None.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        num_classes: int | None = None,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Build the network; with `num_classes` a call returns logits instead of features."""
        self.stages: nnx.List[nnx.List[Conv]] = nnx.List([])
        features = in_channels
        for widths in STAGES:
            convolutions: nnx.List[Conv] = nnx.List([])
            for width in widths:
                convolutions.append(
                    Conv(
                        features,
                        width,
                        3,
                        padding=1,
                        use_bias=True,
                        kernel_init=_CONV_INIT,
                        dtype=dtype,
                        rngs=rngs,
                    )
                )
                features = width
            self.stages.append(convolutions)
        self.hidden = nnx.List(
            nnx.Linear(inputs, _HIDDEN_FEATURES, kernel_init=_LINEAR_INIT, dtype=dtype, rngs=rngs)
            for inputs in (features * POOLED_SIZE**2, _HIDDEN_FEATURES)
        )
        self.dropout = nnx.Dropout(_DROPOUT)
        self.num_features = _HIDDEN_FEATURES
        self.classifier = (
            nnx.data(None)
            if num_classes is None
            else nnx.Linear(_HIDDEN_FEATURES, num_classes, kernel_init=_LINEAR_INIT, rngs=rngs)
        )
        self.dtype = jnp.dtype(dtype)

    def feature_maps(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch map_height map_width map_channels"]:
        """Return the output of the last convolution after its ReLU, before the last max-pool.

        Raises:
            ConfigurationError: the images are smaller than 32 pixels, which five poolings use up.
        """
        if min(images.shape[1:3]) < _MIN_IMAGE_SIZE:
            raise ConfigurationError(
                f"VGG-16: images of {images.shape[1]}x{images.shape[2]} pixels vanish in five "
                f"poolings; set image_size to at least {_MIN_IMAGE_SIZE}"
            )
        x = images.astype(self.dtype)
        for number, convolutions in enumerate(self.stages):
            x = max_pool_2x2(x) if number > 0 else x
            for convolution in convolutions:
                x = jax.nn.relu(convolution(x))
        return x

    def pool(
        self,
        maps: Float[Array, "batch map_height map_width map_channels"],
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "batch num_features"]:
        """Return the features: last max-pool, 7x7 means, two fully connected layers."""
        x = adaptive_average_pool(max_pool_2x2(maps), POOLED_SIZE).reshape(maps.shape[0], -1)
        for linear in self.hidden:
            x = self.dropout(jax.nn.relu(linear(x)), rngs=rngs)
        return x.astype(jnp.promote_types(self.dtype, jnp.float32))


# What the publishers of ImageNet weights call the variables.


# torchvision numbers convolutions, ReLUs and poolings through.
_VGG_FEATURES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))


def _vgg_torchvision(path: VariablePath, shape: Shape) -> TensorSource:
    if path[0] == "stages":
        return torch_source(f"features.{_VGG_FEATURES[path[1]][path[2]]}", path, shape)
    if path[0] == "classifier":
        return torch_source("classifier.6", path, shape)
    source = torch_source(f"classifier.{3 * path[1]}", path, shape)
    if path != ("hidden", 0, "kernel"):
        return source

    def convert(tensor: np.ndarray) -> np.ndarray:
        return _from_maps(tensor.reshape(len(tensor), -1, POOLED_SIZE, POOLED_SIZE))

    return TensorSource(source.shapes, convert)


def _vgg_timm(path: VariablePath, shape: Shape) -> TensorSource:
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
    return TensorSource({name: (shape[1], shape[0] // side**2, side, side)}, _from_maps)


def _from_maps(tensor: np.ndarray) -> np.ndarray:
    """From `out in height width` to `(height width in) out`: torch flattens channels first."""
    return tensor.transpose(2, 3, 1, 0).reshape(-1, len(tensor))


def _vgg_keras(path: VariablePath, shape: Shape) -> TensorSource:
    if path[0] == "classifier":
        return keras_source("predictions", path, shape)
    if path[0] == "hidden":
        return keras_source(f"fc{path[1] + 1}", path, shape)
    source = keras_source(f"block{path[1] + 1}_conv{path[2] + 1}", path, shape)
    return from_bgr(source) if path == ("stages", 0, 0, "kernel") else source


VGG16.layouts = (
    CheckpointLayout(
        telling="classifier.0.weight",
        source=_vgg_torchvision,
        head=torch_head("classifier.6"),
    ),
    CheckpointLayout(
        telling="pre_logits.fc1.weight",
        source=_vgg_timm,
        head=torch_head("head.fc"),
    ),
    CheckpointLayout(
        telling="block1_conv1/kernel",
        source=_vgg_keras,
        head=KERAS_HEAD,
        normalization=CAFFE,
    ),
)
