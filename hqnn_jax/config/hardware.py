"""How a trained circuit is run on a backend."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from hqnn_jax.config.base import AnyPath, ConfigSection, Positive

MITIGATION_NAMES = ("readout", "dynamical_decoupling", "twirling", "zne")
DEFAULT_SHOTS = 4096
MAX_SHOTS = 10**9
Count = Annotated[int, Field(ge=1, le=10**6)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class ImagesConfig(ConfigSection):
    """The images whose features are sent to the backend."""

    split: Literal["test", "validation", "train"] = "test"
    count: Count | None = 256
    """Number of images at most; null for the whole split."""
    stratified: bool = True
    """Whether classes keep their shares of the split; otherwise every image is equally likely."""
    seed: Seed = 0


class CompilationConfig(ConfigSection):
    """Qiskit's transpiler; see `hqnn_jax.hardware.compilation.compile_for`."""

    optimization_level: Annotated[int, Field(ge=0, le=3)] = 3
    layout_seed: Seed = 0
    """First seed of the transpiler; the best of `tries` seeds is kept."""
    tries: Annotated[int, Field(ge=1, le=1000)] = 8
    initial_layout: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] | None = None
    """The device's qubit for each wire; null lets the transpiler choose."""
    max_two_qubit_depth: Count = 300
    """Deeper circuits are refused on devices and their noise models."""


class ZneConfig(ConfigSection):
    """Zero-noise extrapolation, for the mitigations that name `zne`."""

    noise_factors: tuple[Annotated[float, Field(ge=1.0, le=1000.0)], ...] = (1.0, 3.0, 5.0)
    """How often each two-qubit gate is there."""
    extrapolator: Literal["linear", "quadratic"] = "linear"


class FineTuningConfig(ConfigSection):
    """Training of the circuit's weights on the backend, from those that were simulated.

    Everything classical stays as it is. The loss is the cross-entropy of the logits.
    """

    method: Literal["spsa", "parameter_shift"] = "spsa"
    """`spsa`: two evaluations of a batch an iteration; `parameter_shift`: the gradient, two
    evaluations for each gate that has a weight."""
    iterations: Annotated[int, Field(ge=1, le=10000)] = 20
    batch_size: Annotated[int, Field(ge=1, le=10000)] = 32
    """Training images of an iteration, as many of each class as of the others where possible."""
    learning_rate: Positive = 0.02
    """Of Adam in radians (`parameter_shift`); about the first change of a weight (`spsa`)."""
    perturbation: Positive = 0.1
    """Change of every weight in SPSA's first pair of evaluations, in radians."""
    shots: Count | None = None
    """Measurements of each basis for each image; null for `shots` of the evaluation."""
    seed: Seed = 0


class HardwareConfig(ConfigSection):
    """Everything an evaluation on a backend depends on, but the trained runs."""

    backend: Annotated[str, Field(min_length=1)] = "fake_sherbrooke"
    """`statevector`, `aer`, `aer:DEVICE`, a fake backend of qiskit-ibm-runtime (`fake_…`), or a
    device of the user's IBM Quantum account."""
    seed: Seed | None = None
    """Which trained seed of a run is evaluated; null for its first."""
    model: str | None = None
    """Which circuit of a folder with several: for one of aml2026 its arm, or ARM-SIZE. Null for the
    folder of a run."""
    beside: tuple[AnyPath, ...] = ()
    """Folders of other runs on the same images. Circuits are evaluated on the backend, too; of
    classical models the predictions are shown that they made when they were trained."""
    images: ImagesConfig = ImagesConfig()
    shots: Count | None = None
    """Measurements of each basis for each image; null for 4096, or what `precision` asks for."""
    precision: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    """Wanted standard error of an observable with eigenvalues ±1, in place of shots: 1/precision²
    of them are enough whatever its value."""
    primitive: Literal["estimator", "sampler"] | None = None
    """Null: the sampler for circuits that return probabilities, the estimator for all others."""
    mode: Literal["job", "batch", "session"] = "job"
    """How jobs are sent to a device; the open plan has no sessions."""
    compilation: CompilationConfig = CompilationConfig()
    mitigation: tuple[str, ...] = ()
    """Mitigated arms beside the raw one, each one or several of readout, dynamical_decoupling,
    twirling and zne, joined by +."""
    zne: ZneConfig = ZneConfig()
    randomizations: Count | None = None
    """Twirled versions of a circuit that share its shots; null for Runtime's 32."""
    noise_model: bool = True
    """Whether the exact values under our model of the device's noise are an arm, too."""
    simulator_seed: Seed = 0
    """Seed of shots that are simulated."""
    fine_tuning: FineTuningConfig | None = None
    """Null: the weights are those of the run."""
    interval_samples: Annotated[int, Field(ge=100, le=100000)] = 1000
    """Bootstrap resamples of the images for intervals."""

    @field_validator("mitigation")
    @classmethod
    def _known_mitigation(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            names = value.split("+")
            if not set(names) <= set(MITIGATION_NAMES) or len(set(names)) < len(names):
                raise ValueError(
                    f"{value!r}: expected one or several of {', '.join(MITIGATION_NAMES)}, "
                    "joined by +"
                )
        if len({frozenset(value.split("+")) for value in values}) < len(values):
            raise ValueError("the same mitigation appears twice")
        return values

    @model_validator(mode="after")
    def _shots_or_precision(self) -> HardwareConfig:
        if self.shots is not None and self.precision is not None:
            raise ValueError("shots and precision both say how often to measure; give one of them")
        if self.precision is not None and self.precision < MAX_SHOTS**-0.5:
            raise ValueError(
                f"precision: {self.precision:g} asks for more than {MAX_SHOTS:,} shots; expected "
                f"at least {MAX_SHOTS**-0.5:.2g}"
            )
        return self

    @property
    def num_shots(self) -> int:
        """Measurements of each basis for each image."""
        if self.precision is not None:
            return math.ceil(1 / self.precision**2)
        return self.shots or DEFAULT_SHOTS
