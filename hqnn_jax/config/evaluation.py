"""What is measured on the trained model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from hqnn_jax.config.base import ConfigSection, added, import_path, known
from hqnn_jax.config.dataset import DatasetConfig
from hqnn_jax.config.names import PAPER_NAMES
from hqnn_jax.config.noise import NoiseConfig
from hqnn_jax.errors import ConfigurationError


def require_paper(name: str) -> None:
    """Refuse what is no paper's name.

    Raises:
        ConfigurationError: naming all.
    """
    if name not in PAPER_NAMES:
        raise ConfigurationError(f"paper {name!r}: expected one of: {', '.join(PAPER_NAMES)}")


class CrossDatasetConfig(ConfigSection):
    """Another dataset a trained model is evaluated on, as a whole."""

    dataset: DatasetConfig
    class_map: dict[str, str]
    """Class of that dataset -> class of the model; images of other classes are left out."""

    @model_validator(mode="after")
    def _not_empty(self) -> CrossDatasetConfig:
        if not self.class_map:
            raise ValueError("class_map: expected at least one class")
        if self.dataset.task_name == "multilabel":
            raise ValueError(f"dataset: {self.dataset.name} has several labels an image, not one")
        return self


class EvaluationConfig(ConfigSection):
    """What is measured on the trained model, and with which uncertainty."""

    checkpoint: Literal["best", "last"] = "best"
    """`best`: highest validation accuracy (ties: lower validation loss). Never the test split."""
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 256
    test_time_augmentation: Literal["none", "dihedral"] = "none"
    """`dihedral`: average the probabilities over the 8 flips and quarter turns."""
    noise: NoiseConfig | None = None
    """Noise of the circuit that is evaluated; null for that of `model.circuit.noise`."""
    shots: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """Measurements of each group of commuting words, in evaluation; null for exact values."""
    bootstrap_samples: Annotated[int, Field(ge=100, le=100000)] = 1000
    metrics: tuple[str, ...] = added(())
    """`package.module:function` of your own metrics: `(labels[images], probabilities[images,
    classes]) -> float`, each with a bootstrap interval."""
    calibration_bins: Annotated[int, Field(ge=2, le=1000)] = 15
    explained_images: Annotated[int, Field(ge=0, le=64)] = 6
    """Test images shown with Grad-CAM and integrated gradients; 0 for none."""
    cross_datasets: tuple[CrossDatasetConfig, ...] = ()
    """Other datasets the trained model is evaluated on."""
    paper: str | None = None
    """Name of the paper whose published figures the report shows beside ours."""

    @field_validator("metrics")
    @classmethod
    def _different(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("expected each metric once")
        return tuple(map(import_path, value))

    @field_validator("paper")
    @classmethod
    def _known_paper(cls, value: str | None) -> str | None:
        return value if value is None else known(value, PAPER_NAMES)
