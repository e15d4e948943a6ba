"""Circuits: one definition, evaluated by several engines."""

from hqnn_jax.circuits.angles import AngleFunction, Inputs
from hqnn_jax.circuits.circuit import Circuit
from hqnn_jax.circuits.engines import ENGINES
from hqnn_jax.circuits.gates import Gate, Observable
from hqnn_jax.circuits.library import (
    ANSATZE,
    CIRCUITS,
    EMBEDDINGS,
    ENTANGLEMENTS,
    MEASUREMENTS,
    aml2026,
    compose,
    hqcnn2025,
    hqnn2026,
    lean2025,
    radhi2025,
    strongly_entangling,
)
from hqnn_jax.circuits.noise.channels import (
    Channel,
    amplitude_damping,
    bit_flip,
    depolarizing,
    over_rotation,
    phase_damping,
    phase_flip,
    thermal_relaxation,
)
from hqnn_jax.circuits.noise.model import NoiseModel, ReadoutError
from hqnn_jax.circuits.specs import CircuitSpecs

__all__ = [
    "ANSATZE",
    "CIRCUITS",
    "EMBEDDINGS",
    "ENGINES",
    "ENTANGLEMENTS",
    "MEASUREMENTS",
    "AngleFunction",
    "Channel",
    "Circuit",
    "CircuitSpecs",
    "Gate",
    "Inputs",
    "NoiseModel",
    "Observable",
    "ReadoutError",
    "aml2026",
    "amplitude_damping",
    "bit_flip",
    "compose",
    "depolarizing",
    "hqcnn2025",
    "hqnn2026",
    "lean2025",
    "over_rotation",
    "phase_damping",
    "phase_flip",
    "radhi2025",
    "strongly_entangling",
    "thermal_relaxation",
]
