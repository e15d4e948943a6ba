"""A circuit as other simulators are given it: their own gates, and where each angle comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from hqnn_jax.circuits import Circuit, Gate
from hqnn_jax.errors import CircuitError

_ROTATION = ("RZ", "RY", "RZ")


@dataclass(frozen=True)
class NativeGate:
    """A gate of the captured circuit, or `Rot` for RZ, RY, RZ in turn on one wire.

    Attributes:
        name: a name of `hqnn_jax.circuits.gates.GATE_SET`, or "Rot".
        wires: the wires it acts on.
        angles: indices into the circuit's flat vector of angles; three for `Rot`, in the order
            applied, that is (φ, θ, ω) of RZ(ω) RY(θ) RZ(φ).
    """

    name: str
    wires: tuple[int, ...]
    angles: tuple[int, ...]


def native_gates(circuit: Circuit) -> list[NativeGate]:
    """The circuit's gates, with general rotations put together again.

    Capture splits a general rotation into three gates. Whoever writes the circuit for another
    simulator applies it as one, three times fewer passes over the state.
    """
    following = [_next_on_wire(circuit.gates, index) for index in range(len(circuit.gates))]
    gates: list[NativeGate] = []
    used: set[int] = set()
    for index, gate in enumerate(circuit.gates):
        if index in used:
            continue
        chain = _chain(index, following)
        if tuple(circuit.gates[i].name for i in chain) == _ROTATION and used.isdisjoint(chain):
            used.update(chain)
            angles = tuple(_angles(circuit.gates[i])[0] for i in chain)
            gates.append(NativeGate("Rot", gate.wires, angles))
        else:
            gates.append(NativeGate(gate.name, gate.wires, _angles(gate)))
    return gates


def _angles(gate: Gate) -> tuple[int, ...]:
    return () if gate.angle is None else (gate.angle,)


def _next_on_wire(gates: Sequence[Gate], index: int) -> int | None:
    """The next gate that touches a wire of a one-qubit gate, if it is a one-qubit gate too."""
    wires = set(gates[index].wires)
    for later in range(index + 1, len(gates)):
        if wires & set(gates[later].wires):
            return later if gates[later].wires == gates[index].wires else None
    return None


def _chain(index: int, following: Sequence[int | None]) -> list[int]:
    chain = [index]
    while len(chain) < len(_ROTATION) and (later := following[chain[-1]]) is not None:
        chain.append(later)
    return chain


def pauli_terms(word: str) -> Iterator[tuple[str, int]]:
    """The letters other than I of a Pauli word, each with its wire."""
    return ((letter, wire) for wire, letter in enumerate(word) if letter != "I")


def shared_or_per_sample(circuit: Circuit) -> Callable[[Any, Any], Callable[[int], Any]]:
    """Return `angles(weights, features)(index)`, an angle of a traced circuit under JAX.

    Angles that depend on no feature are computed from `weights` alone, so that `jax.vmap` over
    features leaves them, and the gate matrices made of them, without a batch axis. `features` is
    one sample [num_features], giving scalars, or a batch [batch, num_features], giving [batch].
    """
    angles = circuit.angles

    def of(weights: Any, features: Any) -> Callable[[int], Any]:
        shared = angles.shared_angles(weights)
        batched = features if features.ndim == 2 else features[None]
        columns = angles.sample_angles(batched, weights)
        per_sample = columns.T if features.ndim == 2 else columns[0]

        def angle(index: int) -> Any:
            if angles.shared[index] >= 0:
                return shared[angles.shared[index]]
            return per_sample[angles.per_sample[index]]

        return angle

    return of


@dataclass(frozen=True)
class Source:
    """Where an angle comes from: an element of the features or of the flat weights, or a number."""

    kind: str
    index: int = 0
    number: float = 0.0


@cache
def angle_sources(circuit: Circuit) -> list[Source]:
    """The source of each angle, for simulators that cannot run the circuit's JAX arithmetic.

    Found by evaluation at two points whose elements are all different.

    Raises:
        CircuitError: an angle is computed from inputs rather than read.
    """
    rng = np.random.default_rng(0)
    points = []
    for _ in range(2):
        features = rng.uniform(1, 2, circuit.num_features).astype(np.float32)
        weights = rng.uniform(2, 3, circuit.weights_shape).astype(np.float32)
        inputs = np.concatenate([features, weights.ravel()])
        found = circuit.angles(jnp.asarray(features), jnp.asarray(weights))
        points.append((inputs, np.asarray(found)))
    (inputs, angles), (_, others) = points
    sources = []
    for angle, other in zip(angles, others, strict=True):
        equal = np.flatnonzero(inputs == angle)
        if angle == other:
            sources.append(Source("constant", number=float(angle)))
        elif equal.size and equal[0] < circuit.num_features:
            sources.append(Source("feature", int(equal[0])))
        elif equal.size:
            sources.append(Source("weight", int(equal[0]) - circuit.num_features))
        else:
            raise CircuitError(
                f"Circuit '{circuit.name}': an angle is computed from features or weights; this "
                "simulator's adapter only reads angles, compare with one that runs under JAX"
            )
    return sources
