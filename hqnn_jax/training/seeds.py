"""Training several seeds in one program: everything a seed owns has a leading seed axis.

The data are read once for all seeds; each has its own order, augmentation and labels, the very
ones it has when it is trained alone.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from hqnn_jax.errors import TrainingError
from hqnn_jax.models.pure import Variables
from hqnn_jax.progress import Progress
from hqnn_jax.training.checkpoints import rank
from hqnn_jax.training.insights import Insights
from hqnn_jax.training.loop import (
    CompiledInsights,
    Interrupted,
    TrainingData,
    epoch_record,
    runs_whole_epochs,
)
from hqnn_jax.training.prediction import Predictor, of_seeds
from hqnn_jax.training.seeds_checkpoint import SeedsCheckpoint
from hqnn_jax.training.state import TrainState
from hqnn_jax.training.step import Examples, Task

_SEEDS_OF_DATA = (Examples(None, 0), 0, 0)  # type: ignore[arg-type]
"""Seed axes of examples (inputs are shared), order and class weights."""


@dataclasses.dataclass(frozen=True)
class SeedsProgram:
    """Everything the training of a number of seeds runs, compiled ahead of time.

    `memory` is what the largest of its functions needs, in bytes.
    """

    advance: Callable[..., TrainState]
    whole_epochs: bool
    epoch_order: Callable[..., Array]
    end_epoch: Callable[..., TrainState]
    keep_best: Callable[..., Variables]
    predictor: Predictor
    insights: CompiledInsights | None
    compile_seconds: float
    memory: int


@dataclasses.dataclass(frozen=True)
class TrainedSeeds:
    """Seeds trained together.

    Attributes:
        variables: of the checkpoint that is evaluated, with a leading seed axis.
        best_epochs: epochs trained up to it, for each seed.
        history: one record per seed and epoch, as in a run's history, seed by seed.
        seconds: of training, all seeds together, without compilation.
    """

    variables: Variables
    best_epochs: tuple[int, ...]
    history: tuple[dict[str, Any], ...]
    seconds: float


def compile_seeds(
    task: Task,
    states: TrainState,
    data: TrainingData,
    evaluation_batch_size: int,
    insights: Insights | None = None,
) -> SeedsProgram:
    """Compile the functions of a task for the shapes of `states` and `data`.

    Both have a leading seed axis (`Study.initial_states_of`, `Study.training_data_of_seeds`).
    """
    started = time.perf_counter()
    assert isinstance(data.train, Examples)
    whole_epochs = runs_whole_epochs(data)
    order = jax.jit(jax.vmap(task.epoch_order)).lower(states, data.rows).compile()
    rule = jax.vmap(task.train_epoch if whole_epochs else task.train_step, (0, *_SEEDS_OF_DATA))
    advance = (
        jax.jit(rule, donate_argnums=0)
        .lower(states, data.train, order(states, data.rows), data.class_weights)
        .compile()
    )
    num_seeds = len(states.step)
    return SeedsProgram(
        advance=advance,
        whole_epochs=whole_epochs,
        epoch_order=order,
        end_epoch=jax.jit(jax.vmap(task.end_epoch), donate_argnums=0)
        .lower(states, jnp.zeros(num_seeds))
        .compile(),
        keep_best=jax.jit(_keep_best, donate_argnums=0)
        .lower(states.evaluated, states.evaluated, jnp.zeros(num_seeds, bool))
        .compile(),
        predictor=Predictor.compile(
            of_seeds(task.predict),
            states.evaluated,
            data.validation_inputs,
            min(evaluation_batch_size, len(data.validation.labels)),
        ),
        insights=None if insights is None else CompiledInsights.compile(insights, states, data),
        compile_seconds=time.perf_counter() - started,
        memory=_memory(advance.memory_analysis()),
    )


def _memory(analysis: Any) -> int:
    """Return the bytes a program takes; 0 where the backend does not say."""
    parts = ("temp_size_in_bytes", "argument_size_in_bytes", "output_size_in_bytes")
    return sum(getattr(analysis, part, 0) for part in parts)


def _keep_best(best: Variables, candidate: Variables, improved: Bool[Array, "seeds"]) -> Variables:
    def choose(old: Array, new: Array) -> Array:
        return jnp.where(improved.reshape(-1, *(1,) * (new.ndim - 1)), new, old)

    return jax.tree.map(choose, best, candidate)


@dataclasses.dataclass
class _Course:
    """How far each of some seeds has come, on the host."""

    history: list[list[dict[str, Any]]]
    ranks: list[Sequence[float]]
    best_epochs: list[int]

    @classmethod
    def begin(cls, count: int) -> _Course:
        return cls([[] for _ in range(count)], [(-math.inf,) * 3] * count, [0] * count)

    @property
    def epochs(self) -> int:
        return len(self.history[0])

    def add(self, records: Sequence[dict[str, Any]], step: int, *, always: bool) -> np.ndarray:
        """Add an epoch's records; returns which seeds have become better, bool[seeds]."""
        epoch = self.epochs + 1
        improved = np.zeros(len(records), bool)
        for index, record in enumerate(records):
            self.history[index].append(record)
            new = rank({**record, "step": float(step)})
            improved[index] = always or new > tuple(self.ranks[index])
            if improved[index]:
                self.ranks[index], self.best_epochs[index] = new, epoch
        return improved


