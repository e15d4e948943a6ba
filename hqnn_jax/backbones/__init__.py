"""Image backbones in Flax NNX: normalised images in, one feature vector per image out."""

from __future__ import annotations

import abc
from typing import ClassVar

from flax import nnx
from jaxtyping import Array, Float

from hqnn_jax.backbones.checkpoint_layout import CheckpointLayout


class Backbone(nnx.Module):
    """What every backbone has; constructors are keyword-only with `in_channels`, `dtype`, `rngs`.

    Those that flatten their maps take an `image_size`, too. A backbone is found by its line in
    `hqnn_jax.config.names.BACKBONES`.

    A call is `pool(feature_maps(images))`, so that what explains a prediction (Grad-CAM) can
    stop between the two; where the network has a `classifier`, a call goes on to its logits.

    Attributes:
        layouts: of the files of its pretrained weights, none if there are no such files. The first
            is taken to list what an unknown file lacks.
        num_features: length of the feature vector of one image.
        classifier: linear layer from the features to logits, or None.
    """

    layouts: ClassVar[tuple[CheckpointLayout, ...]] = ()
    num_features: int
    classifier: nnx.Linear | None = None

    @abc.abstractmethod
    def feature_maps(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch map_height map_width map_channels"]:
        """Return the output of the last convolutional stage, in the backbone's dtype.

        After its activation and before any pooling that ends it.
        """

    @abc.abstractmethod
    def pool(
        self,
        maps: Float[Array, "batch map_height map_width map_channels"],
        rngs: nnx.Rngs | None = None,
    ) -> Float[Array, "batch num_features"]:
        """Return the features of feature maps, float32 at least.

        `rngs.dropout` is needed in training mode where the backbone has dropout (VGG-16).
        """

    def __call__(
        self, images: Float[Array, "batch height width channels"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch num_outputs"]:
        """Return the features of normalised images, or logits where there is a classifier.

        Pretrained weights expect the normalisation that `load_pretrained` returns.
        """
        features = self.pool(self.feature_maps(images), rngs)
        return features if self.classifier is None else self.classifier(features)
