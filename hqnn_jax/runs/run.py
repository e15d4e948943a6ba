"""One run from configuration to metrics: train every seed, then evaluate each once."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hqnn_jax.config import Config
from hqnn_jax.data.dataset import SPLIT_NAMES
from hqnn_jax.errors import CheckpointError, TrainingError
from hqnn_jax.evaluation.cross_dataset import OtherDataset, Trained
from hqnn_jax.evaluation.metrics import compute_metrics, mean_over_seeds
from hqnn_jax.files import locked, write_arrays, write_json
from hqnn_jax.progress import Progress
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.further import FurtherEvaluation, load_others
from hqnn_jax.runs.setup import Study, describe_dataset
from hqnn_jax.runs.stages import Stages
from hqnn_jax.training.checkpoints import Checkpoints
from hqnn_jax.training.growth import circuit_size, enlarge, saved_circuit_size
from hqnn_jax.training.history import read_history, trim_history
from hqnn_jax.training.interrupt import Interrupted, SeedInterrupted, stop_requested
from hqnn_jax.training.loop import fit
from hqnn_jax.training.program import LossNotFinite
from hqnn_jax.training.state import TrainState

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
    study = Study.load(config, progress)
    write_json(folder.splits, study.dataset.split_record())
    _, variables = study.initial_model(config.seed)
    parameters = study.parameters(variables)
    progress.line("parameters: " + ", ".join(f"{k} {v:,}" for k, v in parameters.items()))
    stages = Stages(study, progress)
    others = load_others(study, progress)
    with stop_requested() as stop:
        for seed in config.seed_values():
            with saying_where(folder):
                _train_seed(stages, seed, folder, progress, stop)
    evaluate(
        stages, folder, progress=progress, compile_seconds=stages.compile_seconds, others=others
    )


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


def _train_seed(
    stages: Stages, seed: int, folder: RunFolder, progress: Progress, stop: Callable[[], bool]
) -> None:
    """Train one seed to its last epoch, from its last checkpoint where there is one."""
    study = stages.study
    circuit, total = study.config.model.circuit, study.config.training.epochs

    def size_now() -> int:
        return circuit_size(circuit, read_history(folder.history, seed))

    def grows_beyond(size: int) -> bool:
        return size_now() != size

    path = folder.checkpoints(seed)
    with Checkpoints(path, study.description(seed)) as checkpoints:
        latest = checkpoints.latest_step()
        current = saved_circuit_size(
            circuit, read_history(folder.history, seed), study.epochs(latest or 0)
        )
        stage = stages.stage(current)
        state = stage.initial_state(seed)
        if latest is not None:
            state = checkpoints.restore(latest, state)
        trim_history(folder.history, seed, int(study.epochs(latest or 0)))
        while study.epochs(int(state.step)) < total:
            if grows_beyond(current):
                current = size_now()
                stage = stages.stage(current)
                state = enlarge(state, stage.initial_state(seed))
                progress.line(f"seed {seed}: the circuit grows to {current} {circuit.growth_axis}")
            state = fit(
                stages.program(current), state, stages.data(seed), seed=seed,
                history=folder.history, checkpoints=checkpoints, progress=progress, stop=stop,
                pause=functools.partial(grows_beyond, current),
            )  # fmt: skip


def evaluate(
    stages: Stages,
    folder: RunFolder,
    *,
    progress: Progress,
    compile_seconds: float,
    others: Sequence[OtherDataset],
) -> None:
    """Evaluate the chosen checkpoint of every seed, also on `others` (see `load_others`).

    The folder is to be held, see `files.locked`. Writes `predictions.npz`, `metrics.json`,
    `explanations.npz` and one `cross_NAME.npz` for each other dataset. This is the only place where
    the test split is read.
    """
    study = stages.study
    config = study.config
    best_epochs, parameters = [], []
    probabilities: dict[str, list[np.ndarray]] = {name: [] for name in SPLIT_NAMES}
    total = len(config.seed_values()) * sum(map(len, study.inputs.values()))
    chosen = [chosen_state(stages, folder, seed) for seed in config.seed_values()]
    for size, _ in chosen:
        stages.predictor(size)
    with progress.task("evaluating", total) as advance:
        for seed, (size, state) in zip(config.seed_values(), chosen, strict=True):
            best_epochs.append(int(state.step) // stages.stage(size).task.steps_per_epoch)
            parameters.append(study.parameters(state.variables))
            predict = stages.predictor(size)
            for name in SPLIT_NAMES:
                key = study.evaluation_key(seed, name)
                outputs = predict(state.evaluated, study.inputs[name], advance, key)
                probabilities[name].append(outputs)
    stacked = {name: np.stack(values) for name, values in probabilities.items()}
    write_arrays(folder.predictions, _prediction_arrays(study, stacked))
    trained = [
        Trained(
            seed,
            stages.stage(size).evaluation_task,
            state.evaluated,
            study.evaluation_key(seed, "test"),
        )
        for seed, (size, state) in zip(config.seed_values(), chosen, strict=True)
    ]
    further = FurtherEvaluation(study, folder, trained, progress)
    further.explain(stages.stage(chosen[0][0]).task, stacked["test"][0])
    with progress.task("computing metrics and intervals"):
        metrics = _metrics(study, folder, stacked, best_epochs, compile_seconds)
    # Circuits that grew may differ between seeds; the largest model is the one to compare.
    metrics["parameters"] = max(parameters, key=lambda counts: counts["total"])
    if config.model.circuit.growth is not None:
        metrics["circuit_sizes"] = [size for size, _ in chosen]
    metrics["cross_datasets"] = further.on_others(others)
    write_json(folder.metrics, metrics)


def chosen_state(stages: Stages, folder: RunFolder, seed: int) -> tuple[int, TrainState]:
    """Return the circuit's size and the state of the checkpoint that is evaluated.

    Raises:
        CheckpointError: where there is none, or it cannot be read.
    """
    study, path = stages.study, folder.checkpoints(seed)
    with Checkpoints(path, study.description(seed)) as checkpoints:
        best = study.config.evaluation.checkpoint == "best"
        step = checkpoints.best_step() if best else checkpoints.latest_step()
        if step is None:
            raise CheckpointError(
                f"{path}: no checkpoint to evaluate; train the run first with --resume"
            )
        circuit, history = study.config.model.circuit, read_history(folder.history, seed)
        size = saved_circuit_size(circuit, history, study.epochs(step))
        return size, checkpoints.restore(step, stages.stage(size).initial_state(seed))


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
    history = read_history(folder.history)
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
