"""A set-up at each size its circuit takes while it grows; without growth there is one."""

from __future__ import annotations

import dataclasses
import functools

from hqnn_jax.runs.needs import check_needs
from hqnn_jax.runs.setup import Setup
from hqnn_jax.training.growth import with_circuit_size
from hqnn_jax.training.prediction import Predictor, averaged_over_views
from hqnn_jax.training.program import Program, TrainingData, compile_program
from hqnn_jax.training.state import TrainState
from hqnn_jax.training.step import Task


@dataclasses.dataclass(frozen=True)
class Stage:
    """A set-up whose circuit has one size, and the static structure of its training."""

    setup: Setup
    task: Task

    @classmethod
    def of(cls, setup: Setup, size: int) -> Stage:
        """Return the stage of a set-up at this number of layers or qubits."""
        sized = dataclasses.replace(setup, config=with_circuit_size(setup.config, size))
        return cls(sized, sized.task(*sized.initial_model(setup.config.seed)))

    def initial_state(self, seed: int) -> TrainState:
        """Return the state of a seed before its first step."""
        return self.setup.initial_state(self.task, seed)

    @functools.cached_property
    def evaluation_task(self) -> Task:
        """The task with the circuit as it is evaluated."""
        return self.setup.evaluation_task(self.task)


class Stages:
    """The stages of a set-up, each built and compiled when it is first asked for."""

    def __init__(self, setup: Setup):
        """Build nothing yet."""
        self.setup = setup
        self.compile_seconds = 0.0
        self.stage = functools.cache(lambda size: Stage.of(setup, size))
        self.program = functools.cache(self._compile)
        self.predictor = functools.cache(self._compile_predictor)
        self.data = functools.lru_cache(maxsize=1)(setup.training_data)

    def _compile(self, size: int) -> Program:
        stage, options = self.stage(size), self.setup.config.evaluation
        data: TrainingData = self.data(self.setup.config.seed)
        state = stage.initial_state(self.setup.config.seed)
        check = check_needs(stage.setup, state, data)
        with self.setup.progress.task("compiling"):
            program = compile_program(
                stage.task,
                state,
                data,
                options.batch_size,
                stage.setup.insights(stage.task),
                check,
            )
        self.compile_seconds += program.compile_seconds
        return program

    def _compile_predictor(self, size: int) -> Predictor:
        """Compile the evaluation of the test split and of all others of its shape."""
        stage, options = self.stage(size), self.setup.config.evaluation
        predict = averaged_over_views(stage.evaluation_task.predict, options.test_time_augmentation)
        inputs = self.setup.inputs["test"]
        key = self.setup.evaluation_key(self.setup.config.seed, "test")
        state = stage.initial_state(self.setup.config.seed)
        with self.setup.progress.task("compiling the evaluation"):
            return Predictor.compile(
                predict, state.evaluated, inputs, min(options.batch_size, len(inputs)), key
            )
