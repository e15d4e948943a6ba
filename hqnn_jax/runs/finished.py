"""Reading the folder of a finished run."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Integer, UInt8

from hqnn_jax import commands
from hqnn_jax.config import Config
from hqnn_jax.config.loading import load_config
from hqnn_jax.data.dataset import SPLIT_NAMES
from hqnn_jax.errors import RunFolderError
from hqnn_jax.files import read_arrays, read_bytes, read_json
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.stored_metrics import read_metrics, several_labels
from hqnn_jax.training.history import read_history


@dataclass(frozen=True)
class Predictions:
    """Predictions of every seed, and the test images the report shows.

    Attributes:
        seeds: int[seeds].
        probabilities, labels: split -> float[seeds, samples, classes] and int[samples], or 1 and 0
            [samples, classes] where an image has several labels.
        sample_images: uint8[images, height, width, channels] of the test split.
        sample_indices: their positions in the test split.
    """

    seeds: Int[np.ndarray, " seeds"]
    probabilities: Mapping[str, Float[np.ndarray, "seeds samples classes"]]
    labels: Mapping[str, Int[np.ndarray, "samples *labels"]]
    sample_images: UInt8[np.ndarray, "images height width channels"]
    sample_indices: Int[np.ndarray, " images"]


@dataclass(frozen=True)
class StoredExplanations:
    """Why the model of the first seed gives some test images their class; `explanations.npz`.

    Attributes:
        images: uint8 test images, `indices` their positions in the test split.
        labels, predicted: true class, and the class predicted and explained.
        cams: Grad-CAM, not negative, at the resolution of the feature maps.
        attributions: integrated gradients in logits, summed over the channels, at the resolution
            the network sees.
        logit_differences: logit of the image minus that of its mean colour.
    """

    images: UInt8[np.ndarray, "images height width channels"]
    indices: Integer[np.ndarray, " images"]
    labels: Integer[np.ndarray, " images"]
    predicted: Integer[np.ndarray, " images"]
    cams: Float[np.ndarray, "images map_height map_width"]
    attributions: Float[np.ndarray, "images size size"]
    logit_differences: Float[np.ndarray, " images"]

    def completeness_error(self) -> float:
        """Return the largest gap between attributions and logit difference, as a share of it.

        Relative to the largest difference, since a small one is no yardstick.
        """
        gaps = np.abs(self.attributions.sum((1, 2)) - self.logit_differences)
        return float(gaps.max() / max(np.abs(self.logit_differences).max(), 1e-12))


@dataclass(frozen=True)
class FinishedRun:
    """Everything a finished run has left in its folder.

    Attributes:
        files: the folder and the paths in it.
        config, config_text: `config.yaml`, read and as it is written.
        metrics: `metrics.json`.
        history: the lines of `history.jsonl`, one per seed and epoch.
        predictions: `predictions.npz`.
        explanations: `explanations.npz`, None where no prediction was explained.
        environment: `environment.json`.
    """

    files: RunFolder
    config: Config
    config_text: str
    metrics: Mapping[str, Any]
    history: tuple[Mapping[str, Any], ...]
    predictions: Predictions
    explanations: StoredExplanations | None
    environment: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.files.path.resolve().name

    @property
    def several_labels(self) -> bool:
        """Whether an image has any number of labels, not one class."""
        return several_labels(self.metrics)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in the order of all that is of several."""
        return tuple(entry["seed"] for entry in self.metrics["seeds"])


def load_run(path: Path, data_dir: Path | None = None, *, any_task: bool = False) -> FinishedRun:
    """Read and check the folder of a finished run.

    Args:
        path: the folder.
        data_dir: where the datasets are, if not where they were.
        any_task: whether the run may be on a set of several labels an image.

    Raises:
        RunFolderError: when `path` is no such folder, the run has not finished, or a file is
            missing, damaged or lacks an entry.
        ConfigurationError: for an unusable `config.yaml`.
    """
    files = RunFolder(path)
    metrics = read_metrics(files, any_task=any_task)
    again = f"{commands.written('evaluate', path)} writes it anew"
    text = read_bytes(files.config, RunFolderError, "expected the folder of a finished run")
    return FinishedRun(
        files=files,
        config=load_config(files.config).with_data_in(data_dir),
        config_text=text.decode(errors="replace"),
        metrics=metrics,
        history=tuple(read_history(files.history, finished=True)),
        predictions=_read_predictions(files.predictions, metrics, again),
        explanations=(
            _read_explanations(files.explanations, metrics, again)
            if files.explanations.exists()
            else None
        ),
        environment=read_json(files.environment, RunFolderError, again),
    )


def _read_predictions(file: Path, metrics: Mapping[str, Any], advice: str) -> Predictions:
    labels_of_each = several_labels(metrics)
    expected: dict[str, Any] = {
        "seeds": Int[np.ndarray, " seeds"],
        "sample_images": UInt8[np.ndarray, "images height width channels"],
        "sample_indices": Int[np.ndarray, " images"],
    }
    for split in SPLIT_NAMES:
        expected[f"{split}_probabilities"] = Float[np.ndarray, f"seeds {split}_images classes"]
        each = " classes" if labels_of_each else ""
        expected[f"{split}_labels"] = Int[np.ndarray, f"{split}_images{each}"]
    arrays = read_arrays(file, RunFolderError, advice, expected)
    num_classes = len(metrics["dataset"]["class_names"])
    largest = 2 if labels_of_each else num_classes
    for split in SPLIT_NAMES:
        labels, probabilities = arrays[f"{split}_labels"], arrays[f"{split}_probabilities"]
        shape = (len(metrics["seeds"]), len(labels), num_classes)
        if probabilities.shape != shape:
            raise RunFolderError(
                f"{file}: {split}_probabilities: expected shape {shape} (seeds, samples, classes) "
                f"as metrics.json has them, got {probabilities.shape}; {advice}"
            )
        # A NaN is in no range.
        if not np.all((probabilities >= 0) & (probabilities <= 1 + 1e-3)):
            raise RunFolderError(
                f"{file}: {split}_probabilities: expected probabilities, not all of them are; "
                f"{advice}"
            )
        _require_below(file, f"{split}_labels", labels, largest, advice)
    _require_below(file, "sample_indices", arrays["sample_indices"], len(labels), advice)
    return Predictions(
        seeds=arrays["seeds"],
        probabilities={split: arrays[f"{split}_probabilities"] for split in SPLIT_NAMES},
        labels={split: arrays[f"{split}_labels"] for split in SPLIT_NAMES},
        sample_images=arrays["sample_images"],
        sample_indices=arrays["sample_indices"],
    )


def _read_explanations(file: Path, metrics: Mapping[str, Any], advice: str) -> StoredExplanations:
    expected = typing.get_type_hints(StoredExplanations)
    arrays = read_arrays(file, RunFolderError, advice, expected)
    for name in ("labels", "predicted"):
        num_classes = len(metrics["dataset"]["class_names"])
        _require_below(file, name, arrays[name], num_classes, advice)
    return StoredExplanations(**{name: arrays[name] for name in expected})


def _require_below(file: Path, name: str, values: np.ndarray, bound: int, advice: str) -> None:
    outside = values[(values < 0) | (values >= bound)]
    if outside.size:
        raise RunFolderError(
            f"{file}: {name}: expected numbers from 0 to {bound - 1}, got {outside[0]}; {advice}"
        )
