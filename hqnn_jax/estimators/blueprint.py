"""The network of an estimator: built, trained and compiled from the parts of a run."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, Shaped

from hqnn_jax import keys
from hqnn_jax.backbones.build import build_backbone
from hqnn_jax.config import ModelConfig, TrainingConfig
from hqnn_jax.models.classifier import HybridNetwork
from hqnn_jax.models.groups import parameter_groups
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.progress import Progress
from hqnn_jax.training.optimizers import make_optimizer, make_plateau, make_schedule
from hqnn_jax.training.prediction import Predictor
from hqnn_jax.training.program import TrainingData, compile_program
from hqnn_jax.training.seeds import fit_seeds
from hqnn_jax.training.state import initial_state
from hqnn_jax.training.step import Examples, Preprocessing, Task


class FittedNetwork(NamedTuple):
    """What training leaves: variables on the host, and how it went."""

    variables: Variables
    history: list[dict[str, Any]]
    best_epoch: int


class Blueprint(NamedTuple):
    """What a network is made of; small, and to be pickled.

    Attributes:
        config: of the model.
        shape: of one input: [features], or [height, width, channels] of uint8 images.
        num_classes: number of classes.
        seed: of initial values and of everything random in training.
    """

    config: ModelConfig
    shape: tuple[int, ...]
    num_classes: int
    seed: int

    def _model(self) -> tuple[Model, Variables]:
        backbone_key, head_key = keys.initial_model(self.seed)
        backbone, num_features = None, self.shape[-1]
        if len(self.shape) > 1:
            backbone = build_backbone(
                self.config.backbone, in_channels=self._channels, key=backbone_key
            )
            num_features = backbone.num_features
        module = HybridNetwork(
            self.config,
            backbone=backbone,
            num_features=num_features,
            num_classes=self.num_classes,
            key=head_key,
        )
        return Model.split(module)

    @property
    def _channels(self) -> int:
        # Pretrained first layers take three channels; a grey image is repeated.
        return 3 if self.config.backbone.pretrained else self.shape[-1]

    def _task(
        self, model: Model, variables: Variables, training: TrainingConfig, steps: int
    ) -> Task:
        groups = parameter_groups(variables.params, self.config.middle)
        return Task(
            model=model,
            preprocessing=Preprocessing.for_backbone(self.config.backbone, self._channels),
            training=training,
            optimizer=make_optimizer(training, groups, steps),
            plateau=make_plateau(training),
            schedule=make_schedule(training, steps),
            steps_per_epoch=steps,
        )

    def train(
        self,
        inputs: Shaped[np.ndarray, "samples *shape"],
        labels: Int[np.ndarray, " samples"],
        rows: Int[np.ndarray, " train"],
        validation: Int[np.ndarray, " validation"],
        training: TrainingConfig,
        progress: Progress,
    ) -> FittedNetwork:
        """Train from initial values; the variables kept are those of the best epoch.

        Args:
            inputs: uint8 images or float32 features of all samples.
            labels: their classes, from 0.
            rows: which of them are trained on.
            validation: by which of them epochs are compared.
            training: how.
            progress: where it is told.
        """
        model, variables = self._model()
        task = self._task(model, variables, training, len(rows) // training.batch_size)
        state = initial_state(
            variables, task.optimizer, task.plateau, keys.training(self.seed), keep_average=False
        )
        # A seed axis, which the loop over epochs in memory has.
        states = jax.tree.map(lambda leaf: leaf[None], state)
        data = TrainingData(
            train=Examples(jnp.asarray(inputs), jnp.asarray(labels)[None]),
            rows=jnp.asarray(rows)[None],
            validation=Examples(jnp.asarray(inputs[validation]), jnp.asarray(labels[validation])),
            class_weights=jnp.ones((1, self.num_classes)),
        )
        with progress.task("compiling"):
            program = compile_program(task, states, data, training.batch_size)
        trained = fit_seeds(
            program,
            states,
            data,
            [self.seed],
            choose="best",
            progress=progress,
            stop=lambda: False,
        )
        kept = jax.tree.map(lambda leaf: np.asarray(leaf[0]), trained.variables)
        return FittedNetwork(kept, list(trained.history), trained.best_epochs[0])

    def predictor(
        self, variables: Variables, inputs: Shaped[np.ndarray, "samples *shape"], batch_size: int
    ) -> Predictor:
        """Compile the class probabilities of a batch."""
        task = self._task(*self._model(), TrainingConfig(), 1)
        return Predictor.compile(task.predict, variables, inputs, batch_size)
