"""The compiled functions of training: one step, one epoch, one evaluation.

All are pure functions of (state, data, order); `Task` is the static structure they close over.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, Shaped

from hqnn_jax import keys
from hqnn_jax.backbones.build import image_normalization
from hqnn_jax.backbones.checkpoint_layout import ImageNormalization
from hqnn_jax.config import AugmentationConfig, BackboneConfig, TrainingConfig
from hqnn_jax.data import augmentation
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.training.contrastive import supervised_contrastive
from hqnn_jax.training.losses import loss_function
from hqnn_jax.training.state import RunningMetrics, TrainState


class Examples(NamedTuple):
    """Inputs on the device, uint8 images or float32 features, and what belongs to each.

    `labels` are classes [num_examples], after a seed axis where there is one; or, of a multi-label
    set, 1 and 0 [num_examples, num_labels]. `weights` are those of the examples in the training
    loss; None for the same.
    """

    inputs: Shaped[Array, "num_examples *shape"]
    labels: Int[Array, "..."]
    weights: Float[Array, "num_examples"] | None = None

    def at(self, indices: Int[Array, " chosen"]) -> Examples:
        """Return the examples at some positions."""
        weights = None if self.weights is None else self.weights[indices]
        return Examples(self.inputs[indices], self.labels[indices], weights)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """From stored inputs to what the model takes: augment, resize, normalise.

    Cached features pass through unchanged.
    """

    image_size: int
    in_channels: int
    normalization: ImageNormalization

    @classmethod
    def for_backbone(cls, config: BackboneConfig, in_channels: int) -> Preprocessing:
        """Return the preprocessing a backbone asks for; see `image_normalization`."""
        return cls(config.image_size, in_channels, image_normalization(config))

    def __call__(
        self,
        inputs: Shaped[Array, "batch *shape"],
        key: Key[Array, ""] | None = None,
        augment: AugmentationConfig | None = None,
    ) -> Float[Array, "batch *out"]:
        """Return normalised float32 images of the backbone's size, or the features themselves."""
        if inputs.ndim == 2:
            return inputs
        images = augmentation.to_float(inputs)
        if augment is not None and key is not None:
            images = augmentation.augment(key, images, augment, output_size=self.image_size)
        else:
            images = augmentation.resize(images, self.image_size)
        if images.shape[-1] != self.in_channels:
            images = jnp.broadcast_to(images, (*images.shape[:-1], self.in_channels))
        return augmentation.normalise(images, self.normalization.mean, self.normalization.std)


