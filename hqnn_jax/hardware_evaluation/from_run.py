"""The trained circuit of a finished run, and the angles it is given for chosen images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hqnn_jax.circuits import Circuit
from hqnn_jax.config import CIRCUIT_MIDDLES, Config
from hqnn_jax.config.hardware import HardwareConfig
from hqnn_jax.errors import HardwareError
from hqnn_jax.hardware_evaluation.fine_tuning import balanced_positions
from hqnn_jax.hardware_evaluation.images import choose_images
from hqnn_jax.hardware_evaluation.trained import Samples, StoredPredictions, TrainedCircuit
from hqnn_jax.models.middles import QuantumLayer, build_middle_circuit
from hqnn_jax.models.pure import Variables
from hqnn_jax.progress import Progress
from hqnn_jax.runs.chosen import choose_checkpoint
from hqnn_jax.runs.described import brief_model
from hqnn_jax.runs.finished import FinishedRun
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.setup import load_setup
from hqnn_jax.runs.stages import Stage, Stages
from hqnn_jax.training.prediction import Predictor, dihedral_views


@dataclass(frozen=True)
class RunSource:
    """A finished run, one of its seeds, and the images chosen from one of its splits."""

    run: FinishedRun
    options: HardwareConfig
    seed: int

    @classmethod
    def of(cls, run: FinishedRun, options: HardwareConfig) -> RunSource:
        """Choose a seed and images; those and the checkpoint are read when they are needed.

        Raises:
            HardwareError: for a seed that was not trained.
        """
        seeds = run.config.seed_values()
        seed = seeds[0] if options.seed is None else options.seed
        if seed not in seeds:
            raise HardwareError(
                f"{run.files.path}: seed {seed} was not trained; expected one of "
                f"{', '.join(map(str, seeds))}"
            )
        return cls(run, options, seed)

    @property
    def config(self) -> Config:
        """The configuration of the run."""
        return self.run.config

    @property
    def has_circuit(self) -> bool:
        """Whether the middle is a circuit."""
        return self.config.model.middle in CIRCUIT_MIDDLES

    @cached_property
    def positions(self) -> Int[np.ndarray, " images"]:
        """Positions of the chosen images in their split."""
        images = self.options.images
        labels = self.run.predictions.labels[self.split]
        return choose_images(labels, images.count, images.stratified, images.seed)

    @property
    def split(self) -> str:
        """The split the images are of."""
        return self.options.images.split

    def stored_predictions(self) -> StoredPredictions:
        """Return what the run itself predicted for the chosen images."""
        predictions = self.run.predictions
        place = predictions.seeds.tolist().index(self.seed)
        described = self.run.metrics["dataset"]
        return StoredPredictions(
            name=self.run.name,
            description=_description(self.config),
            probabilities=np.asarray(
                predictions.probabilities[self.split][place][self.positions], np.float64
            ),
            labels=predictions.labels[self.split][self.positions],
            positions=self.positions,
            class_names=tuple(described["class_names"]),
            dataset={
                "name": described["name"],
                "fingerprint": described["fingerprint"],
                "synthetic": described["synthetic"],
                "split": self.split,
                "images": len(predictions.labels[self.split]),
            },
        )

    def trained_circuit(self, progress: Progress) -> TrainedCircuit:
        """Compute the angles of the chosen images, and of training images to fine-tune on.

        Raises:
            HardwareError: if the middle is classical.
            DataError, CheckpointError: … for what cannot be read.
        """
        if not self.has_circuit:
            raise HardwareError(
                f"{self.run.files.path}: model.middle is {self.config.model.middle!r}, there is no "
                f"circuit to run; expected a run with one of {', '.join(CIRCUIT_MIDDLES)}, and "
                "runs with classical middles in `beside`"
            )
        stages = Stages(load_setup(self.config, progress))
        chosen = choose_checkpoint(stages, RunFolder(self.run.files.path), self.seed)
        head = _Head(chosen.stage, chosen.state.evaluated, self.options)
        circuit = _ideal_circuit(chosen.stage.setup.config)
        with progress.task("angles of the chosen images"):
            evaluated = head.samples(
                self.split, self.positions, self.config.evaluation.test_time_augmentation
            )
        stored = self.stored_predictions()
        return TrainedCircuit(
            circuit=circuit,
            weights=head.weights,
            classify=head.classify,
            evaluated=evaluated,
            training=self._training(head),
            stored=stored if _is_ideal(self.config) else None,
            name=stored.name,
            description=stored.description,
            class_names=stored.class_names,
            dataset=stored.dataset,
        )

    def _training(self, head: _Head) -> Samples | None:
        """As many training images as fine-tuning can use, classes as equal as possible."""
        tuning = self.options.fine_tuning
        if tuning is None:
            return None
        labels = self.run.predictions.labels["train"]
        # One batch more for SPSA's calibration.
        size = min(len(labels), (tuning.iterations + 1) * tuning.batch_size)
        rng = np.random.default_rng(tuning.seed)
        return head.samples("train", np.sort(balanced_positions(labels, size, rng)), "none")


class _Head:
    """A trained model, from images to the circuit's features and from its outputs to logits."""

    def __init__(self, stage: Stage, variables: Variables, options: HardwareConfig):
        self.stage = stage
        self.variables = variables
        self.options = options
        self.model = stage.task.model
        middle = self.model.module(variables).middle
        assert isinstance(middle, QuantumLayer)
        self.weights: Float[np.ndarray, "..."] = np.asarray(middle.weights[...], np.float64)

    def classify(self, values: Float[Array, "batch outputs"]) -> Float[Array, "batch classes"]:
        return self.model.module(self.variables).classify(values)

    def samples(self, split: str, positions: Int[np.ndarray, " images"], views: str) -> Samples:
        setup = self.stage.setup
        inputs = jnp.asarray(setup.inputs[split][positions])
        shown = dihedral_views(inputs) if views == "dihedral" else [inputs]
        preprocessing = self.stage.task.preprocessing

        def angles(variables: Variables, batch: jax.Array) -> jax.Array:
            return self.model.module(variables).angles(preprocessing(batch))

        size = min(setup.config.evaluation.batch_size, len(positions))
        compute = Predictor.compile(angles, self.variables, shown[0], size)
        features = np.stack([compute(self.variables, view) for view in shown])
        labels = setup.dataset.splits()[split].labels[positions]
        return Samples(features.astype(np.float64), labels, positions)


def _ideal_circuit(config: Config) -> Circuit:
    circuit = config.model.circuit.model_copy(update={"noise": None})
    ideal = build_middle_circuit(config.model.model_copy(update={"circuit": circuit}))
    assert ideal is not None
    return ideal


def _is_ideal(config: Config) -> bool:
    """Whether what the run has stored are predictions of the ideal circuit."""
    evaluation = config.evaluation
    noise = evaluation.noise or config.model.circuit.noise
    return noise is None and evaluation.shots is None


def _description(config: Config) -> str:
    return "; ".join(brief_model(config.model))
