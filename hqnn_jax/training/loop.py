"""The training loop of one seed, and the compiled functions it dispatches."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hqnn_jax.data.dataset import Split
from hqnn_jax.data.records import Images
from hqnn_jax.data.streaming import stream_batches
from hqnn_jax.errors import HqnnError, TrainingError
from hqnn_jax.progress import Progress
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.training.checkpoints import Checkpoints
from hqnn_jax.training.insights import Insights, Measurements
from hqnn_jax.training.prediction import Predictor
from hqnn_jax.training.state import TrainState
from hqnn_jax.training.step import Examples, Task


class Interrupted(HqnnError):
    """The user stopped the run; a checkpoint was saved."""


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What training reads: examples, which of them, and the weight of each class in the loss.

    Examples are on the device; a `Split` stays on disk and is read batch by batch. `rows` are the
    positions of the examples that are trained on. For several seeds, labels, rows and weights have
    a leading seed axis; inputs are shared.
    """

    train: Examples | Split
    rows: Int[Array, "*seeds num_rows"]
    validation: Examples | Split
    class_weights: Float[Array, "*seeds num_classes"]

    @property
    def streams(self) -> bool:
        """Whether the training images are read from disk batch by batch."""
        return isinstance(self.train, Split)

    @property
    def validation_inputs(self) -> Array | Images:
        """The inputs of the validation examples."""
        if isinstance(self.validation, Split):
            return self.validation.images
        return self.validation.inputs


@dataclasses.dataclass(frozen=True)
class CompiledInsights:
    """Insights compiled for the shapes of a state and its data."""

    insights: Insights
    measure: Callable[..., Measurements]

    @classmethod
    def compile(cls, insights: Insights, state: TrainState, data: TrainingData) -> CompiledInsights:
        """Compile for one seed, or for several where state and data have a seed axis."""
        rule = insights.measure_state
        if state.step.ndim:
            rule = jax.vmap(rule, (0, Examples(None, 0), 0, 0))  # type: ignore[arg-type]
        probes = _probes(insights, data)
        return cls(insights, jax.jit(rule).lower(state, *probes, data.class_weights).compile())

    def __call__(self, state: TrainState, data: TrainingData) -> dict[str, np.ndarray]:
        """Return name -> value, or one value per seed, on the host."""
        found = self.measure(state, *_probes(self.insights, data), data.class_weights)
        return {name: np.asarray(value, np.float64) for name, value in found.items()}


def _probes(insights: Insights, data: TrainingData) -> tuple[Examples, Array]:
    """Return the examples that insights are measured with, and the rows of them to draw from."""
    if not isinstance(data.train, Split):
        return data.train, data.rows
    rows = np.asarray(data.rows)
    count = min(len(rows), insights.num_examples)
    rows = rows[np.linspace(0, len(rows) - 1, count).astype(int)]
    images, labels = jnp.asarray(data.train.images[rows]), jnp.asarray(data.train.labels[rows])
    return Examples(images, labels), jnp.arange(count)


@dataclasses.dataclass(frozen=True)
class Program:
    """Everything training runs, compiled ahead of time: no epoch can compile again."""

    advance: Callable[..., TrainState]
    """`train_epoch` on accelerators, `train_step` on CPU, `train_batch` for streamed images."""
    whole_epochs: bool
    epoch_order: Callable[..., Array]
    end_epoch: Callable[..., TrainState]
    predictor: Predictor
    insights: CompiledInsights | None
    compile_seconds: float


def compile_program(
    task: Task,
    state: TrainState,
    data: TrainingData,
    evaluation_batch_size: int,
    insights: Insights | None = None,
) -> Program:
    """Compile the functions of a task for the shapes of `state` and `data`."""
    started = time.perf_counter()
    whole_epochs = runs_whole_epochs(data)
    order = jax.jit(task.epoch_order).lower(state, data.rows).compile()
    rule: Callable[..., TrainState] = task.train_step
    if data.streams or whole_epochs:
        rule = task.train_batch if data.streams else task.train_epoch
    batch = next(_batches(task, whole_epochs, data, order(state, data.rows), 0))
    advance = jax.jit(rule, donate_argnums=0).lower(state, *batch, data.class_weights)
    end_epoch = jax.jit(task.end_epoch, donate_argnums=0)
    return Program(
        advance=advance.compile(),
        whole_epochs=whole_epochs,
        epoch_order=order,
        end_epoch=end_epoch.lower(state, jnp.zeros(())).compile(),
        predictor=Predictor.compile(
            task.predict,
            state.evaluated,
            data.validation_inputs,
            min(evaluation_batch_size, len(data.validation.labels)),
        ),
        insights=None if insights is None else CompiledInsights.compile(insights, state, data),
        compile_seconds=time.perf_counter() - started,
    )


def runs_whole_epochs(data: TrainingData) -> bool:
    """Return whether an epoch is one device program, instead of a dispatch per step.

    XLA's CPU convolutions are many times slower inside a loop; features pass no convolution.
    """
    if isinstance(data.train, Split):
        return False
    return jax.default_backend() != "cpu" or data.train.inputs.ndim == 2


