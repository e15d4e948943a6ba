"""Computing cells: arms that are trained alike, all their seeds in one program."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from hqnn_jax.ablation.cells import Cell, Claim, chunks_of
from hqnn_jax.ablation.plan import Arm
from hqnn_jax.config import Config
from hqnn_jax.data.records import RecordImages
from hqnn_jax.errors import TrainingError
from hqnn_jax.evaluation.metrics import RECORDED_METRICS, point_estimates
from hqnn_jax.files import locked
from hqnn_jax.models.pure import Variables
from hqnn_jax.progress import Progress
from hqnn_jax.runs.finished import load_run
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.run import evaluate, train
from hqnn_jax.runs.setup import Setup, describe_dataset, load_next, load_setup
from hqnn_jax.runs.stages import Stages
from hqnn_jax.training.memory import available_memory
from hqnn_jax.training.prediction import Predictor, averaged_over_views, of_seeds
from hqnn_jax.training.program import Program, TrainingData, compile_program
from hqnn_jax.training.seeds import TrainedSeeds, fit_seeds, name_seeds
from hqnn_jax.training.seeds_checkpoint import SeedsCheckpoint
from hqnn_jax.training.state import TrainState
from hqnn_jax.training.step import Task


@dataclasses.dataclass(frozen=True)
class CellWork:
    """Arms of one training key, and the seeds whose cells are missing; see `cells.Claim`."""

    arms: tuple[Arm, ...]
    claim: Claim

    def __str__(self) -> str:
        """Return how messages call it."""
        more = f" and {len(self.arms) - 1} other conditions" if len(self.arms) > 1 else ""
        return f"{self.arms[0].label}{more}: {name_seeds(self.claim.seeds)}"


@dataclasses.dataclass(frozen=True)
class Finished:
    """Cells of the seeds of one program.

    Attributes:
        cells: the arm, the seed and the content of the file of each.
        size: seeds in one program at most, which the study's chunks are made with.
    """

    cells: tuple[tuple[Arm, int, bytes], ...]
    size: int


class _Start(NamedTuple):
    """Seeds before their first step: states and data, with a leading seed axis."""

    seeds: tuple[int, ...]
    states: TrainState
    data: TrainingData

    @classmethod
    def of(cls, setup: Setup, task: Task, seeds: tuple[int, ...]) -> _Start:
        states = setup.initial_states(task, seeds)
        return cls(seeds, states, setup.training_data_of_seeds(seeds))


class Worker:
    """Computes cells, and keeps the dataset it has loaded for the next work."""

    def __init__(
        self,
        progress: Progress,
        stop: Callable[[], bool],
        *,
        together: int | None = None,
        scratch: Callable[[Arm, int], Path],
    ):
        """Compute nothing yet.

        Args:
            progress: where progress is shown.
            stop: becomes true when work is to be left.
            together: seeds in one program at most; None for as many as memory allows.
            scratch: the folder of a run that cannot be trained together with others.
        """
        self.progress = progress
        self.stop = stop
        self.together = together
        self.scratch = scratch
        self._setup: Setup | None = None

    def perform(self, work: CellWork) -> Iterator[Finished]:
        """Yield the cells of a work as they are finished, one chunk of seeds at a time.

        Raises:
            HqnnError: of the kind that fits.
            TrainingError: if the seeds that are to be trained together need more memory than there
                is.
            Interrupted: once `stop()` is true.
        """
        setup = self._load(work.arms[0].config)
        streams = any(isinstance(images, RecordImages) for images in setup.inputs.values())
        if streams or setup.config.model.circuit.growth is not None:
            for seed in work.claim.seeds:
                yield Finished(tuple(self._alone(work, seed)), 1)
        else:
            yield from self._together(work, setup)

    def _load(self, config: Config) -> Setup:
        previous = self._setup
        self._setup = load_next(previous, config) if previous else load_setup(config, self.progress)
        return self._setup

    def _together(self, work: CellWork, setup: Setup) -> Iterator[Finished]:
        """Train as many seeds in one program as was decided, or as fit."""
        claim = work.claim
        task = setup.task(*setup.initial_model(claim.seeds[0]))
        chunks = claim.chunks
        if not claim.decided:
            (seeds,) = chunks
            chunks = chunks_of(seeds, self.together or len(seeds))
        start = _Start.of(setup, task, chunks[0])
        size = len(start.seeds)
        program = _compile(setup, task, start)
        if claim.decided:
            _require_memory(program, size)
        elif (fitting := _fitting(program, size)) < size:
            size = fitting
            chunks = chunks_of(seeds, size)
            self.progress.line(f"{work}: {size} in one program fit into memory")
        programs = {len(start.seeds): program}
        for seeds in chunks:
            if seeds != start.seeds:
                start = _Start.of(setup, task, seeds)
            if len(seeds) not in programs:
                programs[len(seeds)] = _compile(setup, task, start)
            scratch = self.scratch(work.arms[0], seeds[0])
            checkpoint = SeedsCheckpoint(scratch.with_suffix(".seeds"))
            cells = self._chunk(work, setup, programs[len(seeds)], start, checkpoint)
            yield Finished(tuple(cells), size)
            checkpoint.delete()  # not before the cells are stored

    def _chunk(
        self,
        work: CellWork,
        setup: Setup,
        program: Program,
        start: _Start,
        checkpoint: SeedsCheckpoint,
    ) -> list[tuple[Arm, int, bytes]]:
        """Train some seeds together and evaluate them in every arm."""
        seeds = start.seeds
        trained = fit_seeds(
            program,
            start.states,
            start.data,
            seeds,
            choose=setup.config.evaluation.checkpoint,
            progress=self.progress,
            stop=self.stop,
            checkpoint=checkpoint,
        )
        cells = []
        for arm in work.arms:
            of_arm = dataclasses.replace(setup, config=arm.config)
            started = time.perf_counter()
            probabilities = _evaluate(of_arm, program, trained.variables, seeds)
            seconds = {
                "train_s": trained.seconds / len(seeds),
                "compile_s": program.compile_seconds,
                "evaluate_s": (time.perf_counter() - started) / len(seeds),
                "seeds_together": len(seeds),
            }
            for index, seed in enumerate(seeds):
                own = {name: values[:, index] for name, values in probabilities.items()}
                record = _record(of_arm, trained, index, seed, own)
                cell = _cell(of_arm, {**record, "time": seconds}, own["test"])
                cells.append((arm, seed, cell.to_bytes()))
        return cells

    def _alone(self, work: CellWork, seed: int) -> list[tuple[Arm, int, bytes]]:
        """Train one seed as a run of its own: its circuit grows, or its images are streamed.

        It is trained as the first arm says, and evaluated again in the same folder as each other.
        """
        first, *others = work.arms
        folder = RunFolder(self.scratch(first, seed))
        if folder.metrics.exists():
            # Killed before its cells were stored; it may have been evaluated for another arm since.
            self._evaluate_again(_of_seed(first, seed), folder)
        else:
            resume = folder.was_trained()
            train(_of_seed(first, seed), folder, resume=resume, progress=self.progress)
        cells = [(first, seed, _cell_of_run(folder).to_bytes())]
        for arm in others:
            self._evaluate_again(_of_seed(arm, seed), folder)
            cells.append((arm, seed, _cell_of_run(folder).to_bytes()))
        return cells

    def _evaluate_again(self, config: Config, folder: RunFolder) -> None:
        stages = Stages(self._load(config))
        with locked(folder.path):
            evaluate(stages, folder, compile_seconds=0.0, others=())


def _compile(setup: Setup, task: Task, start: _Start) -> Program:
    with setup.progress.task("compiling"):
        return compile_program(
            task,
            start.states,
            start.data,
            setup.config.evaluation.batch_size,
            setup.insights(task),
        )


def _of_seed(arm: Arm, seed: int) -> Config:
    """Return the configuration of one seed of an arm, with nothing evaluated that is no cell's."""
    evaluation = {"explained_images": 0, "cross_datasets": ()}
    return arm.config.model_copy(
        update={
            "seed": seed,
            "seeds": 1,
            "evaluation": arm.config.evaluation.model_copy(update=evaluation),
        }
    )


