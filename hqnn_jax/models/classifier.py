"""The hybrid classifier: backbone -> processor -> middle -> classifier, as a Flax NNX module."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from hqnn_jax.backbones import Backbone
from hqnn_jax.backbones.layers import BatchNorm
from hqnn_jax.circuits import Circuit
from hqnn_jax.config import MlpConfig, ModelConfig
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.models.middles import QuantumLayer, build_circuit, build_middle


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


class HybridNetwork(nnx.Module):
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
