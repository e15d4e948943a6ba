"""Embeddings: how the features of a sample enter the state.

Each function is `embedding(features, wires)`, queues PennyLane operations and is used inside a
quantum function. H denotes a Hadamard gate on every wire; features are angles in radians.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax.numpy as jnp
import numpy as np
import pennylane as qml
from jaxtyping import Array, Float

from hqnn_jax.circuits.capture.state_preparation import prepare_state
from hqnn_jax.circuits.gates import Wires
from hqnn_jax.circuits.library.entanglement import Entanglement, pairs
from hqnn_jax.errors import CircuitError

Traced = Array | np.ndarray
"""Values while a circuit is captured or trained, or numbers while it is drawn."""


@dataclass(frozen=True)
class Embedding:
    """An embedding and its size.

    Attributes:
        apply: `apply(features, wires)`.
        num_features: number of features, given the number of qubits.
    """

    apply: Callable[..., None]
    num_features: Callable[[int], int]


def angle(
    features: Float[Traced, " features"],
    wires: Wires,
    axis: Literal["X", "Y", "Z"] = "Y",
) -> None:
    """Angle embedding: R_axis(x_q) on wire q; with axis Z after H, without which it does nothing.

    One feature per wire. Source: Schuld and Petruccione, "Supervised Learning with Quantum
    Computers" (2018); PennyLane's AngleEmbedding, which leaves H out.

    Raises:
        CircuitError: more features than wires.
    """
    _check_fit("angle", features, len(wires))
    if axis == "Z":
        for wire in wires:
            qml.Hadamard(wire)
    qml.AngleEmbedding(features, wires=wires, rotation=axis)


def iqp(
    features: Float[Traced, " features"],
    wires: Wires,
    entanglement: Entanglement = "full",
    num_repeats: int = 1,
) -> None:
    """IQP embedding: `num_repeats` times Π_(q,r) exp(-i x_q x_r Z_q Z_r / 2) Π_q RZ_q(x_q) H.

    One feature per wire. Source: Havlíček et al., arXiv:1804.11326, in the convention of
    PennyLane's IQPEmbedding.

    Args:
        features: in radians.
        wires: as many wires.
        entanglement: the pairs (q, r), see `pairs`.
        num_repeats: how often the circuit is repeated.

    Raises:
        CircuitError: not one feature per wire, or wrong pairs.
    """
    _check_fit("iqp", features, len(wires), exact=True)
    pattern = [[wires[q], wires[r]] for q, r in pairs(entanglement, len(wires))]
    if pattern:
        qml.IQPEmbedding(features, wires, n_repeats=num_repeats, pattern=pattern)
        return
    # PennyLane takes an empty pattern for "all pairs".
    for _ in range(num_repeats):
        for q, wire in enumerate(wires):
            qml.Hadamard(wire)
            qml.RZ(features[q], wire)


def zz(
    features: Float[Traced, " features"],
    wires: Wires,
    entanglement: Entanglement = "full",
    num_repeats: int = 2,
) -> None:
    """ZZ feature map: `num_repeats` times Π_(q,r) [CNOT P_r(φ_qr) CNOT] Π_q P_q(2 x_q) H.

    P(θ) = diag(1, e^iθ), and φ_qr = 2 (π - x_q)(π - x_r) is the phase where the bits q and r
    differ. One feature per wire, meant to be in [0, 2π). Source: Havlíček et al.,
    arXiv:1804.11326, in the convention of Qiskit's zz_feature_map, which it equals gate by gate.

    Args:
        features: in radians.
        wires: as many wires.
        entanglement: the pairs (q, r), see `pairs`.
        num_repeats: how often the circuit is repeated.

    Raises:
        CircuitError: not one feature per wire, or wrong pairs.
    """
    _check_fit("zz", features, len(wires), exact=True)
    for _ in range(num_repeats):
        for q, wire in enumerate(wires):
            qml.Hadamard(wire)
            qml.PhaseShift(2 * features[q], wire)
        for q, r in pairs(entanglement, len(wires)):
            qml.CNOT([wires[q], wires[r]])
            qml.PhaseShift(2 * (np.pi - features[q]) * (np.pi - features[r]), wires[r])
            qml.CNOT([wires[q], wires[r]])


def amplitude(features: Float[Traced, " features"], wires: Wires) -> None:
    """Amplitude embedding: |0…0⟩ becomes Σ_j x_j |j⟩ / ‖x‖, the first wire most significant.

    Real features with their signs, at most 2^n for n wires, filled up with zeros; |0…0⟩ for
    x = 0. It needs 2^n - 1 RY and 2^n - 2 CNOT, all real, and must come first in the circuit: on
    another state it is no longer the embedding, but the same unitary. Gradients are finite; see
    `prepare_state` for exact zeros. Source: Möttönen et al., arXiv:quant-ph/0407010.

    Raises:
        CircuitError: more features than amplitudes.
    """
    num_states = 2 ** len(wires)
    _check_fit("amplitude", features, num_states)
    missing = num_states - np.shape(features)[0]
    prepare_state(jnp.pad(jnp.asarray(features), (0, missing)), wires)


def _check_fit(
    name: str, features: Float[Traced, " features"], capacity: int, exact: bool = False
) -> None:
    count = np.shape(features)[0]
    if count > capacity or (exact and count < capacity):
        raise CircuitError(
            f"embedding {name!r}: {count} features; expected {'' if exact else 'at most '}"
            f"{capacity}"
        )


def _one_per_qubit(num_qubits: int) -> int:
    return num_qubits


EMBEDDINGS: dict[str, Embedding] = {
    "angle_x": Embedding(partial(angle, axis="X"), _one_per_qubit),
    "angle_y": Embedding(partial(angle, axis="Y"), _one_per_qubit),
    "angle_z": Embedding(partial(angle, axis="Z"), _one_per_qubit),
    "iqp": Embedding(iqp, _one_per_qubit),
    "zz": Embedding(zz, _one_per_qubit),
    "amplitude": Embedding(amplitude, lambda num_qubits: 2**num_qubits),
}
"""Embeddings by name; the size is a function of the number of qubits n: n, or 2^n amplitudes."""
