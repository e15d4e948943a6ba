"""Compiled circuits in files.

A device is calibrated anew every day, so that compiling again may give another circuit than the one
that was sent.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hqnn_jax.circuits import Circuit
from hqnn_jax.errors import HardwareError
from hqnn_jax.files import write_atomically
from hqnn_jax.hardware.backends import Backend
from hqnn_jax.hardware.compilation import CompiledCircuit

_FIELDS = ("initial_layout", "final_layout", "num_swaps", "seed", "log_fidelity", "settings")


def compiled_name(circuit: Circuit, settings: Mapping[str, Any]) -> str:
    """Return a file name for a circuit compiled with some settings: a hash of both."""
    exported = circuit.to_qiskit(precompute=True)
    wires = exported.circuit.find_bit
    described = {
        "gates": [
            (
                g.operation.name,
                list(map(str, g.operation.params)),
                [wires(q).index for q in g.qubits],
            )
            for g in exported.circuit.data
        ],
        "observables": [observable.terms for observable in circuit.observables],
        "settings": dict(settings),
    }
    content = json.dumps(described, sort_keys=True).encode()
    return f"{hashlib.sha256(content).hexdigest()[:32]}.qpy"


def save_compiled(path: Path, compiled: CompiledCircuit) -> None:
    """Write a compiled circuit to `path` (QPY), and what goes with it to `path` + `.json`.

    **Raises:** `RunFolderError` if they cannot be written.
    """
    from qiskit import qpy

    content = io.BytesIO()
    qpy.dump(compiled.circuit, content)
    described = {name: getattr(compiled, name) for name in _FIELDS}
    write_atomically(_description(path), json.dumps(described, indent=2).encode())
    write_atomically(path, content.getvalue())


def load_compiled(path: Path, circuit: Circuit, backend: Backend) -> CompiledCircuit | None:
    """Read a compiled circuit; None where there is none.

    **Arguments:**

    - `circuit`, `backend`: what it was compiled from and for.

    **Raises:** `HardwareError` if the files are damaged.
    """
    if not path.exists():
        return None
    from qiskit import qpy

    try:
        with path.open("rb") as file:
            (native,) = qpy.load(file)
        described: dict[str, Any] = json.loads(_description(path).read_text(encoding="utf-8"))
        given = {name: described[name] for name in _FIELDS}
    except Exception as error:
        raise HardwareError(
            f"{path}: cannot read the compiled circuit ({type(error).__name__}); delete it and "
            f"{_description(path).name} to compile anew"
        ) from error
    exported = circuit.to_qiskit(precompute=True)
    own = {p.name: p for p in (*exported.features, *exported.weights, *exported.angles)}
    # Parameters of a file are others than those of the same name here.
    native.assign_parameters({p: own[p.name] for p in native.parameters}, inplace=True)
    final = tuple(given.pop("final_layout"))
    observables = exported.observables
    if not backend.is_exact:
        observables = tuple(o.apply_layout(list(final), native.num_qubits) for o in observables)
    return CompiledCircuit(
        source=circuit,
        backend=backend,
        exported=exported._replace(circuit=native, observables=observables),
        initial_layout=tuple(given.pop("initial_layout")),
        final_layout=final,
        **given,
    )


def _description(path: Path) -> Path:
    return path.with_name(path.name + ".json")
