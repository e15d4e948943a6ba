"""Circuits: one definition, evaluated by several engines."""

from hqnn_jax.circuits.angles import AngleFunction, Inputs
from hqnn_jax.circuits.definition import Circuit
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

__all__ = [
    "ANSATZE",
    "CIRCUITS",
    "EMBEDDINGS",
    "ENGINES",
    "ENTANGLEMENTS",
    "MEASUREMENTS",
    "AngleFunction",
    "Circuit",
    "Gate",
    "Inputs",
    "Observable",
    "aml2026",
    "compose",
    "hqcnn2025",
    "hqnn2026",
    "lean2025",
    "radhi2025",
    "strongly_entangling",
]