def fit_seeds(
    task: Task,
    program: SeedsProgram,
    states: TrainState,
    data: TrainingData,
    seeds: Sequence[int],
    *,
    choose: Literal["best", "last"],
    progress: Progress,
    stop: Callable[[], bool],
    checkpoint: SeedsCheckpoint | None = None,
) -> TrainedSeeds:
    """Train all seeds to the last epoch.

    Args:
        task, program, states, data: see `compile_seeds`; `states` before the first step.
        seeds: their numbers, for the history.
        choose: which variables are kept: those of the best epoch on the validation split, as a run
            chooses it, or those of the last.
        progress, stop: where progress is shown, and whether to stop.
        checkpoint: where training goes on after a kill; the caller deletes it.

    Raises:
        TrainingError: if the loss of a seed is not finite.
        Interrupted: once `stop()` is true.
    """
    best = jax.tree.map(jnp.copy, states.evaluated)
    course, earlier = _Course.begin(len(seeds)), 0.0
    saved = checkpoint.restore((states, best)) if checkpoint is not None else None
    if saved is not None and saved[1]["seeds"] == list(seeds):
        (states, best), notes = saved
        course, earlier = _Course(**notes["course"]), notes["seconds"]
    started = time.perf_counter()
    with progress.task(f"training {name_seeds(seeds)}", task.training.epochs) as advance:
        advance(course.epochs)
        while course.epochs < task.training.epochs:
            states = _train_epoch(task, program, states, data, stop)
            records = _end_of_epoch(task, program, states, data, seeds, course.epochs + 1)
            step = (course.epochs + 1) * task.steps_per_epoch
            improved = course.add(records, step, always=choose == "last")
            best = program.keep_best(best, states.evaluated, jnp.asarray(improved))
            losses = jnp.asarray([record["validation_loss"] for record in records], jnp.float32)
            states = program.end_epoch(states, losses)
            seconds = earlier + time.perf_counter() - started
            if checkpoint is not None and checkpoint.due:
                notes = {
                    "course": dataclasses.asdict(course),
                    "seconds": seconds,
                    "seeds": list(seeds),
                }
                checkpoint.save((states, best), notes)
            advance(1)
    seconds = earlier + time.perf_counter() - started
    flat = tuple(record for records in course.history for record in records)
    return TrainedSeeds(best, tuple(course.best_epochs), flat, seconds)


def _train_epoch(
    task: Task,
    program: SeedsProgram,
    states: TrainState,
    data: TrainingData,
    stop: Callable[[], bool],
) -> TrainState:
    orders = program.epoch_order(states, data.rows)
    for _ in range(1 if program.whole_epochs else task.steps_per_epoch):
        if stop():
            raise Interrupted("stopped while training")
        states = program.advance(states, data.train, orders, data.class_weights)
    return states


def _end_of_epoch(
    task: Task,
    program: SeedsProgram,
    states: TrainState,
    data: TrainingData,
    seeds: Sequence[int],
    epoch: int,
) -> list[dict[str, Any]]:
    """Evaluate the validation split; returns the history record of each seed."""
    probabilities = program.predictor(states.evaluated, data.validation_inputs)
    insights = {} if program.insights is None else program.insights(states, data)
    metrics = jax.device_get(states.metrics)
    scales = np.asarray(states.plateau.scale)
    labels = np.asarray(data.validation.labels)
    schedule = float(task.schedule(epoch * task.steps_per_epoch - 1))
    records = []
    for index, seed in enumerate(seeds):
        train_loss = float(metrics.loss[index]) / int(metrics.images[index])
        if not math.isfinite(train_loss):
            raise TrainingError(
                f"seed {seed}: training loss not finite in epoch {epoch}; lower "
                "training.learning_rate or set training.clip_norm"
            )
        factor = schedule * float(scales[index])
        records.append(
            {
                "seed": seed,
                "epoch": epoch,
                "train_loss": train_loss,
                "train_accuracy": int(metrics.correct[index]) / int(metrics.images[index]),
                **epoch_record(task, probabilities[:, index], labels, factor),
                **{name: float(values[index]) for name, values in insights.items()},
            }
        )
    return records


def name_seeds(seeds: Sequence[int]) -> str:
    """Return `seed 3`, `seeds 0–7` or `seeds 0, 2, 5`."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    consecutive = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"seeds {seeds[0]}–{seeds[-1]}" if consecutive else f"seeds {', '.join(map(str, seeds))}"
