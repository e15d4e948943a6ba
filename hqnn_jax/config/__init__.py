"""The typed, frozen, validated configuration of a run: YAML in, YAML out.

Every key a run depends on is a field here with its type, range and default, so the resolved
configuration stored in a run folder says everything and can be run again as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from hqnn_jax.config.base import ConfigSection
from hqnn_jax.config.dataset import DatasetConfig, SplitConfig, SyntheticConfig
from hqnn_jax.config.evaluation import CrossDatasetConfig, EvaluationConfig
from hqnn_jax.config.model import (
    BackboneConfig,
    CircuitConfig,
    GrowthConfig,
    MlpConfig,
    ModelConfig,
)
from hqnn_jax.config.names import (
    ANSATZ_NAMES,
    BACKBONE_NAMES,
    CIRCUIT_MIDDLES,
    CIRCUIT_NAMES,
    DATASET_NAMES,
    EMBEDDING_NAMES,
    ENGINE_NAMES,
    ENTANGLEMENT_NAMES,
    FOLDER_NAMES,
    MEASUREMENT_NAMES,
    MEDMNIST_NAMES,
    MIDDLE_NAMES,
    PAPER_NAMES,
    PRETRAINED_NAMES,
)
from hqnn_jax.config.noise import NoiseConfig
from hqnn_jax.config.training import (
    AugmentationConfig,
    LearningRates,
    ScheduleConfig,
    TrainingConfig,
)

__all__ = [
    "ANSATZ_NAMES",
    "BACKBONE_NAMES",
    "CIRCUIT_MIDDLES",
    "CIRCUIT_NAMES",
    "DATASET_NAMES",
    "EMBEDDING_NAMES",
    "ENGINE_NAMES",
    "ENTANGLEMENT_NAMES",
    "FOLDER_NAMES",
    "MEASUREMENT_NAMES",
    "MEDMNIST_NAMES",
    "MIDDLE_NAMES",
    "PAPER_NAMES",
    "PRETRAINED_NAMES",
    "AugmentationConfig",
    "BackboneConfig",
    "CircuitConfig",
    "Config",
    "CrossDatasetConfig",
    "DatasetConfig",
    "EvaluationConfig",
    "GrowthConfig",
    "LearningRates",
    "MlpConfig",
    "ModelConfig",
    "NoiseConfig",
    "ScheduleConfig",
    "SplitConfig",
    "SyntheticConfig",
    "TrainingConfig",
]


class Config(ConfigSection):
    """Everything a run depends on."""

    dataset: DatasetConfig = DatasetConfig()
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    seeds: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of seeds trained: seed, seed + 1, …"""

    @model_validator(mode="after")
    def _seeds_in_range(self) -> Config:
        if self.seed + self.seeds > 2**31:
            raise ValueError(f"seed: with {self.seeds} seeds the last is {2**31:,} or more")
        return self

    @model_validator(mode="after")
    def _views_need_images(self) -> Config:
        if self.model.backbone.frozen and self.evaluation.test_time_augmentation != "none":
            raise ValueError(
                "evaluation.test_time_augmentation needs images; a frozen backbone's cached "
                "features have none: set it to none"
            )
        if self.model.backbone.frozen and self.training.augmentation != AugmentationConfig():
            raise ValueError(
                "training.augmentation changes images; a frozen backbone's cached features have "
                "none: remove it"
            )
        return self

    @model_validator(mode="after")
    def _possible_with_several_labels(self) -> Config:
        if self.dataset.task_name != "multilabel":
            return self
        training, evaluation = self.training, self.evaluation
        given = {
            "training.images_per_class": training.images_per_class is not None,
            "training.label_noise": training.label_noise > 0,
            "training.contrastive_weight": training.contrastive_weight > 0,
            "training.loss": training.loss != "cross_entropy",
            "evaluation.cross_datasets": bool(evaluation.cross_datasets),
            "evaluation.paper": evaluation.paper is not None,
            "evaluation.metrics": bool(evaluation.metrics),
        }
        wrong = [key for key, is_given in given.items() if is_given]
        if wrong:
            raise ValueError(f"{wrong[0]}: is for one class an image, not for a multilabel set")
        return self

    def with_data_in(self, folder: Path | None) -> Config:
        """Return this with all datasets in another folder, or itself for None."""
        if folder is None:
            return self
        others = tuple(
            other.model_copy(update={"dataset": other.dataset.with_data_in(folder)})
            for other in self.evaluation.cross_datasets
        )
        evaluation = self.evaluation.model_copy(update={"cross_datasets": others})
        dataset = self.dataset.with_data_in(folder)
        return self.model_copy(update={"dataset": dataset, "evaluation": evaluation})

    def seed_values(self) -> tuple[int, ...]:
        """Return every seed that is trained."""
        return tuple(range(self.seed, self.seed + self.seeds))
