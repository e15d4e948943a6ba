"""The training loop of one seed: every epoch is recorded, and its state saved as a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from hqnn_jax.progress import Progress
from hqnn_jax.training.checkpoints import Checkpoints
from hqnn_jax.training.history import Record, append_record
from hqnn_jax.training.interrupt import SeedInterrupted
from hqnn_jax.training.program import Program, TrainingData
from hqnn_jax.training.state import TrainState

_WORTH_TELLING = 120.0
"""Seconds."""


def fit(
    program: Program,
    state: TrainState,
    data: TrainingData,
    *,
    seed: int,
    history: Path,
    checkpoints: Checkpoints,
    progress: Progress,
    stop: Callable[[], bool],
    pause: Callable[[], bool] = lambda: False,
) -> TrainState:
    """Train one seed to the last epoch, from wherever `state` stands.

    After each epoch the validation split is evaluated, the epoch recorded in the file `history`,
    and a checkpoint saved; where `pause()` is then true, the state is returned before the last
    epoch.

    Raises:
        LossNotFinite: if the loss is not finite (the last good checkpoint stays).
        SeedInterrupted: once `stop()` is true and the state is saved.
    """
    task, told = program.task, False
    for epoch in range(int(state.step) // task.steps_per_epoch, task.training.epochs):
        started = time.perf_counter()
        description = f"seed {seed} epoch {epoch + 1}"
        state = _train_epoch(program, state, data, description, progress, stop)
        program.require_finite(state, [seed], epoch + 1)
        if program.position(state):
            checkpoints.save(state, None)
            raise SeedInterrupted(seed, epoch)
        (record,) = program.records(state, data, [seed], epoch + 1)
        state = program.finish_epoch(state, [record])
        record["seconds"] = time.perf_counter() - started
        append_record(history, record)
        checkpoints.save(state, program.ranked_by(record))
        progress.line(_epoch_line(record, task.training.epochs))
        if not told:
            told = True
            _tell_the_rest(record, task.training.epochs - epoch - 1, progress)
        if stop() and epoch + 1 < task.training.epochs:
            raise SeedInterrupted(seed, epoch + 1)
        if pause():
            break
    return state


def _train_epoch(
    program: Program,
    state: TrainState,
    data: TrainingData,
    description: str,
    progress: Progress,
    stop: Callable[[], bool],
) -> TrainState:
    """Take the remaining steps of an epoch, or as many as come before `stop()`."""
    position, steps = program.position(state), program.task.steps_per_epoch
    with progress.epoch(description, steps) as advance:
        advance(position)
        for batch in program.batches(state, data):
            state = program.advance(state, *batch)
            advance(steps - position if program.whole_epochs else 1)
            if stop():
                break
    return state


def _tell_the_rest(record: Record, epochs: int, progress: Progress) -> None:
    """Say how long the other epochs will take, from the first: what no estimate knows before."""
    seconds = epochs * record["seconds"]
    if seconds >= _WORTH_TELLING:
        time_left = f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
        progress.line(f"seed {record['seed']}: the other {epochs} epochs take about {time_left}")


def _epoch_line(record: Record, epochs: int) -> str:
    return (
        f"seed {record['seed']} epoch {record['epoch']}/{epochs}: "
        f"train loss {record['train_loss']:.4f} accuracy {record['train_accuracy']:.4f}, "
        f"validation loss {record['validation_loss']:.4f} "
        f"accuracy {record['validation_accuracy']:.4f}, {record['seconds']:.1f} s"
    )
