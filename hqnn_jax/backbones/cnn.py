"""The five-layer CNN of hqcnn2025."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from hqnn_jax.backbones import Backbone
from hqnn_jax.backbones.convolutions import ConvMethod, Padding
from hqnn_jax.backbones.layers import BatchNorm, Conv
from hqnn_jax.backbones.pooling import max_pool_2x2
from hqnn_jax.errors import ConfigurationError

# (output channels, padding, max-pool after it). Only the last convolution is padded: the paper
# names the padding there alone, which is also the reference network of MedMNIST's own example.
# Another max-pool follows the last one, in `FiveLayerCNN.pool`.
_LAYERS: tuple[tuple[int, Padding, bool], ...] = (
    (16, "VALID", False),
    (16, "VALID", True),
    (64, "VALID", False),
    (64, "VALID", False),
    (64, "SAME", False),
)
_MIN_IMAGE_SIZE = 16  # below it nothing is left after the last pooling


class FiveLayerCNN(Backbone):
    """Five 3x3 convolutions with batch normalisation and ReLU, flattened.

    Source: "Medical Image Classification using Hybrid Quantum-Classical Neural Network" (student
    thesis, Comilla University, 2025), section on the classical feature extractor. A 28x28 image
    gives 4 * 4 * 64 = 1024 features.

    Attributes:
        num_features: length of the feature vector of one image.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        image_size: int = 28,
        method: ConvMethod = "lax",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Build the network for square images of `image_size` pixels.

        `method` is how the convolutions are evaluated on CPU, see `convolutions.convolution`.

        Raises:
            ConfigurationError: the images are too small for the two poolings.
        """
        if image_size < _MIN_IMAGE_SIZE:
            raise ConfigurationError(
                f"five-layer CNN: image_size is {image_size}, expected at least "
                f"{_MIN_IMAGE_SIZE} pixels; enlarge the images"
            )
        self.convolutions: nnx.List[Conv] = nnx.List([])
        self.norms: nnx.List[BatchNorm] = nnx.List([])
        channels, size = in_channels, image_size
        for out_channels, padding, pooled in _LAYERS:
            self.convolutions.append(
                Conv(
                    channels,
                    out_channels,
                    3,
                    padding=padding,
                    method=method,
                    dtype=dtype,
                    rngs=rngs,
                )
            )
            self.norms.append(BatchNorm(out_channels, momentum=0.9, epsilon=1e-5))
            channels = out_channels
            size = (size if padding == "SAME" else size - 2) // (2 if pooled else 1)
        self.num_features = (size // 2) ** 2 * channels
        self.dtype = jnp.dtype(dtype)

    def feature_maps(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch map_height map_width 64"]:
        """Return the output of the fifth convolution after its ReLU, before the last pooling."""
        x = images.astype(self.dtype)
        for convolution, norm, (_, _, pooled) in zip(
            self.convolutions, self.norms, _LAYERS, strict=True
        ):
            x = norm(convolution(x))
            # ReLU is monotonic, so it may come after the maximum, on a quarter of the pixels.
            x = jax.nn.relu(max_pool_2x2(x) if pooled else x)
        return x

    def pool(
        self, maps: Float[Array, "batch map_height map_width 64"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch num_features"]:
        """Return the features: the last 2x2 maximum, flattened row by row."""
        features = max_pool_2x2(maps).reshape(maps.shape[0], -1)
        return features.astype(jnp.promote_types(self.dtype, jnp.float32))
