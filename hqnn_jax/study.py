"""A configuration with its data: what every seed of a run shares."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hqnn_jax.config import Config, ModelConfig
from hqnn_jax.data.dataset import ImageDataset, Split, class_weights
from hqnn_jax.data.loading import load_dataset
from hqnn_jax.data.records import Images, RecordImages
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.models import (
    HybridClassifier,
    Model,
    Variables,
    build_backbone,
    count_parameters,
    parameter_groups,
)
from hqnn_jax.progress import Progress
from hqnn_jax.training.features import backbone_features
from hqnn_jax.training.loop import TrainingData
from hqnn_jax.training.optimizers import make_optimizer, make_plateau, make_schedule
from hqnn_jax.training.state import TrainState, initial_state
from hqnn_jax.training.step import Examples, Preprocessing, Task


@dataclasses.dataclass(frozen=True)
class Study:
    """A configuration with its dataset and what the model is fed: images or cached features."""

    config: Config
    dataset: ImageDataset
    preprocessing: Preprocessing
    inputs: Mapping[str, Images]
    frozen_parameters: int

    @classmethod
    def load(cls, config: Config, progress: Progress) -> Study:
        """Load the dataset and, for a frozen backbone, its features.

        **Raises:** `ConfigurationError` before anything is loaded if the model cannot be built;
        `DataError` and `PretrainedWeightsError` for what cannot be read.
        """
        _check_model(config.model)
        dataset = _load_dataset(config, progress)
        progress.line(_describe_dataset(dataset))
        if len(dataset.train) < config.training.batch_size:
            raise ConfigurationError(
                f"training.batch_size: {config.training.batch_size} is more than the "
                f"{len(dataset.train)} training images of {dataset.name}"
            )
        images = {name: split.images for name, split in dataset.splits().items()}
        channels = dataset.train.images.shape[-1]
        # Pretrained first layers take three channels; a grey image is repeated.
        channels = 3 if config.model.backbone.pretrained else channels
        preprocessing = Preprocessing.for_backbone(config.model.backbone, channels)
        if not config.model.backbone.frozen:
            return cls(config, dataset, preprocessing, images, 0)
        model, variables = _frozen_backbone(config, channels)
        features = backbone_features(
            model,
            variables,
            preprocessing,
            config.model.backbone,
            images,
            batch_size=config.evaluation.batch_size,
            progress=progress,
        )
        frozen = sum(leaf.size for leaf in jax.tree.leaves(variables.params))
        return cls(config, dataset, preprocessing, features, frozen)

    def frozen_backbone(self) -> tuple[Model, Variables] | None:
        """Build the backbone that made the features again; None where it is part of the model."""
        if not self.config.model.backbone.frozen:
            return None
        return _frozen_backbone(self.config, self.preprocessing.in_channels)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch; examples that do not fill a batch are left out."""
        return len(self.dataset.train) // self.config.training.batch_size

    def epochs(self, step: int) -> float:
        """Return how many epochs a number of optimiser steps is."""
        return step / self.steps_per_epoch

    def initial_model(self, seed: int) -> tuple[Model, Variables]:
        """Return the structure and the initial variables of one seed.

        Backbone and head draw from separate keys, so that arms with different middles share the
        backbone's initial values.
        """
        backbone_key, head_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 0))
        backbone, num_features = None, self.inputs["train"].shape[-1]
        if not self.config.model.backbone.frozen:
            backbone = build_backbone(
                self.config.model.backbone,
                in_channels=self.preprocessing.in_channels,
                key=backbone_key,
            )
            num_features = backbone.num_features
        module = HybridClassifier(
            self.config.model,
            backbone=backbone,
            num_features=num_features,
            num_classes=self.dataset.num_classes,
            key=head_key,
        )
        return Model.split(module)

    def task(self, model: Model, variables: Variables) -> Task:
        """Return the static structure of training."""
        training = self.config.training
        steps = self.steps_per_epoch
        labels = parameter_groups(variables.params, self.config.model.middle)
        return Task(
            model=model,
            preprocessing=self.preprocessing,
            training=training,
            optimizer=make_optimizer(training, labels, steps),
            plateau=make_plateau(training),
            schedule=make_schedule(training, steps),
            steps_per_epoch=steps,
        )

    def initial_state(self, task: Task, variables: Variables, seed: int) -> TrainState:
        """Return the training state of one seed before its first step."""
        return initial_state(
            variables,
            task.optimizer,
            task.plateau,
            jax.random.fold_in(jax.random.key(seed), 1),
            keep_average=self.config.training.average_decay > 0,
        )

    def training_data(self) -> TrainingData:
        """Put training and validation examples on the device."""
        weights = np.ones(self.dataset.num_classes, np.float32)
        if self.config.training.class_weights == "inverse_frequency":
            weights = class_weights(self.dataset.train.labels, self.dataset.num_classes)
        return TrainingData(
            train=self.examples("train"),
            validation=self.examples("validation"),
            class_weights=jnp.asarray(weights),
        )

    def examples(self, split: str) -> Examples | Split:
        """Put the inputs and labels of a split on the device; streamed images stay on disk."""
        inputs, examples = self.inputs[split], self.dataset.splits()[split]
        if isinstance(inputs, RecordImages):
            return examples
        return Examples(jnp.asarray(inputs), jnp.asarray(examples.labels))

    def parameters(self, variables: Variables) -> dict[str, int]:
        """Return the parameter count per group, a frozen backbone included."""
        counts = count_parameters(variables.params, self.config.model.middle)
        counts["backbone"] += self.frozen_parameters
        counts["total"] += self.frozen_parameters
        return counts

    def description(self, seed: int) -> dict[str, Any]:
        """Return what a checkpoint of this study belongs to."""
        config = self.config.model_dump(mode="json", include={"dataset", "model", "training"})
        del config["dataset"]["data_dir"]
        return {**config, "seed": seed, "dataset_fingerprint": self.dataset.fingerprint}


