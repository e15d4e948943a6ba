"""What `model.yaml` says: all of a trained model but its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from hqnn_jax.config import ModelConfig
from hqnn_jax.config.base import ConfigSection, Positive
from hqnn_jax.config.loading import read_yaml, validated
from hqnn_jax.config.names import TaskName
from hqnn_jax.errors import ConfigurationError, ModelFolderError
from hqnn_jax.trained.layout import RECORD

FORMAT = 1
"""Raised whenever what was written before can no longer be read as it is."""

RESIZE_RULE = "whole image to a square, bilinear with antialiasing; the aspect ratio is not kept"


class ImagesRecord(ConfigSection):
    """How an image becomes what the network takes."""

    resolution: int
    """Side in pixels to which a file is resized; the network's own is `model.backbone.image_size`.
    """
    channels: Literal[1, 3]
    """Of the image at that resolution: 1 for grey, 3 for RGB."""
    network_channels: Literal[1, 3]
    """A grey image is repeated for a network with three."""
    mean: tuple[float, ...]
    deviation: tuple[Positive, ...]
    """The network sees (image - mean) / deviation, the image in [0, 1]."""
    resize: str = RESIZE_RULE


class TrainedOnRecord(ConfigSection):
    """The dataset a model was trained on."""

    name: str
    fingerprint: str
    synthetic: bool
    licence: str
    citation: str
    url: str = ""
    description: str = ""
    counts: dict[str, int]
    """Split -> images."""


class CheckpointRecord(ConfigSection):
    """Which of a run's parameters these are."""

    seed: int
    seeds: tuple[int, ...]
    """All that were trained; the one above has the highest validation accuracy."""
    checkpoint: Literal["best", "last"]
    epoch: int


class ModelRecord(ConfigSection):
    """A trained model."""

    format: int
    hqnn_jax: str
    """The version that wrote it."""
    task: TaskName
    class_names: tuple[str, ...]
    model: ModelConfig
    """Its section of the configuration; where its backbone's weights came from does not matter
    here."""
    backbone_variant: str | None = None
    """Which framework's arithmetic an EfficientNet follows."""
    images: ImagesRecord
    views: Literal["none", "dihedral"]
    """`dihedral`: probabilities are averaged over the 8 flips and quarter turns."""
    shots: int | None = None
    """Measurements the circuit's values are estimated from; null for exact values."""
    temperature: Positive
    """Fitted on the validation split; see `hqnn_jax.evaluation.calibration`."""
    trained_on: TrainedOnRecord
    origin: CheckpointRecord
    figures: dict[str, float]
    """On the test split, of these parameters."""
    files: Mapping[str, str]
    """File beside this one -> SHA-256 of its content."""


def read_record(folder: Path) -> ModelRecord:
    """Return what the `model.yaml` of a folder says.

    Raises:
        ModelFolderError: if it is missing, damaged, or of a version of the format that is not read.
    """
    path = folder / RECORD
    if not path.exists():
        raise ModelFolderError(f"{path}: missing; expected the folder of a trained model")
    try:
        found = read_yaml(path)
        if found.get("format") != FORMAT:
            raise ModelFolderError(
                f"{path}: written in format {found.get('format')} (by hqnn_jax "
                f"{found.get('hqnn_jax')}), this version reads format {FORMAT}; "
                "install the version that wrote it, or evaluate its run again with this one"
            )
        return validated(found, [], ModelRecord, str(path))
    except ConfigurationError as error:
        raise ModelFolderError(f"{error}; expected the {RECORD} of a trained model") from error
