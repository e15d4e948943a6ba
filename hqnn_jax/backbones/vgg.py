"""VGG-16 without batch normalisation (Simonyan and Zisserman 2015, arXiv 1409.1556, column D)."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from hqnn_jax.backbones import Backbone
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