def _cell_of_run(folder: RunFolder) -> Cell:
    """Return the cell of a finished run of one seed."""
    run = load_run(folder.path)
    (entry,) = run.metrics["seeds"]
    record = {
        "seed": entry["seed"],
        "best_epoch": entry["best_epoch"],
        "parameters": run.metrics["parameters"],
        "history": list(run.history),
        "time": {**entry["time"], "seeds_together": 1},
        **{
            split: {metric: entry[split][metric] for metric in RECORDED_METRICS}
            for split in ("validation", "test")
        },
        "dataset": run.metrics["dataset"],
    }
    return Cell(
        record,
        run.predictions.probabilities["test"][0].astype(np.float32),
        run.predictions.labels["test"].astype(np.int32),
    )


def _fitting(program: Program, num_seeds: int) -> int:
    """Return how many of the seeds a program is for fit into memory together, at least one."""
    available = available_memory(cpu_share=0.5)
    if program.memory <= available:
        return num_seeds
    return max(1, int(num_seeds * available / program.memory))


def _require_memory(program: Program, num_seeds: int) -> None:
    """Raise if a program does not fit whose size was decided when the study began."""
    available = available_memory(cpu_share=1.0)
    if program.memory > available:
        raise TrainingError(
            f"{num_seeds} seeds in one program, as the study was begun with, need "
            f"{program.memory / 2**30:.3g} GiB of memory, and {available / 2**30:.3g} GiB are "
            "free; fewer would give other digits: free memory, or begin anew in another --out with "
            "--together"
        )


