"""Backbone, processor, circuit and classifier."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from hqnn_jax.config.base import (
    AnyPath,
    ConfigSection,
    PathOrName,
    Patience,
    Probability,
    Width,
    known_or_own,
    known_part,
)
from hqnn_jax.config.names import (
    ANSATZ_NAMES,
    BACKBONE_NAMES,
    CIRCUIT_NAMES,
    EMBEDDING_NAMES,
    ENTANGLEMENT_NAMES,
    MEASUREMENT_NAMES,
    MIDDLE_NAMES,
    PRETRAINED_NAMES,
    EngineName,
)
from hqnn_jax.config.noise import NoiseConfig

_COMPOSED_DEFAULTS = {
    "embedding": "angle_y",
    "ansatz": "strongly_entangling",
    "reuploading": False,
    "measurement": "z",
}


class BackboneConfig(ConfigSection):
    """The convolutional network that turns an image into features."""

    name: str
    """A backbone of the library, or `package.module:name` of your own."""
    image_size: Annotated[int, Field(ge=8, le=1024)] = 28
    """Side in pixels the images are resized to inside the compiled step."""
    pretrained: PathOrName | None = None
    """Null, `hub` (the usual ImageNet weights from the Hugging Face hub), a hub repository
    `owner/name`, or the path of a .safetensors or Keras .h5 file."""
    normalisation: Literal["centred", "imagenet"] = "centred"
    """`centred`: (x - 0.5) / 0.5 on values in [0, 1]; `imagenet`: the mean and deviation that the
    loaded weights were trained with, ImageNet's where none are loaded."""
    from_run: AnyPath | None = None
    """Folder of a finished run whose trained backbone is taken: that of its first seed, from the
    checkpoint that was evaluated."""
    frozen: bool = False
    """Run the backbone once, cache its features on disk, train only what follows."""
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bfloat16 on GPU and TPU, float32 on CPU. Parameters are float32 in any case."""

    _name = field_validator("name")(lambda value: known_or_own(value, BACKBONE_NAMES))

    @model_validator(mode="after")
    def _pretrained_fits(self) -> BackboneConfig:
        if self.pretrained is not None and self.name not in PRETRAINED_NAMES:
            raise ValueError(
                f"pretrained weights exist for {', '.join(PRETRAINED_NAMES)}, not for {self.name}"
            )
        if self.pretrained is not None and self.normalisation != "imagenet":
            raise ValueError("pretrained weights need normalisation: imagenet")
        if self.pretrained is not None and self.from_run is not None:
            raise ValueError("pretrained and from_run both give the weights; choose one")
        return self


class MlpConfig(ConfigSection):
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


class GrowthConfig(ConfigSection):
    """Adaptive circuit size: one more layer or qubit whenever validation stalls."""

    axis: Literal["layers", "qubits"] = "layers"
    maximum: Annotated[int, Field(ge=2, le=1000)]
    """Largest number of layers or qubits; the circuit starts with its own."""
    patience: Patience = 2
    """Epochs without a lower validation loss before the circuit grows."""
    min_improvement: Annotated[float, Field(ge=0.0)] = 0.0
    """How much lower the validation loss must be to count."""


class CircuitConfig(ConfigSection):
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
    growth: GrowthConfig | None = None
    """Start small and grow while training; null keeps the size."""
    noise: NoiseConfig | None = None
    """Noise of the circuit that is trained, simulated exactly; null for an ideal circuit."""
    engine: EngineName = "auto"

    _name = field_validator("name")(lambda value: known_or_own(value, CIRCUIT_NAMES))
    _embedding = field_validator("embedding")(lambda value: known_part(value, EMBEDDING_NAMES))
    _ansatz = field_validator("ansatz")(lambda value: known_part(value, ANSATZ_NAMES))
    _measured = field_validator("measurement")(lambda value: known_part(value, MEASUREMENT_NAMES))

    @field_validator("entanglement", mode="before")
    @classmethod
    def _name_or_pairs(cls, value: Any) -> Any:
        if value is None or isinstance(value, str):
            return known_part(value, ENTANGLEMENT_NAMES)
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

    @model_validator(mode="after")
    def _grows_from_its_size(self) -> CircuitConfig:
        if self.growth is not None and self.growth.maximum <= self.size:
            raise ValueError(
                f"growth.maximum: expected more than the first {self.size} {self.growth_axis}"
            )
        return self

    @property
    def growth_axis(self) -> Literal["layers", "qubits"]:
        """What a growing circuit gets more of."""
        return "layers" if self.growth is None else self.growth.axis

    @property
    def size(self) -> int:
        """Number of layers or qubits along the axis that may grow."""
        return self.num_layers if self.growth_axis == "layers" else self.num_qubits

    def with_size(self, size: int) -> CircuitConfig:
        """Return the circuit with this number of layers or qubits."""
        field = "num_layers" if self.growth_axis == "layers" else "num_qubits"
        return self.model_copy(update={field: size})

    def parts(self) -> dict[str, Any]:
        """Return what chooses the parts of `composed`; empty for other circuits."""
        if self.name != "composed":
            return {}
        return {part: getattr(self, part) for part in (*_COMPOSED_DEFAULTS, "entanglement")}


class ModelConfig(ConfigSection):
    """Backbone -> processor -> middle -> classifier."""

    backbone: BackboneConfig
    processor: MlpConfig = MlpConfig(widths=(64,))
    middle: str = "quantum"
    """What is between processor and classifier: the circuit, a circuit that lacks a part of it, a
    classical control, or nothing; see `hqnn_jax.config.names.MIDDLES`. Or `package.module:name` of
    your own layer."""
    circuit: CircuitConfig = CircuitConfig()
    feature_scaling: Literal["none", "tanh", "standardised_tanh"] = "tanh"
    """`none`: the angles are the features themselves; `tanh`: (pi/2)·tanh(features);
    `standardised_tanh`: the same after batch normalisation, so that the angles of a new network
    are spread over the range and the circuit's gradient does not start near zero."""
    feature_selection: Literal["projection", "first", "all"] = "projection"
    """How the processor's output meets the middle's inputs: a learned Linear layer to the circuit's
    number of features (the bottleneck), or the first features as they are, the others dropped
    (radhi2025). `all`: no bottleneck, for a plain classical network without a middle."""
    readout_width: Width | None = None
    """Width of a Linear layer right after the middle (radhi2025: 8); null for none."""
    classifier: MlpConfig = MlpConfig(batch_norm=False)
    """Hidden layers before the final Linear layer to the logits."""

    _middle = field_validator("middle")(lambda value: known_or_own(value, MIDDLE_NAMES))

    @model_validator(mode="after")
    def _only_circuits_grow(self) -> ModelConfig:
        if self.circuit.growth is not None and self.middle != "quantum":
            raise ValueError("circuit.growth needs middle: quantum; set growth to null")
        return self

    @model_validator(mode="after")
    def _all_features_without_middle(self) -> ModelConfig:
        plain = self.middle == "none" and self.feature_scaling == "none"
        if self.feature_selection == "all" and not plain:
            raise ValueError(
                "feature_selection 'all' is a plain classical network; it needs middle: none and "
                "feature_scaling: none"
            )
        return self

    @model_validator(mode="after")
    def _first_features_exist(self) -> ModelConfig:
        if self.feature_selection == "first" and not self.processor.widths:
            raise ValueError("feature_selection 'first' needs processor.widths")
        return self
