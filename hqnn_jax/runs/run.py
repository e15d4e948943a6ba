"""One run from configuration to metrics: train every seed, then evaluate each once."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hqnn_jax import keys
from hqnn_jax.config import Config
from hqnn_jax.data.dataset import SPLIT_NAMES
from hqnn_jax.errors import TrainingError
from hqnn_jax.evaluation.cross_dataset import OtherDataset
from hqnn_jax.evaluation.label_metrics import compute_label_metrics
from hqnn_jax.evaluation.metrics import Metric, compute_metrics, mean_over_seeds
from hqnn_jax.evaluation.own_metrics import own_metrics
from hqnn_jax.files import locked, write_arrays, write_json
from hqnn_jax.progress import Progress
from hqnn_jax.runs.chosen import Chosen, choose_checkpoint
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.further import FurtherEvaluation, load_others
from hqnn_jax.runs.model_folder import leave_model
from hqnn_jax.runs.setup import Setup, describe_dataset, load_setup
from hqnn_jax.runs.stages import Stages
from hqnn_jax.training.checkpoints import Checkpoints
from hqnn_jax.training.growth import circuit_size, enlarge, saved_circuit_size
from hqnn_jax.training.history import Record, read_history, trim_history
from hqnn_jax.training.interrupt import Interrupted, SeedInterrupted, stop_requested
from hqnn_jax.training.loop import fit
from hqnn_jax.training.program import LossNotFinite

NUM_SAMPLE_IMAGES = 24


def train(config: Config, folder: RunFolder, *, resume: bool, progress: Progress) -> None:
    """Train every seed and evaluate it once; everything is in `folder` afterwards but the report.

    Args:
        config: the validated configuration.
        folder: where everything is written; see `RunFolder.prepare`. It is held for this process.
        resume: go on in a folder with an unfinished run; the result is bitwise that of a run that
            was never stopped, on as many cores of the same kind. Nothing is done to a finished one
            that lacks its report only.
        progress: where progress is shown.

    Raises:
        HqnnError: of the kind that fits; what was already saved stays.
    """
    with locked(folder.path):
        if resume and folder.lacks_report():
            folder.require_same(config)
            progress.line(f"{folder.path}: the run has finished; only its report is missing")
            return
        for note in folder.prepare(config, resume=resume):
            progress.line(note)
        _train(config, folder, progress)


def _train(config: Config, folder: RunFolder, progress: Progress) -> None:
    setup = load_setup(config, progress)
    write_json(folder.splits, setup.dataset.split_record())
    _, variables = setup.initial_model(config.seed)
    parameters = setup.parameters(variables)
    progress.line("parameters: " + ", ".join(f"{k} {v:,}" for k, v in parameters.items()))
    stages = Stages(setup)
    others = load_others(setup)
    with stop_requested() as stop, saying_where(folder):
        for seed in config.seed_values():
            _train_seed(stages, seed, folder, stop)
    evaluate(stages, folder, compile_seconds=stages.compile_seconds, others=others)


@contextlib.contextmanager
def saying_where(folder: RunFolder) -> Iterator[None]:
    """Say of what ends the training of a seed where it was, what is kept and how to go on."""
    try:
        yield
    except SeedInterrupted as error:
        raise Interrupted(f"{error}; go on with {folder.how_to_resume()}") from error
    except LossNotFinite as error:
        raise TrainingError(
            f"{folder.path}: seed {error.seed}: training loss not finite in epoch {error.epoch}; "
            f"the checkpoint of epoch {error.epoch - 1} is kept; {error.advice}"
        ) from error


def _train_seed(stages: Stages, seed: int, folder: RunFolder, stop: Callable[[], bool]) -> None:
    """Train one seed to its last epoch, from its last checkpoint where there is one."""
    setup = stages.setup
    circuit, total = setup.config.model.circuit, setup.config.training.epochs

    def size_now() -> int:
        return circuit_size(circuit, read_history(folder.history, seed))

    def grows_beyond(size: int) -> bool:
        return size_now() != size

    with Checkpoints(folder.checkpoints(seed), setup.description(seed)) as checkpoints:
        latest = checkpoints.latest_step()
        epochs = setup.epochs(latest or 0)
        current = saved_circuit_size(circuit, read_history(folder.history, seed), epochs)
        state = stages.stage(current).initial_state(seed)
        if latest is not None:
            state = checkpoints.restore(latest, state)
        trim_history(folder.history, seed, int(epochs))
        while setup.epochs(int(state.step)) < total:
            if grows_beyond(current):
                current = size_now()
                state = enlarge(state, stages.stage(current).initial_state(seed))
                setup.progress.line(
                    f"seed {seed}: the circuit grows to {current} {circuit.growth_axis}"
                )
            state = fit(
                stages.program(current), state, stages.data(seed), seed=seed,
                history=folder.history, checkpoints=checkpoints, progress=setup.progress, stop=stop,
                pause=functools.partial(grows_beyond, current),
            )  # fmt: skip


def evaluate(
    stages: Stages, folder: RunFolder, *, compile_seconds: float, others: Sequence[OtherDataset]
) -> None:
    """Evaluate the chosen checkpoint of every seed, also on `others` (see `load_others`).

    The folder is to be held, see `files.locked`. Writes `predictions.npz`, `metrics.json`,
    `explanations.npz` and one `cross_NAME.npz` for each other dataset. This is the only place where
    the test split is read.
    """
    setup = stages.setup
    chosen = [choose_checkpoint(stages, folder, seed) for seed in setup.config.seed_values()]
    probabilities = _predict(stages, chosen)
    write_arrays(folder.predictions, _prediction_arrays(setup, probabilities))
    further = FurtherEvaluation(setup, folder, [each.trained for each in chosen])
    further.explain(chosen[0].stage.task, probabilities["test"][0])
    with setup.progress.task("computing metrics and intervals"):
        times = _times(setup, read_history(folder.history), compile_seconds)
        metrics = _metrics(setup, chosen, probabilities, times)
    metrics["cross_datasets"] = further.on_others(others)
    leave_model(folder.model, chosen, probabilities, metrics, further.frozen_backbone)
    write_json(folder.metrics, metrics)


def _predict(stages: Stages, chosen: Sequence[Chosen]) -> dict[str, np.ndarray]:
    """Return the class probabilities of every split, [seeds, images, classes]."""
    setup = stages.setup
    predictors = [stages.predictor(each.size) for each in chosen]
    total = len(chosen) * sum(map(len, setup.inputs.values()))
    found: dict[str, list[np.ndarray]] = {name: [] for name in SPLIT_NAMES}
    with setup.progress.task("evaluating", total) as advance:
        for each, predict in zip(chosen, predictors, strict=True):
            for name in SPLIT_NAMES:
                key = setup.evaluation_key(each.seed, name)
                outputs = predict(each.state.evaluated, setup.inputs[name], advance, key)
                found[name].append(outputs)
    return {name: np.stack(values) for name, values in found.items()}


def _prediction_arrays(setup: Setup, probabilities: Mapping[str, np.ndarray]) -> dict[str, Any]:
    splits = setup.dataset.splits()
    test = splits["test"]
    count = min(NUM_SAMPLE_IMAGES, len(test))
    chosen = np.sort(keys.shown_images().choice(len(test), count, replace=False))
    return {
        "seeds": np.asarray(setup.config.seed_values()),
        **{f"{name}_probabilities": values for name, values in probabilities.items()},
        **{f"{name}_labels": split.labels for name, split in splits.items()},
        "sample_indices": chosen,
        "sample_images": test.images[chosen],
    }


def _metrics(
    setup: Setup,
    chosen: Sequence[Chosen],
    probabilities: Mapping[str, np.ndarray],
    times: Sequence[Mapping[str, float]],
) -> dict[str, Any]:
    """Return what `metrics.json` says, but for other datasets; `times` are those of each seed."""
    own = own_metrics(setup.config.evaluation.metrics)
    seeds: list[dict[str, Any]] = [
        {
            "seed": each.seed,
            "best_epoch": each.epoch,
            **{
                name: _figures(setup, probabilities[name][index], split.labels, each.seed, own)
                for name, split in setup.dataset.splits().items()
            },
            "time": times[index],
        }
        for index, each in enumerate(chosen)
    ]
    parameters = [setup.parameters(each.state.variables) for each in chosen]
    metrics: dict[str, Any] = {
        "status": "finished",
        **{name: mean_over_seeds([figures[name] for figures in seeds]) for name in SPLIT_NAMES},
        "time": {key: float(np.mean([entry[key] for entry in times])) for key in times[0]},
        "seeds": seeds,
        "dataset": describe_dataset(setup.dataset),
        # Circuits that grew may differ between seeds; the largest model is the one to compare.
        "parameters": max(parameters, key=lambda counts: counts["total"]),
    }
    if setup.config.model.circuit.growth is not None:
        metrics["circuit_sizes"] = [each.size for each in chosen]
    return metrics


def _figures(
    setup: Setup,
    probabilities: np.ndarray,
    labels: np.ndarray,
    seed: int,
    own: Mapping[str, Metric],
) -> dict[str, Any]:
    """Return the metrics of a split, as a seed's model predicts it."""
    names, options = setup.dataset.class_names, setup.config.evaluation
    if setup.dataset.multilabel:
        return compute_label_metrics(
            probabilities, labels, names, bootstrap_samples=options.bootstrap_samples, seed=seed
        )
    return compute_metrics(
        probabilities,
        labels,
        names,
        calibration_bins=options.calibration_bins,
        bootstrap_samples=options.bootstrap_samples,
        seed=seed,
        task=setup.config.dataset.task_name,
        own=own,
    )


def _times(
    setup: Setup, history: Sequence[Record], compile_seconds: float
) -> list[dict[str, float]]:
    """Return the seconds of each seed: of compilation, of its training, and of one epoch of it."""
    times = []
    for seed in setup.config.seed_values():
        seconds = [record["seconds"] for record in history if record["seed"] == seed]
        times.append(
            {
                "compile_s": compile_seconds,
                "train_s": float(np.sum(seconds)),
                "epoch_s": float(np.median(seconds)),
            }
        )
    return times