@dataclasses.dataclass(frozen=True)
class Task:
    """What is trained and how: the static structure behind every compiled function."""

    model: Model
    preprocessing: Preprocessing
    training: TrainingConfig
    optimizer: optax.GradientTransformation
    plateau: optax.GradientTransformationExtraArgs
    schedule: optax.Schedule
    steps_per_epoch: int
    multilabel: bool = False
    """Whether an example has any number of labels, so that each has a probability of its own."""

    def loss(
        self,
        logits: Float[Array, "batch num_classes"],
        labels: Int[Array, "batch *num_labels"],
        class_weights: Float[Array, "num_classes"],
        weights: Float[Array, "batch"] | None = None,
    ) -> Float[Array, ""]:
        """Return the loss of smoothed labels, averaged with the weight of each true class.

        `weights` are those of the examples, which the weights of classes are multiplied with. With
        several labels an example it is the mean of their binary cross-entropies, in which a label
        that is there counts `class_weights` times.
        """
        if self.multilabel:
            return self._loss_of_labels(logits, labels, class_weights, weights)
        targets = optax.smooth_labels(
            jax.nn.one_hot(labels, logits.shape[-1]), self.training.label_smoothing
        )
        losses = loss_function(self.training.loss)(logits, targets)
        combined = class_weights[labels] if weights is None else class_weights[labels] * weights
        return jnp.sum(combined * losses) / jnp.sum(combined)

    def _loss_of_labels(
        self,
        logits: Float[Array, "batch num_labels"],
        labels: Int[Array, "batch num_labels"],
        positive_weights: Float[Array, "num_labels"],
        weights: Float[Array, "batch"] | None,
    ) -> Float[Array, ""]:
        smoothing = self.training.label_smoothing
        targets = labels * (1 - smoothing) + smoothing / 2
        losses = optax.sigmoid_binary_cross_entropy(logits, targets)
        means = jnp.mean(jnp.where(labels == 1, positive_weights, 1.0) * losses, axis=-1)
        return jnp.mean(means) if weights is None else jnp.average(means, weights=weights)

    def train_step(
        self,
        state: TrainState,
        examples: Examples,
        order: Int[Array, "num_rows"],
        class_weights: Float[Array, "num_classes"],
    ) -> TrainState:
        """Take one optimiser step on the batch that `state.step` points at in `order`."""
        position = state.step % self.steps_per_epoch
        batch_size = self.training.batch_size
        indices = jax.lax.dynamic_slice(order, (position * batch_size,), (batch_size,))
        return self.train_batch(state, examples.at(indices), class_weights)

    def train_batch(
        self, state: TrainState, batch: Examples, class_weights: Float[Array, "num_classes"]
    ) -> TrainState:
        """Take one optimiser step on a batch of `training.batch_size` examples."""
        batch_size, labels = self.training.batch_size, batch.labels
        augment_key, dropout_key = keys.step(state.key, state.step)
        inputs = self.preprocessing(batch.inputs, augment_key, self.training.augmentation)

        def objective(params):
            variables = Variables(params, state.variables.batch_stats)
            outputs = self.model.apply_training(variables, inputs, dropout_key)
            loss = self.loss(outputs.logits, labels, class_weights, batch.weights)
            if self.training.contrastive_weight > 0:
                loss += self.training.contrastive_weight * supervised_contrastive(
                    outputs.representation, labels, self.training.contrastive_temperature
                )
            return loss, (outputs.logits, outputs.batch_stats)

        (loss, (logits, batch_stats)), gradients = jax.value_and_grad(objective, has_aux=True)(
            state.variables.params
        )
        updates, optimizer_state = self.optimizer.update(
            gradients, state.optimizer_state, state.variables.params
        )
        updates = optax.tree.scale(state.plateau.scale, updates)
        variables = Variables(optax.apply_updates(state.variables.params, updates), batch_stats)
        predicted = logits > 0 if self.multilabel else jnp.argmax(logits, -1)
        correct = jnp.sum(predicted == labels, dtype=jnp.int32)
        return state._replace(
            variables=variables,
            average=self._averaged(state, variables),
            optimizer_state=optimizer_state,
            metrics=RunningMetrics(
                loss=state.metrics.loss + loss * batch_size,
                correct=state.metrics.correct + correct,
                images=state.metrics.images + batch_size,
            ),
            step=state.step + 1,
        )

    def _averaged(self, state: TrainState, variables: Variables) -> Variables | None:
        if state.average is None:
            return None
        # A short memory first, so that the initial values are forgotten (as in TensorFlow's EMA).
        decay = jnp.minimum(self.training.average_decay, (1.0 + state.step) / (10.0 + state.step))
        return jax.tree.map(
            # In this form what is not trained stays as it is, to the last bit.
            lambda old, new: old + (1.0 - decay) * (new - old),
            state.average,
            variables,
        )

    def train_epoch(
        self,
        state: TrainState,
        examples: Examples,
        order: Int[Array, "num_rows"],
        class_weights: Float[Array, "num_classes"],
    ) -> TrainState:
        """Take every remaining step of the epoch in one device program.

        For accelerators: on CPU, XLA's convolutions lose their fast path inside loops.
        """
        remaining = self.steps_per_epoch - state.step % self.steps_per_epoch
        return jax.lax.fori_loop(
            0,
            remaining,
            lambda _, carry: self.train_step(carry, examples, order, class_weights),
            state,
        )

    def epoch_order(
        self, state: TrainState, rows: Int[Array, "num_rows"]
    ) -> Int[Array, "num_rows"]:
        """Return the order in which the current epoch visits the examples that are trained on.

        The last `num_rows % batch_size` of it are left out of this epoch.
        """
        epoch = state.step // self.steps_per_epoch
        key = keys.epoch_order(state.key, epoch)
        return rows[jax.random.permutation(key, rows.shape[0])]

    def end_epoch(self, state: TrainState, validation_loss: Float[Array, ""]) -> TrainState:
        """Clear the running metrics and, where configured, tell the plateau rule."""
        plateau = state.plateau
        if self.training.schedule.name == "reduce_on_plateau":
            _, plateau = self.plateau.update({}, plateau, value=validation_loss)
        return state._replace(plateau=plateau, metrics=RunningMetrics.zero())

    def predict(
        self,
        variables: Variables,
        inputs: Shaped[Array, "batch *shape"],
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "batch num_classes"]:
        """Return the class probabilities of a batch, without augmentation.

        `key` is needed where the circuit is evaluated with a finite number of shots. With several
        labels an example, each has a probability of its own.
        """
        logits = self.model.apply(variables, self.preprocessing(inputs), key)
        return jax.nn.sigmoid(logits) if self.multilabel else jax.nn.softmax(logits)
