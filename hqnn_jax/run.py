"""One run from configuration to metrics: train every seed, then evaluate each once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hqnn_jax.config import Config
from hqnn_jax.data.dataset import SPLIT_NAMES
from hqnn_jax.errors import CheckpointError
from hqnn_jax.evaluation.metrics import compute_metrics, mean_over_seeds
from hqnn_jax.progress import Progress
from hqnn_jax.run_folder import RunFolder
from hqnn_jax.study import Study, describe_dataset
from hqnn_jax.training.checkpoints import Checkpoints
from hqnn_jax.training.interrupt import stop_requested
from hqnn_jax.training.loop import compile_program, fit
from hqnn_jax.training.prediction import Predictor, averaged_over_views
from hqnn_jax.training.state import TrainState

NUM_SAMPLE_IMAGES = 24


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
