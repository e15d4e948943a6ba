"""From the configuration to a backbone with its weights, and to how its images are normalised."""

from __future__ import annotations

import inspect
import pkgutil

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Key

from hqnn_jax.backbones import Backbone
from hqnn_jax.backbones.checkpoint_layout import IMAGENET, ImageNormalization
from hqnn_jax.backbones.pretrained import (
    load_pretrained,
    pretrained_normalization,
    pretrained_source,
)
from hqnn_jax.config import BackboneConfig
from hqnn_jax.config.names import BACKBONES
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.own_parts import blamed_on, import_own, is_own


def build_backbone(config: BackboneConfig, *, in_channels: int, key: Key[Array, ""]) -> Backbone:
    """Return the configured backbone with random or pretrained weights.

    `compute_dtype: auto` is bfloat16 on GPU and TPU and float32 on CPU.
    """
    if config.pretrained is None:
        return _new_backbone_compiled(config, in_channels, _dtype(config), key)
    # Drawing values that are replaced at once would compile for 15 seconds.
    backbone = abstract_backbone(config, in_channels=in_channels)
    load_pretrained(backbone, pretrained_source(config.name, config.pretrained))
    return backbone


def abstract_backbone(config: BackboneConfig, *, in_channels: int) -> Backbone:
    """Return the configured backbone with shapes and dtypes in the place of values."""
    dtype, key = _dtype(config), jax.random.key(0)
    abstract: Backbone = nnx.eval_shape(lambda: _new_backbone(config, in_channels, dtype, key))
    return abstract


def _dtype(config: BackboneConfig) -> str:
    if config.compute_dtype != "auto":
        return config.compute_dtype
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


_KEY, _OWN = "model.backbone.name", "a class derived from hqnn_jax.backbones.Backbone"


def check_own_backbone(config: BackboneConfig, in_channels: int) -> None:
    """Check that a backbone of the user's own makes features of images, without computing any.

    Args:
        config: of any backbone; those of the library are known to.
        in_channels: number of channels of the images.

    Raises:
        ConfigurationError: if it cannot be imported or built, or returns something else.
    """
    if not is_own(config.name):
        return
    size = config.image_size
    images = jax.ShapeDtypeStruct((2, size, size, in_channels), jnp.float32)

    def features(images: Array) -> Array:
        backbone = _new_backbone(config, in_channels, "float32", jax.random.key(0))
        if not isinstance(backbone, Backbone):
            raise ConfigurationError(
                f"{_KEY}: {config.name!r} made {type(backbone).__name__}; expected {_OWN}"
            )
        backbone.eval()
        found = backbone(images)
        if found.shape != (2, backbone.num_features):
            raise ConfigurationError(
                f"{_KEY}: {config.name!r} returned shape {found.shape} for images of shape "
                f"{images.shape}; expected (2, {backbone.num_features}), its num_features of each"
            )
        return found

    with blamed_on(_KEY, config.name, _OWN):
        nnx.eval_shape(features, images)


def image_normalization(config: BackboneConfig) -> ImageNormalization:
    """Return the mean and deviation a backbone's images are normalised with.

    `imagenet` is what the weights that are loaded were trained with, and the mean and deviation of
    ImageNet where none are.

    Raises:
        PretrainedWeightsError: if the weights cannot be had or read.
    """
    if config.normalisation == "centred":
        return ImageNormalization((0.5,), (0.5,))
    if config.pretrained is None:
        return IMAGENET
    return pretrained_normalization(pretrained_source(config.name, config.pretrained))


def _new_backbone(
    config: BackboneConfig, in_channels: int, dtype: str, key: Key[Array, ""]
) -> Backbone:
    if is_own(config.name):
        factory = import_own(_KEY, config.name, _OWN)
        # Flax' metaclass hides the arguments of a class.
        called = factory if inspect.isroutine(factory) else factory.__init__
        sized = "image_size" in inspect.signature(called).parameters
    else:
        record = BACKBONES[config.name]
        factory, sized = pkgutil.resolve_name(record.factory), record.one_image_size
    size = {"image_size": config.image_size} if sized else {}
    backbone: Backbone = factory(
        in_channels=in_channels, dtype=dtype, rngs=nnx.Rngs(params=key), **size
    )
    return backbone


# One program for all initial values, compiled once for all seeds.
_new_backbone_compiled = nnx.jit(_new_backbone, static_argnums=(0, 1, 2))
