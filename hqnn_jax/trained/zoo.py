"""The trained models that are part of the package."""

from __future__ import annotations

from pathlib import Path

import hqnn_jax.zoo
from hqnn_jax.text import plural
from hqnn_jax.trained.layout import RECORD
from hqnn_jax.trained.record import ModelRecord, read_record

ZOO = Path(hqnn_jax.zoo.__file__).parent


def zoo_names() -> list[str]:
    """Return their names."""
    return sorted(path.parent.name for path in ZOO.glob(f"*/{RECORD}"))


def zoo_lines() -> dict[str, str]:
    """Return a line about each, by name."""
    return {name: _line(read_record(ZOO / name)) for name in zoo_names()}


def _line(record: ModelRecord) -> str:
    data, circuit = record.trained_on, record.model.circuit
    return (
        f"{data.name}{' (synthetic)' if data.synthetic else ''}, "
        f"{len(record.class_names)} classes at {record.images.resolution} px, "
        f"{circuit.name} on {plural(circuit.num_qubits, 'qubit')}: "
        f"test accuracy {100 * record.figures['accuracy']:.2f} %"
    )
