"""A configuration with its data: what every seed of a run shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from hqnn_jax import keys
from hqnn_jax.backbones.build import build_backbone
from hqnn_jax.config import BackboneConfig, Config, ModelConfig
from hqnn_jax.data.dataset import SPLIT_NAMES, ImageDataset, Split, class_weights
from hqnn_jax.data.loading import load_dataset
from hqnn_jax.data.records import Images, RecordImages
from hqnn_jax.data.selection import noisy_labels, training_rows
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.models.classifier import HybridNetwork
from hqnn_jax.models.groups import count_parameters, parameter_groups
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.progress import Progress
from hqnn_jax.runs.backbone import (
    check_trained_backbone,
    origin_config,
    trained_backbone,
    with_backbone,
)
from hqnn_jax.runs.own_checks import check_calls, check_imports
from hqnn_jax.training.features import backbone_features
from hqnn_jax.training.insights import Insights
from hqnn_jax.training.optimizers import make_optimizer, make_plateau, make_schedule
from hqnn_jax.training.program import TrainingData
from hqnn_jax.training.state import TrainState, initial_state
from hqnn_jax.training.step import Examples, Preprocessing, Task


@dataclasses.dataclass(frozen=True)
class Setup:
    """A configuration with its dataset and what the model is fed: images or cached features.

    Attributes:
        config: the configuration.
        dataset: its dataset, split.
        preprocessing: from stored images to what a backbone takes.
        inputs: split -> images, or features of a frozen backbone.
        frozen_parameters: of a backbone that is not part of the model.
        progress: where everything that is done with it shows how far it is.
    """

    config: Config
    dataset: ImageDataset
    preprocessing: Preprocessing
    inputs: Mapping[str, Images]
    frozen_parameters: int
    progress: Progress

    def frozen_backbone(self) -> tuple[Model, Variables] | None:
        """Build the backbone that made the features again; None where it is part of the model."""
        if not self.config.model.backbone.frozen:
            return None
        return _frozen_backbone(self.config, self.preprocessing.in_channels)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps of an epoch; examples that do not fill a batch are left out."""
        # As many for every seed.
        rows = _training_rows(self.config, self.dataset, self.config.seed)
        return len(rows) // self.config.training.batch_size

    def epochs(self, step: int) -> float:
        """Return how many epochs a number of optimiser steps is."""
        return step / self.steps_per_epoch

    def initial_model(
        self, seed: int | Int[Array, ""], *, shots: int | None = None
    ) -> tuple[Model, Variables]:
        """Return the structure and the initial variables of one seed.

        With `shots`, the circuit's outputs are estimates from as many measurements.

        Backbone and head draw from separate keys, so that arms with different middles share the
        backbone's initial values.
        """
        backbone_key, head_key = keys.initial_model(seed)
        backbone, num_features = None, self.inputs["train"].shape[-1]
        if not self.config.model.backbone.frozen:
            backbone = build_backbone(
                self.config.model.backbone,
                in_channels=self.preprocessing.in_channels,
                key=backbone_key,
            )
            num_features = backbone.num_features
        module = HybridNetwork(
            self.config.model,
            backbone=backbone,
            num_features=num_features,
            num_classes=self.dataset.num_classes,
            key=head_key,
            shots=shots,
        )
        model, variables = Model.split(module)
        if backbone is not None and self.config.model.backbone.from_run is not None:
            trained = _trained(self.config.model.backbone, Model.split(backbone)[1])
            variables = with_backbone(variables, trained)
        return model, variables

    def evaluation_task(self, task: Task) -> Task:
        """Return the task with the circuit as it is evaluated: `evaluation.noise` and `.shots`."""
        options, model = self.config.evaluation, evaluated_model(self.config)
        if options.noise is None and options.shots is None:
            return task
        # Only the structure is needed: the arrays are the trained ones.
        changed = dataclasses.replace(self, config=self.config.model_copy(update={"model": model}))
        structure, _ = changed.initial_model(self.config.seed, shots=options.shots)
        return dataclasses.replace(task, model=structure)

    def evaluation_key(self, seed: int, split: str) -> Key[Array, ""] | None:
        """Return the key that shots are drawn with; None where values are exact."""
        if self.config.evaluation.shots is None:
            return None
        return keys.evaluation(seed, SPLIT_NAMES.index(split))

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
            multilabel=self.dataset.multilabel,
        )

    def insights(self, task: Task) -> Insights | None:
        """Return what is measured after every epoch; None where nothing is asked for."""
        return Insights.of(self.config, task) if self.config.training.insights else None

    def initial_state(self, task: Task, seed: int | Int[Array, ""]) -> TrainState:
        """Return the training state of a seed before its first step."""
        return initial_state(
            self.initial_model(seed)[1],
            task.optimizer,
            task.plateau,
            keys.training(seed),
            keep_average=self.config.training.average_decay > 0,
        )

    def initial_states(self, task: Task, seeds: Sequence[int]) -> TrainState:
        """Return the same for several seeds, with a leading seed axis; the model is built once."""
        return jax.vmap(lambda seed: self.initial_state(task, seed))(jnp.asarray(seeds))

    def training_data(self, seed: int) -> TrainingData:
        """Put training and validation examples on the device, as one seed sees them."""
        rows, labels, weights = self._selection(seed)
        train = self.examples("train")
        if isinstance(train, Examples):
            train = train._replace(labels=jnp.asarray(labels))
        else:
            train = dataclasses.replace(train, labels=labels)
        return TrainingData(
            train=train,
            rows=jnp.asarray(rows),
            validation=self.examples("validation"),
            class_weights=jnp.asarray(weights),
        )

    def training_data_of_seeds(self, seeds: Sequence[int]) -> TrainingData:
        """Return the same for several seeds: inputs once, all else with a leading seed axis.

        Not for images that are streamed.
        """
        rows, labels, weights = map(
            jnp.stack,
            zip(*(map(jnp.asarray, self._selection(seed)) for seed in seeds), strict=True),
        )
        data = self.training_data(seeds[0])
        assert isinstance(data.train, Examples)
        train = data.train._replace(labels=labels)
        return dataclasses.replace(data, train=train, rows=rows, class_weights=weights)

    def _selection(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows a seed is trained on, all training labels, and the class weights."""
        training, num_classes = self.config.training, self.dataset.num_classes
        rows = _training_rows(self.config, self.dataset, seed)
        labels = noisy_labels(self.dataset.train.labels, training.label_noise, num_classes, seed)
        weights = np.ones(num_classes, np.float32)
        if training.class_weights == "inverse_frequency":
            weights = class_weights(labels[rows], num_classes)
        return rows, labels, weights

    def examples(self, split: str) -> Examples | Split:
        """Put the inputs and labels of a split on the device; streamed images stay on disk."""
        inputs, examples = self.inputs[split], self.dataset.splits()[split]
        if isinstance(inputs, RecordImages):
            return examples
        weights = None if examples.weights is None else jnp.asarray(examples.weights)
        return Examples(jnp.asarray(inputs), jnp.asarray(examples.labels), weights)

    def trained_parameters(self, variables: Variables) -> dict[str, int]:
        """Return the count of trained parameters per group, and in total."""
        return count_parameters(variables.params, self.config.model.middle)

    def parameters(self, variables: Variables) -> dict[str, int]:
        """Return the parameter count per group, a frozen backbone included."""
        counts = self.trained_parameters(variables)
        counts["backbone"] += self.frozen_parameters
        counts["total"] += self.frozen_parameters
        return counts

    def description(self, seed: int) -> dict[str, Any]:
        """Return what a checkpoint of a seed belongs to."""
        config = self.config.model_dump(mode="json", include={"dataset", "model", "training"})
        for place in ("data_dir", "path", "card"):
            config["dataset"].pop(place, None)
        return {**config, "seed": seed, "dataset_fingerprint": self.dataset.fingerprint}


def load_setup(config: Config, progress: Progress) -> Setup:
    """Load the dataset and, for a frozen backbone, its features.

    Raises:
        ConfigurationError: before anything is loaded if the model cannot be built.
        DataError, PretrainedWeightsError: for what cannot be read.
    """
    _check(config)
    with progress.tasks() as report:
        dataset = load_dataset(config.dataset, report)
    progress.line(_describe_dataset(dataset))
    _require_a_batch(config, dataset)
    return _with_inputs(config, dataset, progress)


def load_next(setup: Setup, config: Config) -> Setup:
    """Return the set-up of another configuration; what is the same in `setup` is not loaded again.

    Raises:
        As `load_setup`.
    """
    if setup.config.dataset != config.dataset:
        return load_setup(config, setup.progress)
    _check(config)
    _require_a_batch(config, setup.dataset)
    # A frozen backbone without weights of its own is drawn from the seed.
    same_seed = setup.config.seed == config.seed
    if same_seed and setup.config.model.backbone == config.model.backbone:
        return dataclasses.replace(setup, config=config)
    return _with_inputs(config, setup.dataset, setup.progress)


def _check(config: Config) -> None:
    """Raise where the model cannot be built, or its backbone not be taken from a run."""
    check_imports(config)
    check_model(config.model)
    if config.evaluation.noise is not None:
        check_model(evaluated_model(config))
    backbone = config.model.backbone
    if backbone.from_run is not None:
        check_trained_backbone(backbone.from_run, backbone)


def _require_a_batch(config: Config, dataset: ImageDataset) -> None:
    rows = _training_rows(config, dataset, config.seed)
    if len(rows) < config.training.batch_size:
        raise ConfigurationError(
            f"training.batch_size: {config.training.batch_size} is more than the "
            f"{len(rows)} training images of {dataset.name}"
        )


def _with_inputs(config: Config, dataset: ImageDataset, progress: Progress) -> Setup:
    """Return the set-up with the images of the dataset, or their features."""
    backbone = config.model.backbone
    images = {name: split.images for name, split in dataset.splits().items()}
    # Pretrained first layers take three channels; a grey image is repeated.
    origin = origin_config(backbone)
    channels = 3 if origin.pretrained else dataset.train.images.shape[-1]
    preprocessing = Preprocessing.for_backbone(origin, channels)
    check_calls(config, dataset, channels)
    if not backbone.frozen:
        return Setup(config, dataset, preprocessing, images, 0, progress)
    model, variables = _frozen_backbone(config, channels)
    features = backbone_features(
        model,
        variables,
        preprocessing,
        backbone,
        images,
        batch_size=config.evaluation.batch_size,
        progress=progress,
    )
    frozen = sum(leaf.size for leaf in jax.tree.leaves(variables.params))
    return Setup(config, dataset, preprocessing, features, frozen, progress)


def _frozen_backbone(config: Config, in_channels: int) -> tuple[Model, Variables]:
    backbone, key = config.model.backbone, keys.frozen_backbone(config.seed)
    model, variables = Model.split(build_backbone(backbone, in_channels=in_channels, key=key))
    return model, _trained(backbone, variables)


def _trained(config: BackboneConfig, fresh: Variables) -> Variables:
    """Return the variables of the run a backbone is taken from, `fresh` ones without such a run."""
    return fresh if config.from_run is None else trained_backbone(config.from_run, config, fresh)


def _training_rows(config: Config, dataset: ImageDataset, seed: int) -> np.ndarray:
    """Return the positions of the training images that a seed is trained on."""
    per_class = config.training.images_per_class
    return training_rows(dataset.train.labels, per_class, seed, dataset.class_names)


def evaluated_model(config: Config) -> ModelConfig:
    """Return the model with the noise it is evaluated under."""
    model, noise = config.model, config.evaluation.noise
    if noise is None:
        return model
    circuit = model.circuit.model_copy(update={"noise": noise})
    return model.model_copy(update={"circuit": circuit})


def check_model(config: ModelConfig) -> None:
    """Build everything behind the backbone once; a circuit or sizes that do not fit raise."""
    growth = config.circuit.growth
    for size in {config.circuit.size, config.circuit.size if growth is None else growth.maximum}:
        sized = config.model_copy(update={"circuit": config.circuit.with_size(size)})
        HybridNetwork(sized, backbone=None, num_features=1, num_classes=2, key=jax.random.key(0))


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
        **({"task": "multilabel"} if dataset.multilabel else {}),
        "synthetic": dataset.synthetic,
        "class_names": list(dataset.class_names),
        "counts": {name: len(split) for name, split in dataset.splits().items()},
        "fingerprint": dataset.fingerprint,
        "shared_images": [dataclasses.asdict(pair) for pair in dataset.shared_images],
        "warnings": list(dataset.warnings),
        "licence": dataset.licence,
        "citation": dataset.citation,
        **{key: said for key in ("url", "description") if (said := getattr(dataset, key))},
    }
