"""How the model is fitted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from hqnn_jax.config.base import (
    ConfigSection,
    NotNegative,
    Patience,
    Positive,
    Probability,
    added,
    import_path,
    known_or_own,
)
from hqnn_jax.config.names import LOSS_NAMES

InsightName = Literal[
    "gradients",
    "entangling_capability",
    "expressibility",
    "effective_dimension",
    "fourier_spectrum",
]


Area = Annotated[Positive, Field(le=1.0)]


class AugmentationConfig(ConfigSection):
    """Random changes to training images; the default changes nothing."""

    crop_scale: tuple[Area, Area] = (1.0, 1.0)
    """Area of the random resized crop as a share of the image, smallest and largest."""
    horizontal_flip: bool = False
    vertical_flip: bool = False
    quarter_turns: bool = False
    """Turn by 0, 90, 180 or 270 degrees, exactly: no pixel is interpolated."""
    rotation_degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 0.0
    """Angle drawn uniformly from [-rotation_degrees, rotation_degrees]."""
    brightness: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Factor drawn uniformly from [1 - brightness, 1 + brightness]; likewise the next two."""
    contrast: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    saturation: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    hue: Annotated[float, Field(ge=0.0, le=0.5)] = 0.0
    """Shift drawn uniformly from [-hue, hue], as a share of the colour circle."""
    function: str | None = added(None)
    """`package.module:function` of your own, applied before all of these: `(key, images[batch,
    height, width, channels] in [0, 1]) -> images`."""

    @field_validator("function")
    @classmethod
    def _importable(cls, value: str | None) -> str | None:
        return value if value is None else import_path(value)

    @model_validator(mode="after")
    def _ordered_scale(self) -> AugmentationConfig:
        if self.crop_scale[0] > self.crop_scale[1]:
            raise ValueError("crop_scale: expected the smallest share first")
        return self


class LearningRates(ConfigSection):
    """Peak learning rate of each parameter group."""

    backbone: Positive = 1e-3
    circuit: Positive = 1e-3
    classical: Positive = 1e-3


class ScheduleConfig(ConfigSection):
    """How the learning rates change, all groups by the same factor."""

    name: Literal["constant", "cosine", "reduce_on_plateau"] = "constant"
    warmup_epochs: Annotated[float, Field(ge=0.0, le=100000)] = 0.0
    """Linear rise from zero (constant and cosine)."""
    final_factor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Cosine: share of the peak learning rate reached at the end."""
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Reduce on plateau: factor applied when the validation loss has stalled."""
    patience: Patience = 5
    """Reduce on plateau: epochs without improvement before a reduction."""


class TrainingConfig(ConfigSection):
    """How the model is fitted."""

    images_per_class: Annotated[int, Field(ge=1)] | None = None
    """Train on this many images of each class, drawn anew for every seed (a smaller number is part
    of a larger one); null for all."""
    label_noise: Probability = 0.0
    """Share of the training images whose label is replaced by another class, drawn for every
    seed."""
    epochs: Annotated[int, Field(ge=1, le=100000)] = 10
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 64
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: LearningRates = LearningRates()
    weight_decay: NotNegative = 1e-2
    """Decoupled weight decay (AdamW), on matrices and kernels only, never on the circuit."""
    loss: str = added("cross_entropy")
    """Of each image, averaged with `class_weights`; or `package.module:function` of your own,
    `(logits[batch, classes], targets[batch, classes]) -> [batch]`, the targets being the smoothed
    one-hot labels. The validation loss is the plain cross-entropy all the same."""
    label_smoothing: Probability = 0.0
    class_weights: Literal["none", "inverse_frequency"] = "none"
    clip_norm: Positive | None = None
    """Largest global norm of the gradient; null for no clipping."""
    schedule: ScheduleConfig = ScheduleConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    contrastive_weight: NotNegative = 0.0
    """Weight of the supervised-contrastive loss on the middle's output (Khosla et al., 2020)."""
    contrastive_temperature: Positive = 0.1
    insights: tuple[InsightName, ...] = ()
    """What is measured of the model in training after every epoch, beside loss and accuracy."""
    average_decay: Probability = 0.0
    """Decay per step of the exponential moving average of the parameters that is validated and
    evaluated; 0 evaluates the parameters themselves."""

    _loss = field_validator("loss")(lambda value: known_or_own(value, LOSS_NAMES))
