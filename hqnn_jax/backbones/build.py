"""From the configuration to a backbone with its weights, and to how its images are normalised."""

from __future__ import annotations

import pkgutil

import jax
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
    record = BACKBONES[config.name]
    size = {"image_size": config.image_size} if record.one_image_size else {}
    backbone: Backbone = pkgutil.resolve_name(record.factory)(
        in_channels=in_channels, dtype=dtype, rngs=nnx.Rngs(params=key), **size
    )
    return backbone


# One program for all initial values, compiled once for all seeds.
_new_backbone_compiled = nnx.jit(_new_backbone, static_argnums=(0, 1, 2))
