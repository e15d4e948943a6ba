"""The checkpoint of each seed that a run evaluates."""

from __future__ import annotations

import dataclasses

from hqnn_jax.errors import CheckpointError
from hqnn_jax.evaluation.cross_dataset import Trained
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.stages import Stage, Stages
from hqnn_jax.training.checkpoints import Checkpoints
from hqnn_jax.training.growth import saved_circuit_size
from hqnn_jax.training.history import read_history
from hqnn_jax.training.state import TrainState


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The checkpoint of a seed that is evaluated, and the stage it was saved in."""

    seed: int
    stage: Stage
    state: TrainState

    @property
    def size(self) -> int:
        """The circuit's number of layers or qubits."""
        return self.stage.setup.config.model.circuit.size

    @property
    def epoch(self) -> int:
        """How many epochs it was trained."""
        return int(self.state.step) // self.stage.task.steps_per_epoch

    @property
    def trained(self) -> Trained:
        """What is evaluated."""
        key = self.stage.setup.evaluation_key(self.seed, "test")
        return Trained(self.seed, self.stage.evaluation_task, self.state.evaluated, key)


def choose_checkpoint(stages: Stages, folder: RunFolder, seed: int) -> Chosen:
    """Read the checkpoint of a seed that is evaluated.

    Raises:
        CheckpointError: where there is none, or it cannot be read.
    """
    setup, path = stages.setup, folder.checkpoints(seed)
    with Checkpoints(path, setup.description(seed)) as checkpoints:
        step = checkpoints.evaluated_step(setup.config.evaluation.checkpoint)
        if step is None:
            raise CheckpointError(
                f"{path}: no checkpoint to evaluate; train the run first with --resume"
            )
        circuit, history = setup.config.model.circuit, read_history(folder.history, seed)
        stage = stages.stage(saved_circuit_size(circuit, history, setup.epochs(step)))
        return Chosen(seed, stage, checkpoints.restore(step, stage.initial_state(seed)))
