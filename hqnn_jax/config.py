"""The typed, frozen, validated configuration of a run: YAML in, YAML out.

Every key a run depends on is a field here with its type, range and default, so the resolved
configuration stored in a run folder says everything and can be run again as it is.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hqnn_jax.files import cache_dir

MEDMNIST_NAMES = (
    "bloodmnist",
    "breastmnist",
    "dermamnist",
    "octmnist",
    "organamnist",
    "organcmnist",
    "organsmnist",
    "pathmnist",
    "pneumoniamnist",
    "retinamnist",
    "tissuemnist",
)
DATASET_NAMES = ("synthetic_cells", *MEDMNIST_NAMES)
BACKBONE_NAMES = ("compact", "five_layer_cnn", "efficientnet_b0")
CIRCUIT_NAMES = (
    "radhi2025",
    "hqnn2026",
    "aml2026",
    "hqcnn2025",
    "lean2025",
    "strongly_entangling",
    "composed",
)
EMBEDDING_NAMES = ("angle_x", "angle_y", "angle_z", "iqp", "zz", "amplitude")
ANSATZ_NAMES = (
    "strongly_entangling",
    "basic_entangler",
    "real_amplitudes",
    "efficient_su2",
    "brickwork",
    "hardware_efficient",
    "tree",
    "qcnn",
)
ENTANGLEMENT_NAMES = ("none", "linear", "reverse_linear", "ring", "full")
MEASUREMENT_NAMES = ("z", "z_first", "xyz", "zz", "parity", "probabilities")
_COMPOSED_DEFAULTS = {
    "embedding": "angle_y",
    "ansatz": "strongly_entangling",
    "reuploading": False,
    "measurement": "z",
}
PAPER_NAMES = ("radhi2025", "hqcnn2025")

T = TypeVar("T")
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Width = Annotated[int, Field(ge=1, le=65536)]


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )


def _known(value: str, names: Sequence[str]) -> str:
    if value not in names:
        close = difflib.get_close_matches(value, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(f"{hint}expected one of: {', '.join(names)}")
    return value


def _known_part(value: T, names: Sequence[str]) -> T:
    if isinstance(value, str):
        _known(value, names)
    return value


class SyntheticConfig(_Section):
    """How many synthetic cells are drawn, and how hard they are to tell apart."""

    train_images: Annotated[int, Field(ge=8)] = 2400
    validation_images: Annotated[int, Field(ge=8)] = 400
    test_images: Annotated[int, Field(ge=8)] = 800
    noise: Annotated[float, Field(ge=0.0, le=1.0)] = 0.06
    seed: Annotated[int, Field(ge=0)] = 0


class DatasetConfig(_Section):
    """Which images, from where, and as which classification task."""

    name: str = "synthetic_cells"
    data_dir: Path | None = None
    """Folder with datasets; default: $HQNN_DATA_DIR, else a per-user cache folder."""
    resolution: Literal[28, 64, 128, 224] = 28
    """Side of the stored images in pixels (MedMNIST publishes each set at four sizes)."""
    positive_labels: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    """Binary task: these labels become class 1, all others class 0. Null keeps the classes."""
    synthetic: SyntheticConfig = SyntheticConfig()

    _name = field_validator("name")(lambda value: _known(value, DATASET_NAMES))

    def resolved_data_dir(self) -> Path:
        """Return the folder datasets are read from and downloaded to."""
        if self.data_dir is not None:
            return self.data_dir.expanduser()
        return Path(os.environ.get("HQNN_DATA_DIR") or cache_dir() / "data").expanduser()


class BackboneConfig(_Section):
    """The convolutional network that turns an image into features."""

    name: str
    image_size: Annotated[int, Field(ge=8, le=1024)] = 28
    """Side in pixels the images are resized to inside the compiled step."""
    pretrained: str | None = None
    """Null, `hub` (Hugging Face), or the path of a local safetensors file."""
    normalisation: Literal["centred", "imagenet"] = "centred"
    """`centred`: (x - 0.5) / 0.5 on values in [0, 1]; `imagenet`: the ImageNet mean and deviation,
    which pretrained weights need."""
    frozen: bool = False
    """Run the backbone once, cache its features on disk, train only what follows."""
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bfloat16 on GPU and TPU, float32 on CPU. Parameters are float32 in any case."""

    _name = field_validator("name")(lambda value: _known(value, BACKBONE_NAMES))

    @model_validator(mode="after")
    def _pretrained_fits(self) -> BackboneConfig:
        if self.pretrained is not None and self.name != "efficientnet_b0":
            raise ValueError(f"pretrained weights exist for efficientnet_b0, not for {self.name}")
        if self.pretrained is not None and self.normalisation != "imagenet":
            raise ValueError("pretrained weights need normalisation: imagenet")
        return self


