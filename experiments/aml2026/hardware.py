"""The trained circuits of a finished run of aml2026, to be evaluated on a backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from jaxtyping import Array, Float, Int
from pydantic import BaseModel

from hqnn_jax import commands
from hqnn_jax.circuits import Circuit
from hqnn_jax.config.hardware import FineTuningConfig, ImagesConfig
from hqnn_jax.data.loading import load_pool
from hqnn_jax.data.pool import ImagePool
from hqnn_jax.errors import DataError, HardwareError, RunFolderError
from hqnn_jax.experiments.aml2026.cells import StoredCell
from hqnn_jax.experiments.aml2026.circuits import vqc_circuit, vqc_data
from hqnn_jax.experiments.aml2026.data import (
    SampledData,
    pool_features,
    sample_positions,
    sampled_data,
)
from hqnn_jax.experiments.aml2026.report import LABELS
from hqnn_jax.experiments.aml2026.study import (
    CIRCUIT_ARMS,
    Aml2026Config,
    pool_fingerprint,
)
from hqnn_jax.files import read_json, unexpected
from hqnn_jax.hardware_evaluation.images import choose_images
from hqnn_jax.hardware_evaluation.trained import Samples, StoredPredictions, TrainedCircuit
from hqnn_jax.progress import Progress

DEFAULT_ARM = "vqc_adam"
# Rounding may turn the sign of an output that is closer to zero.
_ROUNDING = 1e-4


def load_vqc(
    folder: Path,
    *,
    arm: str = DEFAULT_ARM,
    size: int | None = None,
    seed: int | None = None,
    images: ImagesConfig,
    fine_tuning: FineTuningConfig | None,
    progress: Progress,
    data_dir: Path | None = None,
) -> TrainedCircuit:
    """Return a trained circuit of `python -m experiment paper aml2026 --out FOLDER`.

    The images' angles are computed anew, and with them what the circuit predicts for the test
    images, which must be what the run has stored.

    Args:
        folder: FOLDER.
        arm: one of `CIRCUIT_ARMS`.
        size: images per class; None for the largest.
        seed: None for the first.
        images: which of the seed's test or training images; circuits have no validation split.
        fine_tuning: None where no training images are needed.
        data_dir: where the dataset is, if not where it was.

    Raises:
        RunFolderError: for another folder, or weights that are not stored.
        HardwareError: for an arm, size, seed or split that is not there.
        DataError: where the dataset is missing, or another than the one trained on.
    """
    run = _FinishedStudy.load(folder, data_dir)
    cell = run.cell(arm, size)
    place = run.place_of(seed)
    if images.split == "validation":
        raise HardwareError(
            "images.split: circuits of aml2026 are trained on the validation images, too; expected "
            "test or train"
        )
    one = _OneSeed.of(run, cell, place, progress)
    one.check_predictions()
    chosen = choose_images(one.labels(images.split), images.count, images.stratified, images.seed)
    evaluated = one.samples(images.split, chosen)
    training = None
    if fine_tuning is not None:
        count = fine_tuning.iterations * fine_tuning.batch_size
        drawn = choose_images(one.labels("train"), count, True, fine_tuning.seed)
        training = one.samples("train", drawn)
    # What the run predicted for its training images is not stored.
    stored = one.predictions(evaluated) if images.split == "test" else None
    return TrainedCircuit(
        name=one.name,
        description=one.description,
        circuit=one.circuit,
        weights=one.weights,
        classify=classify,
        evaluated=evaluated,
        training=training,
        class_names=one.pool.class_names,
        dataset=one.dataset(images.split),
        stored=stored,
    )


def classify(values: Float[Array, "batch outputs"]) -> Float[Array, "batch 2"]:
    """Return logits (-z, z) of z = ⟨Z_0⟩: class 1 is predicted where z is positive."""
    return jnp.stack([-values[:, 0], values[:, 0]], axis=1)


class _StoredResults(BaseModel):
    """What is needed of `results.json`; it has more."""

    cells: list[StoredCell]


@dataclass(frozen=True)
class _FinishedStudy:
    """What a finished run has left: its configuration and its cells."""

    folder: Path
    config: Aml2026Config
    cells: Sequence[Mapping[str, Any]]

    @classmethod
    def load(cls, folder: Path, data_dir: Path | None) -> _FinishedStudy:
        """Read `results.json`."""
        file = folder / "results.json"
        paper = commands.written("paper", "aml2026", "--out", "DIR")
        expected = f"expected the folder of a finished {paper}"
        results = read_json(file, RunFolderError, expected)
        if results.get("paper") != "aml2026":
            raise RunFolderError(f"{file}: holds no results of aml2026; {expected}")
        try:
            config = Aml2026Config.model_validate(results["config"])
        except (KeyError, pydantic.ValidationError) as error:
            raise RunFolderError(
                f"{file}: its configuration is not one of this version; run the paper again"
            ) from error
        wrong = unexpected(results, _StoredResults)
        if wrong is not None:
            raise RunFolderError(
                f"{file}: {wrong}; run the same `paper aml2026` command again, which writes it anew"
            )
        for cell in results["cells"]:
            per_seed = (cell[key] for key in ("predictions", "labels", "weights") if key in cell)
            if any(len(values) != len(config.seeds) for values in per_seed):
                raise RunFolderError(
                    f"{file}: {cell['arm']} has not one result per seed; run the same `paper "
                    "aml2026` command again, which writes it anew"
                )
        moved = {"dataset": config.dataset.with_data_in(data_dir)}
        return cls(folder, config.model_copy(update=moved), results["cells"])

    def cell(self, arm: str, size: int | None) -> Mapping[str, Any]:
        """The results of an arm with a circuit at one size, the largest if None."""
        circuits = [cell for cell in self.cells if cell["arm"] in CIRCUIT_ARMS]
        known = list(dict.fromkeys(cell["arm"] for cell in circuits))
        if arm not in known:
            raise HardwareError(
                f"{self.folder}: {arm!r} is none of the arms with a circuit that were run; "
                f"expected {' or '.join(known) or f'a run with {DEFAULT_ARM} among its arms'}"
            )
        by_size = {cell["size"]: cell for cell in circuits if cell["arm"] == arm}
        wanted = max(by_size) if size is None else size
        if wanted not in by_size:
            raise HardwareError(
                f"{self.folder}: {arm} was not run with {wanted} images per class; expected "
                f"{' or '.join(map(str, sorted(by_size)))}"
            )
        if "weights" not in by_size[wanted]:
            raise RunFolderError(
                f"{self.folder}: the weights of {arm} with {wanted} images per class are not "
                "stored; run the same `paper aml2026` command again, which computes them"
            )
        return by_size[wanted]

    def place_of(self, seed: int | None) -> int:
        """Position of a seed among those of the run, that of the first if None."""
        seeds = self.config.seeds
        if seed is not None and seed not in seeds:
            raise HardwareError(
                f"{self.folder}: seed {seed} was not run; expected one of "
                f"{', '.join(map(str, seeds))}"
            )
        return 0 if seed is None else seeds.index(seed)


@dataclass(frozen=True, eq=False)
class _OneSeed:
    """The circuit of one seed, and its images.

    Attributes:
        config: of the run.
        cell: results of the arm, for all seeds.
        place: of the seed in them.
        pool: all images of the dataset.
        data: the samples of this seed alone, as the arm's circuit is given them.
    """

    config: Aml2026Config
    cell: Mapping[str, Any]
    place: int
    pool: ImagePool
    data: SampledData

    @classmethod
    def of(
        cls, run: _FinishedStudy, cell: Mapping[str, Any], place: int, progress: Progress
    ) -> _OneSeed:
        """Load the images and compute the angles."""
        config = run.config
        with progress.task("loading the images"):
            pool = load_pool(config.dataset)
        seeds = (config.seeds[place],)
        positions = sample_positions(pool.labels, cell["size"], seeds, config.sampling)
        with progress.task("angles of the images"):
            features = pool_features(pool, [positions])
        most_images = 2 * cell["size"]
        data = sampled_data(pool, features, positions, seeds, config.num_components, most_images)
        return cls(config, cell, place, pool, vqc_data(cell["arm"], data, config.vqc))

    @property
    def name(self) -> str:
        return f"{LABELS[self.cell['arm']]}, {self.cell['size']} images per class"

    @property
    def description(self) -> str:
        return (
            f"{self.config.num_components} principal components of 20 features of the image; "
            f"circuit aml2026, {self.circuit.num_qubits} qubits, {self.circuit.num_weights} weights"
        )

    @property
    def circuit(self) -> Circuit:
        return vqc_circuit(self.config.num_components, self.config.vqc.circuit_reps)

    @property
    def weights(self) -> Float[np.ndarray, "..."]:
        flat = np.asarray(self.cell["weights"][self.place], np.float64)
        if flat.size != self.circuit.num_weights:
            raise RunFolderError(
                f"{self.name}: has {flat.size} weights, expected {self.circuit.num_weights}; "
                "run the same `paper aml2026` command again in another --out"
            )
        return flat.reshape(self.circuit.weights_shape)

    def labels(self, split: str) -> Int[np.ndarray, " split"]:
        return np.asarray(getattr(self.data.labels, split)[0], np.int64)

    def samples(self, split: str, positions: Int[np.ndarray, " images"]) -> Samples:
        angles = getattr(self.data.angles, split)[0][positions]
        return Samples(angles[None].astype(np.float64), self.labels(split)[positions], positions)

    @cached_property
    def test_outputs(self) -> Float[np.ndarray, "test 1"]:
        """Exact outputs of all test images, in the precision they were predicted with."""
        angles = jnp.asarray(self.data.angles.test[0])
        return np.asarray(self.circuit.to_jax()(jnp.asarray(self.weights, jnp.float32), angles))

    def check_predictions(self) -> None:
        """Raise DataError where images or predictions are not those of the run."""
        found, stored = self.test_outputs[:, 0], np.asarray(self.cell["predictions"][self.place])
        labels = np.asarray(self.cell["labels"][self.place])
        same = (
            np.array_equal(labels, self.labels("test"))
            and stored.shape == found.shape
            and not np.any(((found > 0) != (stored > 0)) & (np.abs(found) > _ROUNDING))
        )
        if not same:
            raise DataError(
                f"{self.pool.name}: the circuit does not predict for these images what "
                f"{self.cell['arm']} has stored for seed {self.data.seeds[0]}; expected the "
                "dataset it was trained on (or run the paper again)"
            )

    def predictions(self, chosen: Samples) -> StoredPredictions:
        """What the circuit predicts for some of the test images without noise."""
        logits = classify(jnp.asarray(self.test_outputs[chosen.positions]))
        return StoredPredictions(
            name=self.name,
            description=self.description,
            probabilities=np.asarray(jax.nn.softmax(logits), np.float64),
            labels=chosen.labels,
            positions=chosen.positions,
            class_names=self.pool.class_names,
            dataset=self.dataset("test"),
        )

    def dataset(self, split: str) -> Mapping[str, Any]:
        return {
            "name": self.pool.name,
            "fingerprint": pool_fingerprint(self.pool),
            "split": split,
            "synthetic": self.pool.synthetic,
            "images": len(self.labels(split)),
        }