def _evaluate(
    setup: Setup, program: Program, variables: Variables, seeds: Sequence[int]
) -> dict[str, Any]:
    """Return the probabilities of validation and test images, [images, seeds, classes]."""
    options, evaluated = setup.config.evaluation, setup.evaluation_task(program.task)
    keys = {split: _shot_keys(setup, seeds, split) for split in ("validation", "test")}
    predictor = program.predictor
    if evaluated is not program.task or options.test_time_augmentation != "none":
        predict = averaged_over_views(evaluated.predict, options.test_time_augmentation)
        inputs = setup.inputs["test"]
        size = min(options.batch_size, len(inputs))
        predictor = Predictor.compile(of_seeds(predict), variables, inputs, size, keys["test"])
    return {
        split: predictor(variables, setup.inputs[split], key=key) for split, key in keys.items()
    }


def _shot_keys(setup: Setup, seeds: Sequence[int], split: str) -> Key[Array, "seeds"] | None:
    keys = [k for seed in seeds if (k := setup.evaluation_key(seed, split)) is not None]
    return jnp.stack(keys) if keys else None


def _record(
    setup: Setup,
    trained: TrainedSeeds,
    index: int,
    seed: int,
    probabilities: dict[str, np.ndarray],
) -> dict[str, Any]:
    splits = setup.dataset.splits()
    bins = setup.config.evaluation.calibration_bins
    names = setup.dataset.class_names
    own = jax.tree.map(lambda leaf: leaf[index], trained.variables)
    return {
        "seed": seed,
        "best_epoch": trained.best_epochs[index],
        "parameters": setup.trained_parameters(own),
        "history": [record for record in trained.history if record["seed"] == seed],
        **{
            split: {
                metric: value
                for metric, value in point_estimates(
                    values, splits[split].labels, names, bins
                ).items()
                if metric in RECORDED_METRICS
            }
            for split, values in probabilities.items()
        },
    }


def _cell(setup: Setup, record: dict[str, Any], probabilities: np.ndarray) -> Cell:
    return Cell(
        {**record, "dataset": describe_dataset(setup.dataset)},
        np.ascontiguousarray(probabilities, np.float32),
        setup.dataset.test.labels.astype(np.int32),
    )
