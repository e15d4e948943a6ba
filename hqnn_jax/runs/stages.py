"""A study at each size its circuit takes while it grows; without growth there is one."""

from __future__ import annotations

import dataclasses
import functools

from hqnn_jax.progress import Progress
from hqnn_jax.runs.setup import Study
from hqnn_jax.training.growth import with_circuit_size
from hqnn_jax.training.prediction import Predictor, averaged_over_views
from hqnn_jax.training.program import Program, TrainingData, compile_program
from hqnn_jax.training.state import TrainState
from hqnn_jax.training.step import Task


@dataclasses.dataclass(frozen=True)
class Stage:
    """A study whose circuit has one size, and the static structure of its training."""

    study: Study
    task: Task

    @classmethod
    def of(cls, study: Study, size: int) -> Stage:
        """Return the stage of a study at this number of layers or qubits."""
        sized = dataclasses.replace(study, config=with_circuit_size(study.config, size))
        return cls(sized, sized.task(*sized.initial_model(study.config.seed)))

    def initial_state(self, seed: int) -> TrainState:
        """Return the state of a seed before its first step."""
        return self.study.initial_state_of(self.task, seed)

    @functools.cached_property
    def evaluation_task(self) -> Task:
        """The task with the circuit as it is evaluated."""
        return self.study.evaluation_task(self.task)


class Stages:
    """The stages of a study, each built and compiled when it is first asked for."""

    def __init__(self, study: Study, progress: Progress):
        """Build nothing yet."""
        self.study = study
        self.progress = progress
        self.compile_seconds = 0.0
        self.stage = functools.cache(lambda size: Stage.of(study, size))
        self.program = functools.cache(self._compile)
        self.predictor = functools.cache(self._compile_predictor)
        self.data = functools.lru_cache(maxsize=1)(study.training_data)

    def _compile(self, size: int) -> Program:
        stage, options = self.stage(size), self.study.config.evaluation
        data: TrainingData = self.data(self.study.config.seed)
        with self.progress.task("compiling"):
            program = compile_program(
                stage.task,
                stage.initial_state(self.study.config.seed),
                data,
                options.batch_size,
                stage.study.insights(stage.task),
            )
        self.compile_seconds += program.compile_seconds
        return program

    def _compile_predictor(self, size: int) -> Predictor:
        """Compile the evaluation of the test split and of all others of its shape."""
        stage, options = self.stage(size), self.study.config.evaluation
        predict = averaged_over_views(stage.evaluation_task.predict, options.test_time_augmentation)
        inputs = self.study.inputs["test"]
        key = self.study.evaluation_key(self.study.config.seed, "test")
        state = stage.initial_state(self.study.config.seed)
        with self.progress.task("compiling the evaluation"):
            return Predictor.compile(
                predict, state.evaluated, inputs, min(options.batch_size, len(inputs)), key
            )
