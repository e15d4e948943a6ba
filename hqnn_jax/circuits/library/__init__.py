"""Embeddings, ansätze and the reproduced papers' circuits."""

from collections.abc import Callable

from hqnn_jax.circuits.circuit import Circuit
from hqnn_jax.circuits.library.ansatze import ANSATZE, Ansatz
from hqnn_jax.circuits.library.composed import MEASUREMENTS, compose
from hqnn_jax.circuits.library.embeddings import EMBEDDINGS, Embedding
from hqnn_jax.circuits.library.entanglement import ENTANGLEMENTS, Entanglement, pairs
from hqnn_jax.circuits.library.papers import (
    aml2026,
    hqcnn2025,
    hqnn2026,
    lean2025,
    radhi2025,
    strongly_entangling,
)

CIRCUITS: dict[str, Callable[..., Circuit]] = {
    "radhi2025": radhi2025,
    "hqnn2026": hqnn2026,
    "aml2026": aml2026,
    "hqcnn2025": hqcnn2025,
    "lean2025": lean2025,
    "strongly_entangling": strongly_entangling,
    "composed": compose,
}
"""Circuits by the name used in configuration files; each takes `num_qubits` and `num_layers`."""

__all__ = [
    "ANSATZE",
    "CIRCUITS",
    "EMBEDDINGS",
    "ENTANGLEMENTS",
    "MEASUREMENTS",
    "Ansatz",
    "Embedding",
    "Entanglement",
    "aml2026",
    "compose",
    "hqcnn2025",
    "hqnn2026",
    "lean2025",
    "pairs",
    "radhi2025",
    "strongly_entangling",
]
