"""Values and gradients of the library's circuits by engine, noise and shots, and OpenQASM."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hqnn_jax import circuits
from hqnn_jax.circuits import Circuit
from hqnn_jax.errors import CircuitError
from tests.pinned import internal
from tests.pinned.store import Values

_NOISE = circuits.NoiseModel(
    one_qubit=(circuits.depolarizing(0.01), circuits.amplitude_damping(0.02)),
    two_qubit=(circuits.depolarizing(0.03, 2),),
    over_rotation=0.02,
    readout=circuits.ReadoutError(0.02, 0.04),
)
_FAST = "radhi2025"


def library() -> dict[str, Circuit]:
    """Return each circuit of the library, small."""
    return {name: make(num_qubits=3, num_layers=2) for name, make in circuits.CIRCUITS.items()}


def composed() -> Iterator[tuple[str, Circuit]]:
    """Yield circuits in which each part of the library occurs."""
    parts = itertools.zip_longest(
        circuits.ANSATZE, circuits.EMBEDDINGS, circuits.MEASUREMENTS, circuits.ENTANGLEMENTS
    )
    for number, (ansatz, embedding, measurement, entanglement) in enumerate(parts):
        chosen = {
            "ansatz": ansatz,
            "embedding": embedding or "angle_z",
            "measurement": measurement or "z",
            "reuploading": bool(number % 2) and ansatz not in ("tree", "qcnn"),
        }
        try:
            circuit = circuits.compose(4, 2, **chosen, entanglement=entanglement)
        except CircuitError:
            circuit = circuits.compose(4, 2, **chosen)
        yield " ".join(map(str, (*chosen.values(), entanglement))), circuit


def inputs(circuit: Circuit, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Return weights and two samples, of digits that any dtype holds."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-300, 300, circuit.weights_shape) / 128
    features = rng.integers(1, 300, (2, circuit.num_features)) / 128
    return jnp.asarray(weights, dtype), jnp.asarray(features, dtype)


def _flat(function: Callable[..., jax.Array], *arguments: jax.Array) -> np.ndarray:
    """Return the value of a function, and the gradients of a weighted sum of it, as one row."""

    @jax.jit
    def both(*arguments: jax.Array) -> list[jax.Array]:
        value, back = jax.vjp(function, *arguments)
        weights = jnp.cos(jnp.arange(value.size, dtype=value.dtype)).reshape(value.shape)
        return [value, *back(weights)]

    return np.concatenate([np.asarray(x).ravel() for x in both(*arguments)])


def _engine(circuit: Circuit, engine: str, dtype: Any) -> str | np.ndarray:
    try:
        evaluate = circuit.to_jax(engine)
    except CircuitError as error:
        return str(error)
    return _flat(evaluate, *inputs(circuit, dtype))


def engines(_: Path) -> Values:
    """A circuit that all engines apply to, under every engine."""
    return {
        f"{_FAST} {engine} float32": _engine(library()[_FAST], engine, "float32")
        for engine in circuits.ENGINES
    }


def more_engines(_: Path) -> Values:
    """All circuits of the library under every engine, in both precisions."""
    found: dict[str, str | np.ndarray] = {}
    for x64, dtype in ((False, "float32"), (True, "float64")):
        with jax.enable_x64(x64):
            for (name, circuit), engine in itertools.product(library().items(), circuits.ENGINES):
                if x64 or name != _FAST:
                    found[f"{name} {engine} {dtype}"] = _engine(circuit, engine, dtype)
    return found


def parts(_: Path) -> Values:
    """Compositions of the library's parts with the engine that `auto` takes."""
    return {name: _engine(circuit, "auto", "float32") for name, circuit in composed()}


def noise(_: Path) -> Values:
    """A small noisy circuit."""
    return _noisy(circuits.radhi2025(2, 1))


def more_noise(_: Path) -> Values:
    """Further noisy circuits."""
    return _noisy(circuits.strongly_entangling(3, 2)) | _noisy(circuits.aml2026(2, 1))


def _noisy(ideal: Circuit) -> dict[str, str | np.ndarray]:
    """Density matrix, trajectories by key, shots by key, and initial weights by key."""
    found: dict[str, str | np.ndarray] = {}
    circuit, key = ideal.with_noise(_NOISE), jax.random.key(7)
    for x64, dtype in ((False, "float32"), (True, "float64")):
        with jax.enable_x64(x64):
            found[f"pauli_transfer {dtype}"] = _engine(circuit, "pauli_transfer", dtype)
    weights, features = inputs(circuit, "float32")
    drawn = internal.trajectories(circuit, 24, chunk=8)
    found["trajectories"] = _flat(lambda w, x: jnp.stack(drawn(key, w, x)), weights, features)
    found["50 shots"] = np.asarray(circuit.to_sampler(50)(key, weights, features))
    found["initial weights"] = np.asarray(circuit.init_weights(key))
    return {f"{circuit.name} {name}": value for name, value in found.items()}


def openqasm(_: Path) -> Values:
    """OpenQASM 3 of each circuit, which is written from its Qiskit circuit."""
    found: dict[str, str | np.ndarray] = {}
    for name, make in circuits.CIRCUITS.items():
        circuit = make(num_qubits=3, num_layers=1)
        found[name] = circuit.to_openqasm3()
        exported = circuit.to_qiskit()
        found[f"{name} observables"] = "\n".join(str(o) for o in exported.observables)
        bound = exported.bind(*inputs(circuit, "float32"))
        found[f"{name} parameters"] = " ".join(map(str, exported.circuit.parameters))
        found[f"{name} bound"] = np.asarray(bound)
    found["aml2026 precomputed"] = circuits.aml2026(3, 1).to_openqasm3(precompute=True)
    return found
