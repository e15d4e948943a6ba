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

from pydantic import BaseModel

from hqnn_jax.circuits import Circuit
from hqnn_jax.errors import HardwareError
from hqnn_jax.files import read_bytes, read_json, write_atomically, write_json
from hqnn_jax.hardware.backends import Backend
from hqnn_jax.hardware.compilation import CompiledCircuit


class _Described(BaseModel):
    initial_layout: list[int]
    final_layout: list[int]
    num_swaps: int
    seed: int
    log_fidelity: float
    settings: dict[str, Any]
    checksum: str | None = None


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

    Raises:
        RunFolderError: if they cannot be written.
    """
    from qiskit import qpy

    content = io.BytesIO()
    qpy.dump(compiled.circuit, content)
    described = {name: getattr(compiled, name) for name in _FIELDS}
    described["checksum"] = _checksum(content.getvalue(), described)
    write_json(_description(path), described)
    write_atomically(path, content.getvalue())


def load_compiled(path: Path, circuit: Circuit, backend: Backend) -> CompiledCircuit | None:
    """Read a compiled circuit; None where there is none.

    Args:
        circuit, backend: what it was compiled from and for.

    Raises:
        HardwareError: if the files are damaged.
    """
    if not path.exists():
        return None
    from qiskit import qpy

    advice = (
        f"the compiled circuit is damaged: delete it and {_description(path).name} to compile anew"
    )
    content = read_bytes(path, HardwareError, advice)
    described = read_json(_description(path), HardwareError, advice, _Described)
    given = {name: described[name] for name in _FIELDS}
    # Circuits kept by earlier versions have no checksum.
    if described.get("checksum") not in (None, _checksum(content, given)):
        raise HardwareError(f"{path}: not as it was written; {advice}")
    try:
        (native,) = qpy.load(io.BytesIO(content))
        return _restored(native, given, circuit, backend)
    # Qiskit's decoder raises many kinds for damaged bytes, and takes some for another circuit.
    except Exception as error:
        raise HardwareError(f"{path}: cannot be read ({type(error).__name__}); {advice}") from error


def _restored(
    native: Any, given: dict[str, Any], circuit: Circuit, backend: Backend
) -> CompiledCircuit:
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


def _checksum(circuit: bytes, described: Mapping[str, Any]) -> str:
    text = json.dumps(dict(described), sort_keys=True)
    return hashlib.sha256(circuit + text.encode()).hexdigest()


def _description(path: Path) -> Path:
    return path.with_name(path.name + ".json")
