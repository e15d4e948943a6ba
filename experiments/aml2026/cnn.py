"""The CNN of aml2026: pixels instead of the 20 features; minutes instead of seconds."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from hqnn_jax.backbones.cnn import FiveLayerCNN
from hqnn_jax.config.base import ConfigSection, Width
from hqnn_jax.data.records import take
from hqnn_jax.experiments.aml2026.arms import (
    NUM_CLASSES,
    ArmOutcome,
    Count,
    Positive,
    network_outcome,
    run_compiled,
    seed_keys,
)
from hqnn_jax.experiments.aml2026.data import SampledData
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.training.patience import fit_with_patience


class CnnConfig(ConfigSection):
    """The five-layer CNN on the pixels; the paper gives no architecture."""

    hidden_width: Width = 64
    learning_rate: Positive = 1e-3
    batch_size: Count = 32
    max_epochs: Count = 40
    patience: Count = 15


class PixelNetwork(nnx.Module):
    """Five convolutions, one hidden layer, logits; in the form `Model` trains."""

    def __init__(self, image_shape: tuple[int, ...], hidden_width: int, rngs: nnx.Rngs):
        """Draw initial values for images [height, width, channels]."""
        # Convolutions as patches: under `vmap` and in loops the library's are many times slower.
        self.backbone = FiveLayerCNN(
            in_channels=image_shape[2], image_size=image_shape[0], method="patches", rngs=rngs
        )
        self.hidden = nnx.Linear(self.backbone.num_features, hidden_width, rngs=rngs)
        self.logits = nnx.Linear(hidden_width, NUM_CLASSES, rngs=rngs)

    def __call__(
        self, images: Float[Array, "batch height width channels"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch classes"]:
        """Return the logits."""
        return self.classify(self.represent(images, rngs), rngs)

    def represent(
        self, images: Float[Array, "batch height width channels"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch hidden"]:
        """Return the hidden layer; nothing is random, `rngs` is not used."""
        return nnx.relu(self.hidden(self.backbone(images)))

    def classify(
        self, representation: Float[Array, "batch hidden"], rngs: nnx.Rngs | None = None
    ) -> Float[Array, "batch classes"]:
        """Return the logits of the hidden layer."""
        return self.logits(representation)


def cnn(data: SampledData, options: CnnConfig) -> ArmOutcome:
    """Train the CNN on the images of every seed, all seeds in one program."""
    images = _images(data)
    optimizer = optax.adam(options.learning_rate)

    def train(key, images, fit_y, validation_y):
        network = PixelNetwork(images.fit.shape[1:], options.hidden_width, nnx.Rngs(params=key))
        model, variables = Model.split(network)

        def step(state: tuple[Variables, Any], batch: tuple[Array, Array]) -> tuple[Variables, Any]:
            variables, moments = state
            x, y = batch

            def loss(params: Any) -> tuple[Array, Any]:
                given = Variables(params, variables.batch_stats)
                # No dropout in this model: the key is never used.
                outputs = model.apply_training(given, _normalised(x), key)
                losses = optax.softmax_cross_entropy_with_integer_labels(outputs.logits, y)
                return losses.mean(), outputs.batch_stats

            gradient, batch_stats = jax.grad(loss, has_aux=True)(variables.params)
            updates, moments = optimizer.update(gradient, moments)
            params = optax.apply_updates(variables.params, updates)
            return Variables(params, batch_stats), moments

        def validate(state: tuple[Variables, Any]) -> Array:
            logits = model.apply(state[0], _normalised(images.validation))
            return optax.softmax_cross_entropy_with_integer_labels(logits, validation_y).mean()

        fit = fit_with_patience(
            step,
            validate,
            (variables, optimizer.init(variables.params)),
            (images.fit, fit_y),
            key,
            batch_size=options.batch_size,
            max_epochs=options.max_epochs,
            patience=options.patience,
        )
        logits = model.apply(fit.best[0], _normalised(images.test))
        return fit, jnp.argmax(logits, axis=1)

    (fit, predictions), *seconds = run_compiled(
        jax.vmap(train), seed_keys(data.seeds), images, data.labels.fit, data.labels.validation
    )
    # Running statistics of the batch normalisation are no trained parameters.
    parameters = fit._replace(best=(fit.best[0].params,))
    return network_outcome((parameters, predictions), *seconds)


def _images(data: SampledData) -> Any:
    """Return Parts of uint8[seeds, images, height, width, channels]."""
    return type(data.positions)(
        *(
            np.stack([np.asarray(take(data.pool.images, rows)) for rows in part])
            for part in data.positions
        )
    )


def _normalised(images: Array) -> Array:
    return images.astype(jnp.float32) / 127.5 - 1.0
