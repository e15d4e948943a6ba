"""The hybrid classifier: backbone -> processor -> middle -> classifier, and its parameter groups.

The Flax NNX module is split once into graph definitions (static) and arrays; everything that is
compiled sees plain nested dictionaries of arrays.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key, PyTree

from hqnn_jax.backbones import Backbone
from hqnn_jax.backbones.checkpoint_layout import IMAGENET, ImageNormalization
from hqnn_jax.backbones.cnn import FiveLayerCNN
from hqnn_jax.backbones.compact import CompactResNet
from hqnn_jax.backbones.efficientnet import EfficientNetB0
from hqnn_jax.backbones.layers import BatchNorm
from hqnn_jax.backbones.lean import LeanCNN, LeanHybridFrontEnd
from hqnn_jax.backbones.pretrained import (
    load_pretrained,
    pretrained_normalization,
    pretrained_source,
)
from hqnn_jax.backbones.resnet import ResNet
from hqnn_jax.backbones.vgg import VGG16
from hqnn_jax.circuits import Circuit
from hqnn_jax.config import BackboneConfig, MlpConfig, ModelConfig
from hqnn_jax.config.model import CIRCUIT_MIDDLES
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.models.middles import QuantumLayer, build_circuit, build_middle

Group = Literal["backbone", "circuit", "classical"]
GROUPS: tuple[Group, ...] = ("backbone", "circuit", "classical")


class Mlp(nnx.Module):
    """Linear (+ BatchNorm) + ReLU + Dropout, once per width."""

    def __init__(self, num_inputs: int, config: MlpConfig, *, rngs: nnx.Rngs):
        """Build the layers; `num_outputs` is the last width, or `num_inputs` without layers."""
        widths = (num_inputs, *config.widths)
        self.num_outputs = widths[-1]
        # Batch normalisation takes the mean away: a bias before it would have no effect, and Adam
        # would amplify the rounding noise of its zero gradient.
        self.linears = nnx.List(
            nnx.Linear(i, o, use_bias=not config.batch_norm, rngs=rngs)
            for i, o in itertools.pairwise(widths)
        )
        # Momentum 0.9 is torch's 0.1, the default there.
        self.norms = (
            nnx.List(BatchNorm(width, momentum=0.9, epsilon=1e-5) for width in config.widths)
            if config.batch_norm
            else nnx.List([])
        )
        self.dropouts = nnx.List(nnx.Dropout(rate) for rate in config.dropout_rates())

    def __call__(
        self, x: Float[Array, "batch num_inputs"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch num_outputs"]:
        """Apply the layers; `rngs` is needed in training mode where a dropout rate is not zero."""
        for index, linear in enumerate(self.linears):
            x = linear(x)
            if len(self.norms):
                x = self.norms[index](x)
            x = self.dropouts[index](nnx.relu(x), rngs=rngs)
        return x


class HybridClassifier(nnx.Module):
    """Backbone -> processor -> (projection) -> middle -> (readout) -> classifier.

    Without a backbone (`backbone=None`) the inputs are cached backbone features.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        backbone: Backbone | None,
        num_features: int,
        num_classes: int,
        key: Key[Array, ""],
        shots: int | None = None,
    ):
        """Build every part from the configuration; see `ModelConfig`.

        Each part draws its initial values from its own key, so that models which differ in one
        part agree in all others. Neither noise nor `shots` (see `QuantumLayer`) changes the arrays:
        a model may be trained without and evaluated with them.
        """
        circuit = build_circuit(config.circuit)
        part_keys = iter(jax.random.split(key, 6))

        def rngs() -> nnx.Rngs:
            return nnx.Rngs(params=next(part_keys))

        self.backbone = backbone
        self.feature_scaling = config.feature_scaling
        self.processor = Mlp(num_features, config.processor, rngs=rngs())
        # A plain classical network keeps all features; otherwise the middle's inputs are as many as
        # the circuit's, whatever the middle is.
        plain = config.feature_selection == "all"
        self.num_angles = self.processor.num_outputs if plain else circuit.num_features
        self.projection = _projection(config, self.processor.num_outputs, circuit, rngs())
        self.angle_norm = (
            BatchNorm(circuit.num_features, momentum=0.9, epsilon=1e-5)
            if config.feature_scaling == "standardised_tanh"
            else None
        )
        self.middle = build_middle(config, circuit, rngs=rngs(), shots=shots)
        width = self.num_angles if self.middle is None else circuit.num_outputs
        self.readout = _readout(config.readout_width, width, rngs())
        width = config.readout_width or width
        self.classifier = Mlp(width, config.classifier, rngs=rngs())
        self.logits = nnx.Linear(self.classifier.num_outputs, num_classes, rngs=rngs())

    def __call__(
        self, inputs: Float[Array, "batch *shape"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch num_classes"]:
        """Return logits for normalised images `[batch, height, width, channels]`, or for features
        `[batch, num_features]` where there is no backbone."""
        return self.classify(self.represent(inputs, rngs), rngs)

    def represent(
        self, inputs: Float[Array, "batch *shape"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch num_outputs"]:
        """Return the middle's output (its input where there is no middle)."""
        x = self.angles(inputs, rngs)
        if isinstance(self.middle, QuantumLayer):
            return self.middle(x, rngs)
        return x if self.middle is None else self.middle(x)

    def angles(
        self, inputs: Float[Array, "batch *shape"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch num_angles"]:
        """Return the middle's input, which for a circuit are its features, in radians."""
        features = inputs if self.backbone is None else self.backbone(inputs, rngs)
        x = self.processor(features.astype(jnp.float32), rngs)
        x = x[:, : self.num_angles] if self.projection is None else self.projection(x)
        if self.angle_norm is not None:
            x = self.angle_norm(x)
        if self.feature_scaling != "none":
            x = jnp.pi / 2 * jnp.tanh(x)
        return x

    def classify(
        self, representation: Float[Array, "batch num_outputs"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch num_classes"]:
        """Return the logits of the middle's output."""
        x = representation if self.readout is None else self.readout(representation)
        return self.logits(self.classifier(x, rngs))


def _projection(
    config: ModelConfig, width: int, circuit: Circuit, rngs: nnx.Rngs
) -> nnx.Linear | None:
    if config.feature_selection == "projection":
        use_bias = config.feature_scaling != "standardised_tanh"  # see Mlp
        return nnx.Linear(width, circuit.num_features, use_bias=use_bias, rngs=rngs)
    if config.feature_selection == "first" and width < circuit.num_features:
        raise ConfigurationError(
            f"model.processor.widths: feature_selection 'first' needs a last width of at least "
            f"{circuit.num_features}, the circuit's number of features; got {width}"
        )
    return None


def _readout(width: int | None, num_inputs: int, rngs: nnx.Rngs) -> nnx.Linear | None:
    return None if width is None else nnx.Linear(num_inputs, width, rngs=rngs)


@dataclasses.dataclass(frozen=True)
class Variables:
    """The arrays of a model, as nested dictionaries.

    Attributes:
        params: trainable parameters.
        batch_stats: batch statistics, and weights of a frozen circuit (see `FrozenWeights`).
    """

    params: PyTree
    batch_stats: PyTree


jax.tree_util.register_dataclass(Variables, ["params", "batch_stats"], [])


class TrainingOutputs(NamedTuple):
    """What a forward pass in training returns: logits, the middle's output, batch statistics."""

    logits: Float[Array, "batch num_classes"]
    representation: Float[Array, "batch num_outputs"]
    batch_stats: PyTree


@dataclasses.dataclass(frozen=True)
class Model:
    """The static structure of a model; together with `Variables` it is a pure function."""

    training_graph: nnx.GraphDef
    evaluation_graph: nnx.GraphDef

    @classmethod
    def split(cls, module: nnx.Module) -> tuple[Model, Variables]:
        """Split an NNX module into static structure and arrays."""
        module.train()
        training_graph, params, batch_stats = nnx.split(module, nnx.Param, nnx.BatchStat)  # type: ignore[misc]
        module.eval()
        model = cls(training_graph, nnx.graphdef(module))
        return model, Variables(nnx.to_pure_dict(params), nnx.to_pure_dict(batch_stats))

    def apply(
        self,
        variables: Variables,
        inputs: Float[Array, "batch *shape"],
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "batch outputs"]:
        """Evaluate with the stored batch statistics and without dropout.

        `key` is what shots are drawn with, for a HybridClassifier that has a number of them.
        """
        # copy=True: modules must not be shared between trace levels.
        module = nnx.merge(
            self.evaluation_graph, variables.params, variables.batch_stats, copy=True
        )
        return module(inputs) if key is None else module(inputs, nnx.Rngs(shots=key))

    def apply_training(
        self, variables: Variables, inputs: Float[Array, "batch *shape"], key: Key[Array, ""]
    ) -> TrainingOutputs:
        """Evaluate a HybridClassifier with statistics of this batch and dropout from `key`."""
        module = nnx.merge(self.training_graph, variables.params, variables.batch_stats, copy=True)
        rngs = nnx.Rngs(dropout=key)
        representation = module.represent(inputs, rngs)
        logits = module.classify(representation, rngs)
        batch_stats = nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
        return TrainingOutputs(logits, representation, batch_stats)


_BACKBONES: dict[str, Callable[..., Backbone]] = {
    "compact": CompactResNet,
    "five_layer_cnn": FiveLayerCNN,
    "lean_cnn": LeanCNN,
    "lean_hybrid": LeanHybridFrontEnd,
    "resnet18": partial(ResNet, depth=18),
    "resnet50": partial(ResNet, depth=50),
    # The epsilon of Keras, whose weights these are.
    "resnet50_v1": partial(ResNet, depth=50, variant="v1", epsilon=1.001e-5),
    "vgg16": VGG16,
    "efficientnet_b0": EfficientNetB0,
}
_OF_ONE_IMAGE_SIZE = ("five_layer_cnn", "lean_cnn", "lean_hybrid")  # they flatten their maps


def build_backbone(config: BackboneConfig, *, in_channels: int, key: Key[Array, ""]) -> Backbone:
    """Return the configured backbone with random or pretrained weights.

    `compute_dtype: auto` is bfloat16 on GPU and TPU and float32 on CPU.
    """
    dtype = config.compute_dtype
    if dtype == "auto":
        dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    if config.pretrained is None:
        return _new_backbone_compiled(config, in_channels, dtype, key)
    # Shapes only: drawing values that are replaced at once would compile for 15 seconds.
    backbone = nnx.eval_shape(lambda: _new_backbone(config, in_channels, dtype, key))
    load_pretrained(backbone, pretrained_source(config.name, config.pretrained))
    return backbone


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
    size = {"image_size": config.image_size} if config.name in _OF_ONE_IMAGE_SIZE else {}
    return _BACKBONES[config.name](
        in_channels=in_channels, dtype=dtype, rngs=nnx.Rngs(params=key), **size
    )


# One program for all initial values, compiled once for all seeds.
_new_backbone_compiled = nnx.jit(_new_backbone, static_argnums=(0, 1, 2))


def parameter_groups(params: dict[str, Any], middle: str) -> PyTree:
    """Return a tree like `params` with the group name of every parameter.

    The trainable weights of a circuit are `circuit`; a classical middle is `classical`, like
    processor, projection, readout and classifier. A frozen circuit has no parameters.

    Raises:
        ValueError: for a parameter that no group covers: a bug, never a default.
    """
    groups: dict[str, Group] = {
        "backbone": "backbone",
        "processor": "classical",
        "projection": "classical",
        "angle_norm": "classical",
        "middle": "circuit" if middle in CIRCUIT_MIDDLES else "classical",
        "readout": "classical",
        "classifier": "classical",
        "logits": "classical",
    }
    unknown = sorted(set(params) - set(groups))
    if unknown:
        raise ValueError(f"parameters without a group: {unknown}")
    return {
        part: jax.tree.map(lambda _, group=groups[part]: group, subtree)
        for part, subtree in params.items()
    }


def count_parameters(params: dict[str, Any], middle: str) -> dict[str, int]:
    """Return the number of parameters per group and in `total`."""
    labels = jax.tree.leaves(parameter_groups(params, middle))
    sizes = [leaf.size for leaf in jax.tree.leaves(params)]
    counts: dict[str, int] = dict.fromkeys(GROUPS, 0)
    for label, size in zip(labels, sizes, strict=True):
        counts[label] += int(size)
    return {**counts, "total": sum(sizes)}
