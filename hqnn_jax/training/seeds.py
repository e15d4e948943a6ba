"""Training several seeds in one program: what each sees, and what comes out, is as if alone."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from hqnn_jax.models.pure import Variables
from hqnn_jax.progress import Progress
from hqnn_jax.training.checkpoints import rank
from hqnn_jax.training.interrupt import Interrupted
from hqnn_jax.training.program import Program, TrainingData
from hqnn_jax.training.seeds_checkpoint import SeedsCheckpoint
from hqnn_jax.training.state import TrainState


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
    program: Program,
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
        program, states, data: see `compile_program`; with a seed axis, `states` before the first
            step.
        seeds: their numbers, for the history.
        choose: which variables are kept: those of the best epoch on the validation split, as a run
            chooses it, or those of the last.
        progress, stop: where progress is shown, and whether to stop.
        checkpoint: where training goes on after a kill; the caller deletes it.

    Raises:
        LossNotFinite: if the loss of a seed is not finite.
        Interrupted: once `stop()` is true.
    """
    task = program.task
    assert program.keep_best is not None
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
            for batch in program.batches(states, data):
                if stop():
                    raise Interrupted("stopped while training")
                states = program.advance(states, *batch)
            epoch = course.epochs + 1
            program.require_finite(states, seeds, epoch)
            records = program.records(states, data, seeds, epoch)
            improved = course.add(records, epoch * task.steps_per_epoch, always=choose == "last")
            best = program.keep_best(best, states.evaluated, jnp.asarray(improved))
            states = program.finish_epoch(states, records)
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


def name_seeds(seeds: Sequence[int]) -> str:
    """Return `seed 3`, `seeds 0–7` or `seeds 0, 2, 5`."""
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    consecutive = list(seeds) == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"seeds {seeds[0]}–{seeds[-1]}" if consecutive else f"seeds {', '.join(map(str, seeds))}"