class MlpConfig(_Section):
    """A stack of Linear (+ BatchNorm) + ReLU + Dropout layers."""

    widths: tuple[Width, ...] = ()
    dropout: tuple[Probability, ...] | Probability = 0.0
    """One rate for all layers, or one rate per layer."""
    batch_norm: bool = True

    @model_validator(mode="after")
    def _one_dropout_per_layer(self) -> MlpConfig:
        if isinstance(self.dropout, tuple) and len(self.dropout) != len(self.widths):
            raise ValueError(
                f"expected one dropout rate or one per layer: {len(self.widths)} widths, "
                f"{len(self.dropout)} rates"
            )
        return self

    def dropout_rates(self) -> tuple[float, ...]:
        """Return one dropout rate per layer."""
        if isinstance(self.dropout, tuple):
            return self.dropout
        return (self.dropout,) * len(self.widths)


class CircuitConfig(_Section):
    """The variational circuit between processor and classifier."""

    name: str = "radhi2025"
    """A circuit of the library, or `package.module:function` of your own (returns a Circuit)."""
    num_qubits: Annotated[int, Field(ge=1, le=30)] = 6
    num_layers: Annotated[int, Field(ge=1, le=1000)] = 4
    embedding: str | None = None
    """This and the four that follow choose the parts of `composed`; null for other circuits."""
    ansatz: str | None = None
    entanglement: str | tuple[tuple[int, int], ...] | None = None
    """What the ansatz entangles, by name or as a coupling map: pairs of qubits [control, target];
    null for the ansatz' own pattern."""
    reuploading: bool | None = None
    """Whether the embedding comes before each layer instead of once at the front."""
    measurement: str | None = None
    engine: Literal["auto", "pennylane", "statevector", "unitary", "pauli_transfer"] = "auto"

    @field_validator("name")
    @classmethod
    def _library_or_import_path(cls, value: str) -> str:
        return value if ":" in value else _known(value, CIRCUIT_NAMES)

    _embedding = field_validator("embedding")(lambda value: _known_part(value, EMBEDDING_NAMES))
    _ansatz = field_validator("ansatz")(lambda value: _known_part(value, ANSATZ_NAMES))
    _measured = field_validator("measurement")(lambda value: _known_part(value, MEASUREMENT_NAMES))

    @field_validator("entanglement", mode="before")
    @classmethod
    def _name_or_pairs(cls, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return _known_part(value, ENTANGLEMENT_NAMES)
        pairs = value if isinstance(value, list | tuple) else [value]
        for pair in pairs:
            if not isinstance(pair, list | tuple) or [type(qubit) for qubit in pair] != [int, int]:
                raise ValueError(
                    f"expected one of: {', '.join(ENTANGLEMENT_NAMES)}, or pairs of qubits "
                    "[[control, target], …]"
                )
        return tuple(map(tuple, pairs))

    @model_validator(mode="before")
    @classmethod
    def _parts_only_of_composed(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {key: value for key, value in data.items() if value is not None}
        if given.get("name") == "composed":
            return {**_COMPOSED_DEFAULTS, **given}
        for part in (*_COMPOSED_DEFAULTS, "entanglement"):
            if part in given:
                raise ValueError(f"{part!r} is a choice of the circuit named 'composed' only")
        return data

    def parts(self) -> dict[str, Any]:
        """Return what chooses the parts of `composed`; empty for other circuits."""
        if self.name != "composed":
            return {}
        return {part: getattr(self, part) for part in (*_COMPOSED_DEFAULTS, "entanglement")}


class ModelConfig(_Section):
    """Backbone -> processor -> middle -> classifier."""

    backbone: BackboneConfig
    processor: MlpConfig = MlpConfig(widths=(64,))
    middle: Literal["quantum", "matched", "none"] = "quantum"
    circuit: CircuitConfig = CircuitConfig()
    feature_scaling: Literal["none", "tanh", "standardised_tanh"] = "tanh"
    """`none`: the angles are the features themselves; `tanh`: (pi/2)·tanh(features);
    `standardised_tanh`: the same after batch normalisation, so that the angles of a new network
    are spread over the range and the circuit's gradient does not start near zero."""
    feature_selection: Literal["projection", "first"] = "projection"
    """How the processor's output meets the middle's inputs: a learned Linear layer, or the first
    features as they are, the others dropped (radhi2025)."""
    readout_width: Width | None = None
    """Width of a Linear layer right after the middle (radhi2025: 8); null for none."""
    classifier: MlpConfig = MlpConfig(batch_norm=False)
    """Hidden layers before the final Linear layer to the logits."""

    @model_validator(mode="after")
    def _first_features_exist(self) -> ModelConfig:
        if self.feature_selection == "first" and not self.processor.widths:
            raise ValueError("feature_selection 'first' needs processor.widths")
        return self


class AugmentationConfig(_Section):
    """Random changes to training images; the default changes nothing."""

    crop_scale: tuple[
        Annotated[float, Field(gt=0.0, le=1.0)], Annotated[float, Field(gt=0.0, le=1.0)]
    ] = (1.0, 1.0)
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

    @model_validator(mode="after")
    def _ordered_scale(self) -> AugmentationConfig:
        if self.crop_scale[0] > self.crop_scale[1]:
            raise ValueError("crop_scale: expected the smallest share first")
        return self


class LearningRates(_Section):
    """Peak learning rate of each parameter group."""

    backbone: Annotated[float, Field(gt=0.0)] = 1e-3
    circuit: Annotated[float, Field(gt=0.0)] = 1e-3
    classical: Annotated[float, Field(gt=0.0)] = 1e-3


class ScheduleConfig(_Section):
    """How the learning rates change, all groups by the same factor."""

    name: Literal["constant", "cosine", "reduce_on_plateau"] = "constant"
    warmup_epochs: Annotated[float, Field(ge=0.0)] = 0.0
    """Linear rise from zero (constant and cosine)."""
    final_factor: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Cosine: share of the peak learning rate reached at the end."""
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Reduce on plateau: factor applied when the validation loss has stalled."""
    patience: Annotated[int, Field(ge=1)] = 5
    """Reduce on plateau: epochs without improvement before a reduction."""


class TrainingConfig(_Section):
    """How the model is fitted."""

    epochs: Annotated[int, Field(ge=1, le=100000)] = 10
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 64
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: LearningRates = LearningRates()
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-2
    """Decoupled weight decay (AdamW), on matrices and kernels only, never on the circuit."""
    label_smoothing: Probability = 0.0
    class_weights: Literal["none", "inverse_frequency"] = "none"
    clip_norm: Annotated[float, Field(gt=0.0)] | None = None
    """Largest global norm of the gradient; null for no clipping."""
    schedule: ScheduleConfig = ScheduleConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    average_decay: Probability = 0.0
    """Decay per step of the exponential moving average of the parameters that is validated and
    evaluated; 0 evaluates the parameters themselves."""


class EvaluationConfig(_Section):
    """What is measured on the trained model, and with which uncertainty."""

    checkpoint: Literal["best", "last"] = "best"
    """`best`: highest validation accuracy (ties: lower validation loss). Never the test split."""
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 256
    test_time_augmentation: Literal["none", "dihedral"] = "none"
    """`dihedral`: average the probabilities over the 8 flips and quarter turns."""
    bootstrap_samples: Annotated[int, Field(ge=100, le=100000)] = 1000
    calibration_bins: Annotated[int, Field(ge=2, le=1000)] = 15
    paper: str | None = None
    """Name of the paper whose published figures the report shows beside ours."""

    @field_validator("paper")
    @classmethod
    def _known_paper(cls, value: str | None) -> str | None:
        return value if value is None else _known(value, PAPER_NAMES)


class Config(_Section):
    """Everything a run depends on."""

    dataset: DatasetConfig = DatasetConfig()
    model: ModelConfig
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    seeds: Annotated[int, Field(ge=1, le=1000)] = 1
    """Number of seeds trained: seed, seed + 1, …"""

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

    def seed_values(self) -> tuple[int, ...]:
        """Return every seed that is trained."""
        return tuple(range(self.seed, self.seed + self.seeds))

    def to_yaml(self) -> str:
        """Return the fully resolved configuration as YAML that `load_config` accepts."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
