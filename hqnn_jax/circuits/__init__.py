"""Circuits: one definition, evaluated by several engines."""

from hqnn_jax.circuits.angles import AngleFunction, Inputs
from hqnn_jax.circuits.definition import Circuit
from hqnn_jax.circuits.engines import ENGINES
from hqnn_jax.circuits.gates import Gate, Observable
from hqnn_jax.circuits.library import CIRCUITS, hqcnn2025, radhi2025, strongly_entangling

__all__ = [
    "CIRCUITS",
    "ENGINES",
    "AngleFunction",
    "Circuit",
    "Gate",
    "Inputs",
    "Observable",
    "hqcnn2025",
    "radhi2025",
    "strongly_entangling",
]
