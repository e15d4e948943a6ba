"""Reading the folder of a finished run."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Int, Integer, UInt8

from hqnn_jax.config import Config
from hqnn_jax.config_loading import load_config
from hqnn_jax.errors import RunFolderError
from hqnn_jax.evaluation.metrics import SCALAR_METRICS
from hqnn_jax.evaluation.published import SPLITS
from hqnn_jax.run_folder import RunFolder

_Content = TypeVar("_Content")
_SECTIONS = (*SPLITS, "parameters", "time", "seeds", "dataset")
_SPLIT_KEYS = (*SCALAR_METRICS, "per_class", "confusion_matrix", "intervals")
_KEYS = {
    **dict.fromkeys(SPLITS, _SPLIT_KEYS),
    "parameters": ("backbone", "circuit", "classical", "total"),
    "time": ("compile_s", "train_s", "epoch_s"),
    "dataset": (
        "name",
        "synthetic",
        "class_names",
        "counts",
        "fingerprint",
        "shared_images",
        "licence",
        "citation",
    ),
}
_SEED_KEYS = ("seed", *SPLITS, "time", "best_epoch")
_HISTORY_KEYS = (
    "seed",
    "epoch",
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
)


@dataclass(frozen=True)
class Predictions:
    """Predictions of every seed, and the test images the report shows.

    **Attributes:**

    - `seeds`: int[seeds].
    - `probabilities`, `labels`: split -> float[seeds, samples, classes] and int[samples].
    - `sample_images`: uint8[images, height, width, channels] of the test split.
    - `sample_indices`: their positions in the test split.
    """

    seeds: Int[np.ndarray, " seeds"]
    probabilities: Mapping[str, Float[np.ndarray, "seeds samples classes"]]
    labels: Mapping[str, Int[np.ndarray, " samples"]]
    sample_images: UInt8[np.ndarray, "images height width channels"]
    sample_indices: Int[np.ndarray, " images"]


@dataclass(frozen=True)
class StoredExplanations:
    """Why the model of the first seed gives some test images their class; `explanations.npz`.

    **Attributes:**

    - `images`: uint8 test images, `indices` their positions in the test split.
    - `labels`, `predicted`: true class, and the class predicted and explained.
    - `cams`: Grad-CAM, not negative, at the resolution of the feature maps.
    - `attributions`: integrated gradients in logits, summed over the channels, at the resolution
      the network sees.
    - `logit_differences`: logit of the image minus that of its mean colour.
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

    **Attributes:**

    - `files`: the folder and the paths in it.
    - `config`, `config_text`: `config.yaml`, read and as it is written.
    - `metrics`: `metrics.json`.
    - `history`: the lines of `history.jsonl`, one per seed and epoch.
    - `predictions`: `predictions.npz`.
    - `explanations`: `explanations.npz`, None where no prediction was explained.
    - `environment`: `environment.json`.
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


def load_run(path: Path) -> FinishedRun:
    """Read and check the folder of a finished run.

    **Raises:** `RunFolderError` when `path` is no such folder, the run has not finished, or a file
    is missing, damaged or lacks an entry; `ConfigurationError` for an unusable `config.yaml`.
    """
    if not path.is_dir():
        raise RunFolderError(f"{path}: no such folder; expected the folder of a finished run")
    files = RunFolder(path)
    metrics = _read(files.metrics, _read_json)
    if not isinstance(metrics, dict) or metrics.get("status") != "finished":
        raise RunFolderError(
            f"{files.metrics}: the run is not finished; let it end or resume it first"
        )
    _check_metrics(files.metrics, metrics)
    config_text = _read(files.config, lambda file: file.read_text(encoding="utf-8"))
    predictions = _read(files.predictions, _read_predictions)
    _check_predictions(files.predictions, predictions, metrics)
    return FinishedRun(
        files=files,
        config=load_config(files.config),
        config_text=config_text,
        metrics=metrics,
        history=_read(files.history, _read_history),
        predictions=predictions,
        explanations=(
            _read(files.explanations, _read_explanations) if files.explanations.exists() else None
        ),
        environment=_read(files.environment, _read_json),
    )


def _read(file: Path, reader: Callable[[Path], _Content]) -> _Content:
    try:
        return reader(file)
    except FileNotFoundError as error:
        raise RunFolderError(
            f"{file}: missing; expected the folder of a finished run, or run it again"
        ) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise RunFolderError(f"{file}: cannot be read ({reason}); run it again") from error


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _read_history(file: Path) -> tuple[Mapping[str, Any], ...]:
    history = tuple(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    for number, line in enumerate(history, start=1):
        missing = [key for key in _HISTORY_KEYS if key not in line]
        if missing:
            raise ValueError(f"line {number} lacks {', '.join(missing)}")
    return history


def _read_predictions(file: Path) -> Predictions:
    with np.load(file, allow_pickle=False) as arrays:
        return Predictions(
            seeds=arrays["seeds"],
            probabilities={split: arrays[f"{split}_probabilities"] for split in SPLITS},
            labels={split: arrays[f"{split}_labels"] for split in SPLITS},
            sample_images=arrays["sample_images"],
            sample_indices=arrays["sample_indices"],
        )


def _read_explanations(file: Path) -> StoredExplanations:
    with np.load(file, allow_pickle=False) as arrays:
        names = [field.name for field in dataclasses.fields(StoredExplanations)]
        explanations = StoredExplanations(**{name: arrays[name] for name in names})
    lengths = {name: len(getattr(explanations, name)) for name in names}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"expected one number of images, got {lengths}")
    return explanations


def _check_keys(where: str, found: Any, expected: tuple[str, ...]) -> None:
    missing = [key for key in expected if not isinstance(found, dict) or key not in found]
    if missing:
        raise RunFolderError(f"{where}: lacks {', '.join(missing)}; run it again")


def _check_metrics(file: Path, metrics: Mapping[str, Any]) -> None:
    _check_keys(str(file), metrics, _SECTIONS)
    for section, keys in _KEYS.items():
        _check_keys(f"{file}: {section}", metrics[section], keys)
    if not metrics["seeds"]:
        raise RunFolderError(f"{file}: seeds: expected at least one seed; run it again")
    for entry in metrics["seeds"]:
        _check_keys(f"{file}: seeds", entry, _SEED_KEYS)


def _check_predictions(file: Path, predictions: Predictions, metrics: Mapping[str, Any]) -> None:
    num_classes = len(metrics["dataset"]["class_names"])
    for split in SPLITS:
        shape = (len(metrics["seeds"]), len(predictions.labels[split]), num_classes)
        found = predictions.probabilities[split].shape
        if found != shape:
            raise RunFolderError(
                f"{file}: {split}_probabilities: expected shape {shape} (seeds, samples, classes) "
                f"as metrics.json has them, got {found}; run it again"
            )
