"""The compiled functions of training, for one seed or for several in one program.

With several seeds everything a seed owns (its state, the labels and rows it sees, its class
weights) has a leading seed axis; inputs are read once for all. Whether there is such an axis is
seen in the state, and nowhere else.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr
from jaxtyping import Array, Bool, Float, Int

from hqnn_jax.data.dataset import Split
from hqnn_jax.data.records import Images
from hqnn_jax.data.streaming import stream_batches
from hqnn_jax.errors import TrainingError
from hqnn_jax.models.pure import Variables
from hqnn_jax.training.history import Record
from hqnn_jax.training.insights import Insights, Measurements
from hqnn_jax.training.prediction import Predictor, of_seeds
from hqnn_jax.training.state import TrainState
from hqnn_jax.training.step import Examples, Task

_SEED_AXES = (Examples(None, 0), 0, 0)  # type: ignore[arg-type]
"""Seed axes of examples (inputs are shared), of order or rows, and of class weights."""


class LossNotFinite(TrainingError):
    """A training loss that is not finite, which ends the training of its seed."""

    advice = "lower training.learning_rate or set training.clip_norm"

    def __init__(self, seed: int, epoch: int):
        """Say where; `epoch` counts from 1."""
        super().__init__(f"seed {seed}: training loss not finite in epoch {epoch}; {self.advice}")
        self.seed = seed
        self.epoch = epoch


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
        rule = _over_seeds(insights.measure_state, state, 0, *_SEED_AXES)
        probes = _probes(insights, data)
        return cls(insights, jax.jit(rule).lower(state, *probes, data.class_weights).compile())

    def __call__(self, state: TrainState, data: TrainingData) -> dict[str, np.ndarray]:
        """Return name -> value, or one value per seed, on the host."""
        found = self.measure(state, *_probes(self.insights, data), data.class_weights)
        return {name: np.asarray(value, np.float64) for name, value in found.items()}


def _over_seeds(function: Callable[..., Any], state: TrainState, *axes: Any) -> Callable[..., Any]:
    """Return the function of one seed, or of all where the state has a seed axis."""
    return jax.vmap(function, axes) if state.step.ndim else function


def _probes(insights: Insights, data: TrainingData) -> tuple[Examples, Array]:
    """Return the examples that insights are measured with, and the rows of them to draw from."""
    if not isinstance(data.train, Split):
        return data.train, data.rows
    rows = np.asarray(data.rows)
    count = min(len(rows), insights.num_examples)
    rows = rows[np.linspace(0, len(rows) - 1, count).astype(int)]
    return Examples(*map(jnp.asarray, data.train.at(rows))), jnp.arange(count)


@dataclasses.dataclass(frozen=True)
class Program:
    """Everything training runs, compiled ahead of time: no epoch can compile again.

    Attributes:
        task: what the functions close over.
        advance: `train_epoch` on accelerators, `train_step` on CPU, `train_batch` for streamed
            images; its arguments are a state and what `batches` yields.
        whole_epochs: whether `advance` goes to the end of the epoch.
        epoch_order: see `Task.epoch_order`.
        end_epoch: see `Task.end_epoch`.
        keep_best: `(best, candidate, improved) -> best`, variables of each seed; None without a
            seed axis, where checkpoints keep the best.
        predictor: of the validation split.
        insights: what else is measured after an epoch, None where nothing is.
        compile_seconds: what compiling all of them took.
        memory: bytes that `advance` needs, 0 where the backend does not say.
    """

    task: Task
    advance: Callable[..., TrainState]
    whole_epochs: bool
    epoch_order: Callable[..., Array]
    end_epoch: Callable[..., TrainState]
    keep_best: Callable[..., Variables] | None
    predictor: Predictor
    insights: CompiledInsights | None
    compile_seconds: float
    memory: int

    def batches(self, state: TrainState, data: TrainingData) -> Iterator[tuple[Any, ...]]:
        """Yield what each call of `advance` reads, beside the state, in the rest of its epoch."""
        order = self.epoch_order(state, data.rows)
        return _batches(self.task, self.whole_epochs, data, order, self.position(state))

    def position(self, state: TrainState) -> int:
        """Return how many steps of its epoch a state has behind it; of all seeds the same."""
        return int(np.asarray(state.step).flat[0]) % self.task.steps_per_epoch

    def require_finite(self, state: TrainState, seeds: Sequence[int], epoch: int) -> None:
        """Raise `LossNotFinite` for the first seed whose loss so far in the epoch is not."""
        for seed, loss in zip(seeds, np.atleast_1d(state.metrics.loss), strict=True):
            if not math.isfinite(loss):
                raise LossNotFinite(seed, epoch)

    def records(
        self, state: TrainState, data: TrainingData, seeds: Sequence[int], epoch: int
    ) -> list[dict[str, Any]]:
        """Evaluate the validation split at the end of an epoch.

        Returns:
            One record per seed: `seed`, `epoch` (from 1), loss and accuracy of training and of
            validation (its loss is the plain cross-entropy), the learning rates of the last step,
            and the insights by name.
        """
        probabilities = self.predictor(state.evaluated, data.validation_inputs)
        by_seed = probabilities.reshape(len(probabilities), len(seeds), -1)
        insights = {} if self.insights is None else self.insights(state, data)
        loss, correct, images = map(np.atleast_1d, jax.device_get(state.metrics))
        schedule = float(self.task.schedule(epoch * self.task.steps_per_epoch - 1))
        scales = np.atleast_1d(state.plateau.scale)
        labels = np.asarray(data.validation.labels)
        # Of several labels an image, each is right or wrong.
        of_each = labels.shape[1] if self.task.multilabel else 1
        validate = _validation_of_labels if self.task.multilabel else _validation
        return [
            {
                "seed": seed,
                "epoch": epoch,
                "train_loss": float(loss[index]) / int(images[index]),
                "train_accuracy": int(correct[index]) / (int(images[index]) * of_each),
                **validate(by_seed[:, index], labels),
                "learning_rate": self._rates(schedule * float(scales[index])),
                **{name: float(np.atleast_1d(v)[index]) for name, v in insights.items()},
            }
            for index, seed in enumerate(seeds)
        ]

    def ranked_by(self, record: Record) -> dict[str, float]:
        """Return what the best checkpoint is chosen by, see `rank`.

        Of several labels an image most are absent, and most predictions right: there the loss
        alone decides.
        """
        accuracy = 0.0 if self.task.multilabel else record["validation_accuracy"]
        return {"validation_accuracy": accuracy, "validation_loss": record["validation_loss"]}

    def _rates(self, factor: float) -> dict[str, float]:
        """Return the learning rates, `factor` being what the schedules make of the peak ones."""
        peaks = self.task.training.learning_rate.model_dump()
        return {group: rate * factor for group, rate in peaks.items()}

    def finish_epoch(self, state: TrainState, records: Sequence[Record]) -> TrainState:
        """Return the state before the next epoch, given the records of this one."""
        losses = np.asarray([record["validation_loss"] for record in records], np.float32)
        return self.end_epoch(state, jnp.asarray(losses.reshape(state.step.shape)))


def compile_program(
    task: Task,
    state: TrainState,
    data: TrainingData,
    evaluation_batch_size: int,
    insights: Insights | None = None,
    check: Callable[[ClosedJaxpr], None] = lambda traced: None,
) -> Program:
    """Compile the functions of a task for the shapes of `state` and `data`.

    Both have a leading seed axis (`Setup.initial_states`, `Setup.training_data_of_seeds`), or
    neither; data of several seeds are not streamed. `check` is called with the trace of `advance`
    before it is compiled.
    """
    started = time.perf_counter()
    whole_epochs = runs_whole_epochs(data)
    order = jax.jit(_over_seeds(task.epoch_order, state, 0, 0)).lower(state, data.rows).compile()
    batch = next(_batches(task, whole_epochs, data, order(state, data.rows), 0))
    if data.streams:
        rule: Callable[..., TrainState] = task.train_batch
    else:
        each = task.train_epoch if whole_epochs else task.train_step
        rule = _over_seeds(each, state, 0, *_SEED_AXES)
    traced = jax.jit(rule, donate_argnums=0).trace(state, *batch)
    check(traced.jaxpr)
    advance = traced.lower().compile()
    end_epoch = jax.jit(_over_seeds(task.end_epoch, state, 0, 0), donate_argnums=0)
    return Program(
        task=task,
        advance=advance,
        whole_epochs=whole_epochs,
        epoch_order=order,
        end_epoch=end_epoch.lower(state, jnp.zeros(state.step.shape)).compile(),
        keep_best=_compile_keep_best(state) if state.step.ndim else None,
        predictor=Predictor.compile(
            of_seeds(task.predict) if state.step.ndim else task.predict,
            state.evaluated,
            data.validation_inputs,
            min(evaluation_batch_size, len(data.validation.labels)),
        ),
        insights=None if insights is None else CompiledInsights.compile(insights, state, data),
        compile_seconds=time.perf_counter() - started,
        memory=_memory(advance.memory_analysis()),
    )


def runs_whole_epochs(data: TrainingData) -> bool:
    """Return whether an epoch is one device program, instead of a dispatch per step.

    XLA's CPU convolutions are many times slower inside a loop; features pass no convolution.
    """
    if isinstance(data.train, Split):
        return False
    return jax.default_backend() != "cpu" or data.train.inputs.ndim == 2


def _batches(
    task: Task, whole_epochs: bool, data: TrainingData, order: Array, position: int
) -> Iterator[tuple[Any, ...]]:
    """Yield what is read in the rest of an epoch; see `Program.batches`."""
    if not isinstance(data.train, Split):
        calls = 1 if whole_epochs else task.steps_per_epoch - position
        yield from itertools.repeat((data.train, order, data.class_weights), calls)
        return
    size = task.training.batch_size
    for batch in stream_batches(data.train, np.asarray(order), size, start_step=position):
        yield Examples(*map(jnp.asarray, batch)), data.class_weights


def _compile_keep_best(states: TrainState) -> Callable[..., Variables]:
    improved = jnp.zeros(states.step.shape, bool)
    keep_best = jax.jit(_keep_best, donate_argnums=0)
    return keep_best.lower(states.evaluated, states.evaluated, improved).compile()


def _keep_best(best: Variables, candidate: Variables, improved: Bool[Array, "seeds"]) -> Variables:
    def choose(old: Array, new: Array) -> Array:
        return jnp.where(improved.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, best, candidate)


def _memory(analysis: Any) -> int:
    parts = ("temp_size_in_bytes", "argument_size_in_bytes", "output_size_in_bytes")
    return sum(getattr(analysis, part, 0) for part in parts)


def _validation(
    probabilities: Float[np.ndarray, "num_examples num_classes"],
    labels: Int[np.ndarray, "num_examples"],
) -> dict[str, float]:
    """Return validation loss and accuracy."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return {
        "validation_loss": float(-np.mean(np.log(np.maximum(chosen, 1e-30)))),
        "validation_accuracy": float(np.mean(probabilities.argmax(-1) == labels)),
    }


def _validation_of_labels(
    probabilities: Float[np.ndarray, "num_examples num_labels"],
    labels: Int[np.ndarray, "num_examples num_labels"],
) -> dict[str, float]:
    """Return validation loss and accuracy, means over examples and labels."""
    chosen = np.where(labels == 1, probabilities, 1 - probabilities)
    return {
        "validation_loss": float(-np.mean(np.log(np.maximum(chosen, 1e-30)))),
        "validation_accuracy": float(np.mean((probabilities > 0.5) == labels)),
    }
