"""Errors of a circuit's gates and of its readout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, model_serializer, model_validator

from hqnn_jax.config.base import ConfigSection

Strength = Annotated[float, Field(ge=0.0, le=1.0)]
STRENGTHS = ("one_qubit", "two_qubit", "amplitude_damping", "readout")
"""The keys of `NoiseConfig` that are strengths of errors."""


class NoiseConfig(ConfigSection):
    """Strength of each error, or the device whose errors they are; all zero is an ideal circuit.

    Depolarizing probabilities are those of `hqnn_jax.circuits.noise.channels.depolarizing`.
    """

    one_qubit: Strength = 0.0
    """Depolarizing probability after each one-qubit gate."""
    two_qubit: Strength = 0.0
    """Depolarizing probability after each two-qubit gate, on both qubits together."""
    amplitude_damping: Strength = 0.0
    """Probability that a qubit decays from |1⟩ to |0⟩ during a gate that acts on it."""
    readout: Strength = 0.0
    """Probability that a measured qubit is read wrongly."""
    device: Annotated[str, Field(min_length=1)] | None = None
    """Name of a fake backend of qiskit-ibm-runtime (`fake_…`) or of a device of the user's account:
    the circuit is the one that is compiled for it, with the noise of its gates and readout.
    Excludes the strengths. Of a real device the noise is that of the day's calibration, so that
    such a run cannot be repeated later; needs the extra `qiskit`."""
    layout_seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """First seed of the transpiler, with a device; see `CompilationConfig`."""
    optimization_level: Annotated[int, Field(ge=0, le=3)] = 3
    """Of the transpiler, with a device."""

    @model_validator(mode="after")
    def _strengths_or_device(self) -> NoiseConfig:
        given = [name for name in STRENGTHS if getattr(self, name)]
        if self.device is not None and given:
            raise ValueError(
                f"device {self.device!r} has its own errors; set {', '.join(given)} to 0, or "
                "device to null"
            )
        return self

    @model_serializer(mode="wrap")
    def _in_use(self, serialize: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Leave out what a device is compiled with where there is none.

        Hashes of cells and descriptions of checkpoints then do not depend on it.
        """
        written = serialize(self)
        if self.device is None:
            for key in ("device", "layout_seed", "optimization_level"):
                written.pop(key, None)
        return written

    @classmethod
    def of_strength(cls, strength: float) -> NoiseConfig:
        """Return depolarizing gates and readout as on superconducting devices.

        Two-qubit gates and the readout err with probability `strength`, one-qubit gates with a
        tenth of it.
        """
        return cls(one_qubit=strength / 10, two_qubit=strength, readout=strength)
