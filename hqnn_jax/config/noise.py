"""Errors of a circuit's gates and of its readout."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hqnn_jax.config.base import Section

Strength = Annotated[float, Field(ge=0.0, le=1.0)]


class NoiseConfig(Section):
    """Strength of each error; all zero is an ideal circuit.

    Depolarizing probabilities are those of `hqnn_jax.circuits.channels.depolarizing`.
    """

    one_qubit: Strength = 0.0
    """Depolarizing probability after each one-qubit gate."""
    two_qubit: Strength = 0.0
    """Depolarizing probability after each two-qubit gate, on both qubits together."""
    amplitude_damping: Strength = 0.0
    """Probability that a qubit decays from |1⟩ to |0⟩ during a gate that acts on it."""
    readout: Strength = 0.0
    """Probability that a measured qubit is read wrongly."""

    @classmethod
    def of_strength(cls, strength: float) -> NoiseConfig:
        """Return depolarizing gates and readout as on superconducting devices.

        Two-qubit gates and the readout err with probability `strength`, one-qubit gates with a
        tenth of it.
        """
        return cls(one_qubit=strength / 10, two_qubit=strength, readout=strength)