def _frozen_backbone(config: Config, in_channels: int) -> tuple[Model, Variables]:
    key = jax.random.key(config.seed)
    return Model.split(build_backbone(config.model.backbone, in_channels=in_channels, key=key))


def _check_model(config: ModelConfig) -> None:
    """Build everything behind the backbone once; a circuit or sizes that do not fit raise."""
    growth = config.circuit.growth
    for size in {config.circuit.size, config.circuit.size if growth is None else growth.maximum}:
        sized = config.model_copy(update={"circuit": config.circuit.with_size(size)})
        HybridClassifier(sized, backbone=None, num_features=1, num_classes=2, key=jax.random.key(0))


def _load_dataset(config: Config, progress: Progress) -> ImageDataset:
    with _reporting(progress) as report:
        return load_dataset(config.dataset, report)


@contextlib.contextmanager
def _reporting(progress: Progress) -> Iterator[Callable[[str, int, int], None]]:
    """Turn `report(what, done, total)` calls into one progress task per `what`, in turn."""
    with contextlib.ExitStack() as current:
        what_now, done_before = "", 0
        advance: Callable[[int], None] = _no_advance

        def report(what: str, done: int, total: int) -> None:
            nonlocal what_now, done_before, advance
            if what != what_now:
                current.close()  # a terminal shows one bar at a time
                advance = current.enter_context(progress.task(what, total or None))
                what_now, done_before = what, 0
            advance(done - done_before)
            done_before = done

        yield report


def _no_advance(amount: int) -> None:
    """Advance nothing: no task has begun."""


def _describe_dataset(dataset: ImageDataset) -> str:
    counts = ", ".join(f"{len(s)} {name}" for name, s in dataset.splits().items())
    shared = sum(pair.images for pair in dataset.shared_images)
    synthetic = " (synthetic)" if dataset.synthetic else ""
    leak = f"; {shared} byte-identical images across splits" if shared else ""
    lines = [f"{dataset.name}{synthetic}: {counts}, {dataset.num_classes} classes{leak}"]
    return "\n".join([*lines, *(f"note: {warning}" for warning in dataset.warnings)])


def describe_dataset(dataset: ImageDataset) -> dict[str, Any]:
    """Return what `metrics.json` says about the dataset."""
    return {
        "name": dataset.name,
        "synthetic": dataset.synthetic,
        "class_names": list(dataset.class_names),
        "counts": {name: len(split) for name, split in dataset.splits().items()},
        "fingerprint": dataset.fingerprint,
        "shared_images": [dataclasses.asdict(pair) for pair in dataset.shared_images],
        "warnings": list(dataset.warnings),
        "licence": dataset.licence,
        "citation": dataset.citation,
    }