def fit(
    task: Task,
    program: Program,
    state: TrainState,
    data: TrainingData,
    *,
    seed: int,
    folder: RunFolder,
    checkpoints: Checkpoints,
    progress: Progress,
    stop: Callable[[], bool],
    pause: Callable[[], bool] = lambda: False,
) -> TrainState:
    """Train one seed to the last epoch, from wherever `state` stands.

    After each epoch the validation split is evaluated, the epoch recorded in the history, and a
    checkpoint saved; where `pause()` is then true, the state is returned before the last epoch.

    Raises:
        TrainingError: if the loss is not finite (the last good checkpoint stays).
        Interrupted: once `stop()` is true and the state is saved.
    """
    for epoch in range(int(state.step) // task.steps_per_epoch, task.training.epochs):
        started = time.perf_counter()
        state = _train_epoch(
            task, program, state, data, f"seed {seed} epoch {epoch + 1}", progress, stop
        )
        train_loss = float(state.metrics.loss) / int(state.metrics.images)
        if not math.isfinite(train_loss):
            raise TrainingError(
                f"{folder.path}: seed {seed}: training loss not finite in epoch {epoch + 1}; "
                f"the checkpoint of epoch {epoch} is kept; lower training.learning_rate or set "
                "training.clip_norm"
            )
        if int(state.step) % task.steps_per_epoch:
            checkpoints.save(state, None)
            raise Interrupted(_how_to_resume(folder, seed, epoch))
        record = _end_of_epoch(task, program, state, data)
        record = {"seed": seed, "epoch": epoch + 1, "train_loss": train_loss, **record}
        record["train_accuracy"] = int(state.metrics.correct) / int(state.metrics.images)
        state = program.end_epoch(state, jnp.float32(record["validation_loss"]))
        record["seconds"] = time.perf_counter() - started
        folder.append_history(record)
        checkpoints.save(state, {k: record[k] for k in ("validation_accuracy", "validation_loss")})
        progress.line(_epoch_line(record, task.training.epochs))
        if stop() and epoch + 1 < task.training.epochs:
            raise Interrupted(_how_to_resume(folder, seed, epoch + 1))
        if pause():
            break
    return state


def _train_epoch(
    task: Task,
    program: Program,
    state: TrainState,
    data: TrainingData,
    description: str,
    progress: Progress,
    stop: Callable[[], bool],
) -> TrainState:
    """Take the remaining steps of an epoch, or as many as come before `stop()`."""
    position = int(state.step) % task.steps_per_epoch
    order = program.epoch_order(state, data.rows)
    with progress.epoch(description, task.steps_per_epoch) as advance:
        advance(position)
        for batch in _batches(task, program.whole_epochs, data, order, position):
            state = program.advance(state, *batch, data.class_weights)
            advance(task.steps_per_epoch - position if program.whole_epochs else 1)
            if stop():
                break
    return state


def _batches(
    task: Task, whole_epochs: bool, data: TrainingData, order: Array, position: int
) -> Iterator[tuple[Any, ...]]:
    """Yield what each call of `Program.advance` reads in the rest of an epoch."""
    if not isinstance(data.train, Split):
        calls = 1 if whole_epochs else task.steps_per_epoch - position
        yield from itertools.repeat((data.train, order), calls)
        return
    size = task.training.batch_size
    for batch in stream_batches(data.train, np.asarray(order), size, start_step=position):
        yield (Examples(*map(jnp.asarray, batch)),)


def _end_of_epoch(
    task: Task, program: Program, state: TrainState, data: TrainingData
) -> dict[str, Any]:
    probabilities = program.predictor(state.evaluated, data.validation_inputs)
    factor = float(task.schedule(state.step - 1)) * float(state.plateau.scale)
    record = epoch_record(task, probabilities, np.asarray(data.validation.labels), factor)
    insights = program.insights(state, data) if program.insights is not None else {}
    return record | {name: float(value) for name, value in insights.items()}


def epoch_record(
    task: Task,
    probabilities: Float[np.ndarray, "num_examples num_classes"],
    labels: Int[np.ndarray, "num_examples"],
    factor: float,
) -> dict[str, Any]:
    """Return validation loss (plain cross-entropy) and accuracy, and the learning rates.

    `factor` is what the schedules make of the peak learning rates.
    """
    chosen = probabilities[np.arange(len(labels)), labels]
    rates = task.training.learning_rate.model_dump()
    return {
        "validation_loss": float(-np.mean(np.log(np.maximum(chosen, 1e-30)))),
        "validation_accuracy": float(np.mean(probabilities.argmax(-1) == labels)),
        "learning_rate": {group: rate * factor for group, rate in rates.items()},
    }


def _how_to_resume(folder: RunFolder, seed: int, epoch: int) -> str:
    return (
        f"stopped in seed {seed} after epoch {epoch}; checkpoint saved; go on with `python -m "
        f"experiment run {folder.config} --out {folder.path} --resume`"
    )


def _epoch_line(record: dict[str, Any], epochs: int) -> str:
    return (
        f"seed {record['seed']} epoch {record['epoch']}/{epochs}: "
        f"train loss {record['train_loss']:.4f} accuracy {record['train_accuracy']:.4f}, "
        f"validation loss {record['validation_loss']:.4f} "
        f"accuracy {record['validation_accuracy']:.4f}, {record['seconds']:.1f} s"
    )
