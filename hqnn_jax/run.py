"""One run from configuration to report folder: data -> model -> training -> evaluation."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hqnn_jax.config import Config
from hqnn_jax.data.dataset import SPLIT_NAMES, ImageDataset, class_weights
from hqnn_jax.data.loading import load_dataset
from hqnn_jax.errors import CheckpointError, ConfigurationError
from hqnn_jax.evaluation.metrics import compute_metrics, mean_over_seeds
from hqnn_jax.models import (
    HybridClassifier,
    Model,
    Variables,
    build_backbone,
    build_circuit,
    count_parameters,
    parameter_groups,
)
from hqnn_jax.progress import Progress
from hqnn_jax.run_folder import RunFolder
from hqnn_jax.training.checkpoints import Checkpoints
from hqnn_jax.training.features import backbone_features
from hqnn_jax.training.interrupt import stop_requested
from hqnn_jax.training.loop import TrainingData, compile_program, fit
from hqnn_jax.training.optimizers import make_optimizer, make_plateau, make_schedule
from hqnn_jax.training.prediction import Predictor, averaged_over_views
from hqnn_jax.training.state import TrainState, initial_state
from hqnn_jax.training.step import Examples, Preprocessing, Task

NUM_SAMPLE_IMAGES = 24


@dataclasses.dataclass(frozen=True)
class Study:
    """A configuration with its dataset and what the model is fed: images or cached features."""

    config: Config
    dataset: ImageDataset
    preprocessing: Preprocessing
    inputs: Mapping[str, np.ndarray]
    frozen_parameters: int

    @classmethod
    def load(cls, config: Config, progress: Progress) -> Study:
        """Load the dataset and, for a frozen backbone, its features.

        **Raises:** `ConfigurationError` before anything is loaded if the circuit cannot be built;
        `DataError` and `PretrainedWeightsError` for what cannot be read.
        """
        build_circuit(config.model.circuit)
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
        backbone = build_backbone(
            config.model.backbone, in_channels=channels, key=jax.random.key(config.seed)
        )
        model, variables = Model.split(backbone)
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
        steps = len(self.dataset.train) // training.batch_size
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

    def examples(self, split: str) -> Examples:
        """Put the inputs and labels of a split on the device."""
        labels = self.dataset.splits()[split].labels
        return Examples(jnp.asarray(self.inputs[split]), jnp.asarray(labels))

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


def _load_dataset(config: Config, progress: Progress) -> ImageDataset:
    with _reporting(progress) as report:
        return load_dataset(config.dataset, report)


@contextlib.contextmanager
def _reporting(progress: Progress) -> Iterator[Callable[[str, int, int], None]]:
    """Turn `report(what, done, total)` calls into one progress task per `what`."""
    with contextlib.ExitStack() as stack:
        tasks: dict[str, tuple[Callable[[int], None], int]] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = (stack.enter_context(progress.task(what, total or None)), 0)
            advance, before = tasks[what]
            advance(done - before)
            tasks[what] = (advance, done)

        yield report


def _describe_dataset(dataset: ImageDataset) -> str:
    counts = ", ".join(f"{len(s)} {name}" for name, s in dataset.splits().items())
    shared = sum(pair.images for pair in dataset.shared_images)
    synthetic = " (synthetic)" if dataset.synthetic else ""
    leak = f"; {shared} byte-identical images across splits" if shared else ""
    return f"{dataset.name}{synthetic}: {counts}, {dataset.num_classes} classes{leak}"


def train(config: Config, folder: RunFolder, *, resume: bool, progress: Progress) -> None:
    """Train every seed and evaluate it once; everything is in `folder` afterwards but the report.

    **Arguments:**

    - `config`: the validated configuration.
    - `folder`: where everything is written; see `RunFolder.prepare`.
    - `resume`: go on in a folder with an unfinished run; the result is bitwise that of a run
      that was never stopped.
    - `progress`: where progress is shown.

    **Raises:** `HqnnError` of the kind that fits; what was already saved stays.
    """
    folder.prepare(config, resume=resume)
    study = Study.load(config, progress)
    model, variables = study.initial_model(config.seed)
    parameters = study.parameters(variables)
    progress.line("parameters: " + ", ".join(f"{k} {v:,}" for k, v in parameters.items()))
    task = study.task(model, variables)
    data = study.training_data()
    like = study.initial_state(task, variables, config.seed)
    with progress.task("compiling"):
        program = compile_program(task, like, data, config.evaluation.batch_size)
    with stop_requested() as stop:
        for seed in config.seed_values():
            _, variables = study.initial_model(seed)
            state = study.initial_state(task, variables, seed)
            path = folder.checkpoints(seed)
            with Checkpoints(path, study.description(seed)) as checkpoints:
                latest = checkpoints.latest_step()
                if latest is not None:
                    state = checkpoints.restore(latest, state)
                folder.trim_history(seed, int(state.step) // task.steps_per_epoch)
                fit(
                    task, program, state, data, seed=seed, folder=folder,
                    checkpoints=checkpoints, progress=progress, stop=stop,
                )  # fmt: skip
    evaluate(study, folder, progress=progress, compile_seconds=program.compile_seconds)


def evaluate(
    study: Study, folder: RunFolder, *, progress: Progress, compile_seconds: float
) -> None:
    """Evaluate the chosen checkpoint of every seed; write `predictions.npz` and `metrics.json`.

    This is the only place where the test split is read.
    """
    config, dataset = study.config, study.dataset
    model, variables = study.initial_model(config.seed)
    task = study.task(model, variables)
    like = study.initial_state(task, variables, config.seed)
    predict = averaged_over_views(task.predict, config.evaluation.test_time_augmentation)
    inputs = study.inputs
    with progress.task("compiling the evaluation"):
        predictor = Predictor.compile(
            predict,
            variables,
            inputs["test"],
            min(config.evaluation.batch_size, len(dataset.test)),
        )
    best_epochs = []
    probabilities: dict[str, list[np.ndarray]] = {name: [] for name in SPLIT_NAMES}
    total = len(config.seed_values()) * sum(map(len, inputs.values()))
    with progress.task("evaluating", total) as advance:
        for seed in config.seed_values():
            state = _chosen_state(study, folder, seed, like)
            best_epochs.append(int(state.step) // task.steps_per_epoch)
            for name in SPLIT_NAMES:
                probabilities[name].append(predictor(state.evaluated, inputs[name], advance))
    stacked = {name: np.stack(values) for name, values in probabilities.items()}
    folder.write_arrays(folder.predictions, _prediction_arrays(study, stacked))
    with progress.task("computing metrics and intervals"):
        metrics = _metrics(study, folder, stacked, best_epochs, compile_seconds)
    metrics["parameters"] = study.parameters(variables)
    folder.write_json(folder.metrics, metrics)


def _chosen_state(study: Study, folder: RunFolder, seed: int, like: TrainState) -> TrainState:
    path = folder.checkpoints(seed)
    with Checkpoints(path, study.description(seed)) as checkpoints:
        best = study.config.evaluation.checkpoint == "best"
        step = checkpoints.best_step() if best else checkpoints.latest_step()
        if step is None:
            raise CheckpointError(
                f"{path}: no checkpoint to evaluate; train the run first with --resume"
            )
        return checkpoints.restore(step, like)


def _prediction_arrays(study: Study, probabilities: Mapping[str, np.ndarray]) -> dict[str, Any]:
    splits = study.dataset.splits()
    test = splits["test"]
    count = min(NUM_SAMPLE_IMAGES, len(test))
    chosen = np.sort(np.random.default_rng(0).choice(len(test), count, replace=False))
    return {
        "seeds": np.asarray(study.config.seed_values()),
        **{f"{name}_probabilities": values for name, values in probabilities.items()},
        **{f"{name}_labels": split.labels for name, split in splits.items()},
        "sample_indices": chosen,
        "sample_images": test.images[chosen],
    }


def _metrics(
    study: Study,
    folder: RunFolder,
    probabilities: Mapping[str, np.ndarray],
    best_epochs: list[int],
    compile_seconds: float,
) -> dict[str, Any]:
    options = study.config.evaluation
    history = folder.read_history()
    seeds = []
    for index, seed in enumerate(study.config.seed_values()):
        figures: dict[str, Any] = {"seed": seed, "best_epoch": best_epochs[index]}
        for name, split in study.dataset.splits().items():
            figures[name] = compute_metrics(
                probabilities[name][index],
                split.labels,
                study.dataset.class_names,
                calibration_bins=options.calibration_bins,
                bootstrap_samples=options.bootstrap_samples,
                seed=seed,
            )
        seconds = [record["seconds"] for record in history if record["seed"] == seed]
        figures["time"] = {
            "compile_s": compile_seconds,
            "train_s": float(np.sum(seconds)),
            "epoch_s": float(np.median(seconds)),
        }
        seeds.append(figures)
    return {
        "status": "finished",
        **{name: mean_over_seeds([figures[name] for figures in seeds]) for name in SPLIT_NAMES},
        "time": {
            key: float(np.mean([figures["time"][key] for figures in seeds]))
            for key in ("compile_s", "train_s", "epoch_s")
        },
        "seeds": seeds,
        "dataset": describe_dataset(study.dataset),
    }


def describe_dataset(dataset: ImageDataset) -> dict[str, Any]:
    """Return what `metrics.json` says about the dataset."""
    return {
        "name": dataset.name,
        "synthetic": dataset.synthetic,
        "class_names": list(dataset.class_names),
        "counts": {name: len(split) for name, split in dataset.splits().items()},
        "fingerprint": dataset.fingerprint,
        "shared_images": [dataclasses.asdict(pair) for pair in dataset.shared_images],
        "licence": dataset.licence,
        "citation": dataset.citation,
    }
