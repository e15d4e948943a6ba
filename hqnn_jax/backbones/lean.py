"""The two compact CNNs of lean2025: the front end of its hybrid, and its plain CNN.

Hasan et al., "A Precise Classification of Medical Images with a Cost-Efficient Quantum-Classical
Hybrid Neural Network". The paper gives the parameter counts of the whole models (about 0.04 M and
0.53 M) and not the layers. Reading: 3x3 convolutions with batch normalisation and ReLU whose widths
double while 2x2 maxima halve the resolution, then the flattened maps in the hybrid and one dense
layer in the plain CNN, which holds nearly all of its parameters.
"""

import itertools
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from hqnn_jax.backbones import Backbone
from hqnn_jax.backbones.convolutions import ConvMethod
from hqnn_jax.backbones.layers import BatchNorm, Conv
from hqnn_jax.backbones.pooling import max_pool_2x2
from hqnn_jax.errors import ConfigurationError

_NUM_POOLINGS = 3  # 2x2 maxima, one after each of the first three convolutions in both networks


class _LeanConvolutions(Backbone):
    """3x3 convolutions with batch normalisation and ReLU; what both networks share.

    Attributes:
        widths: output channels of the convolutions.
        num_features: length of the feature vector: here all values of the maps after the last
            pooling.
    """

    widths: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        *,
        in_channels: int = 1,
        image_size: int = 64,
        method: ConvMethod = "lax",
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        """Build the network for square images; `method` is how convolutions run on CPU.

        Raises:
            ConfigurationError: the images are too small for the three poolings.
        """
        if image_size < 2**_NUM_POOLINGS:
            raise ConfigurationError(
                f"lean2025 CNN: image_size is {image_size}, expected at least {2**_NUM_POOLINGS} "
                "pixels; enlarge the images"
            )
        self.convolutions: nnx.List[Conv] = nnx.List([])
        self.norms: nnx.List[BatchNorm] = nnx.List([])
        for before, after in itertools.pairwise((in_channels, *self.widths)):
            self.convolutions.append(Conv(before, after, 3, method=method, dtype=dtype, rngs=rngs))
            self.norms.append(BatchNorm(after, momentum=0.9, epsilon=1e-5))
        self.num_features = (image_size // 2**_NUM_POOLINGS) ** 2 * self.widths[-1]
        self.dtype = jnp.dtype(dtype)

    def feature_maps(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch map_height map_width map_channels"]:
        """Return the output of the last convolution after its ReLU; the others end in a pooling."""
        x = images.astype(self.dtype)
        last = len(self.convolutions) - 1
        for index, convolution in enumerate(self.convolutions):
            x = self.norms[index](convolution(x))
            # ReLU is monotonic, so it may come after the maximum, on a quarter of the pixels.
            x = jax.nn.relu(max_pool_2x2(x) if index < last else x)
        return x


class LeanHybridFrontEnd(_LeanConvolutions):
    """Convolutional front end of the hybrid: widths 8, 16, 32, 64, flattened.

    A 64x64 image gives 8 * 8 * 64 = 4096 features. With one grey channel, a projection to the 4
    angles (batch-normalised), the 4-qubit circuit of 4 layers and 6 classes the model has 40,974
    parameters.

    Attributes:
        num_features: length of the feature vector of one image.
    """

    widths = (8, 16, 32, 64)

    def pool(
        self, maps: Float[Array, "batch map_height map_width 64"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch num_features"]:
        """Return the features: the maps flattened row by row."""
        return maps.reshape(maps.shape[0], -1).astype(jnp.promote_types(self.dtype, jnp.float32))


class LeanCNN(_LeanConvolutions):
    """The plain CNN: widths 8, 16, 32, then one dense layer of 256 units with ReLU.

    With one grey 64x64 channel and 6 classes the model has 532,030 parameters.

    Attributes:
        num_features: 256.
    """

    widths = (8, 16, 32)

    def __init__(self, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs, **options: Any):
        """Build the network; `options` as of the front end of the hybrid."""
        super().__init__(dtype=dtype, rngs=rngs, **options)
        self.dense = nnx.Linear(self.num_features, 256, dtype=dtype, rngs=rngs)
        self.num_features = 256

    def pool(
        self, maps: Float[Array, "batch map_height map_width 32"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch 256"]:
        """Return the features: last max-pool, flattened row by row, dense layer, ReLU."""
        x = self.dense(max_pool_2x2(maps).reshape(maps.shape[0], -1))
        return jax.nn.relu(x).astype(jnp.promote_types(self.dtype, jnp.float32))
