"""Noise channels: Kraus operators, Pauli transfer matrices, and the usual constructors.

Constructors choose the Kraus operators that are proportional to unitaries wherever the channel
allows it: trajectories then draw them without looking at the state.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import SupportsIndex, cast

import numpy as np
from jaxtyping import Complex, Float

from hqnn_jax.circuits.checks import as_integer, check_number
from hqnn_jax.circuits.gates import GATE_COEFFICIENTS, GATE_SET
from hqnn_jax.errors import CircuitError
from hqnn_jax.text import closest

_TOLERANCE = 1e-10
_I = np.eye(2, dtype=complex)
_X, _Y, _Z = (GATE_COEFFICIENTS[f"Pauli{letter}"][0].astype(complex) for letter in "XYZ")
_PAULIS = (_I, _X, _Y, _Z)

TWO_QUBIT_MATRICES: dict[str, np.ndarray] = {
    "CNOT": np.eye(4, dtype=complex)[[0, 1, 3, 2]],
    "CZ": np.diag([1, 1, 1, -1]).astype(complex),
    "SWAP": np.eye(4, dtype=complex)[[0, 2, 1, 3]],
}
"""Matrices of the two-qubit gates, first wire most significant, shape [4, 4]."""

# Involutions G whose rotations exp(-iφG/2) continue a gate's own. For the other gates G is the
# gate itself: a CNOT, for example, that turns the target by π + φ instead of π.
_AXES = {"RX": _X, "RY": _Y, "RZ": _Z, "S": _Z, "T": _Z}


@dataclass(frozen=True, eq=False)
class Channel:
    """A completely positive, trace-preserving map on one or a few qubits.

    Attributes:
        kraus: Kraus operators, shape [terms, 2^k, 2^k], complex128; the first of the wires is
            the most significant bit.
        wires: the k wires it acts on; empty for a channel that is not placed yet, which
            `NoiseModel` places on the wires of each gate.

    Raises:
        CircuitError: Σ K†K differs from the identity by more than 1e-10, or the shape of `kraus`
            or the number of wires is not as above.
    """

    kraus: Complex[np.ndarray, "terms dim dim"]
    wires: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        """Check the Kraus operators and the wires."""
        try:
            kraus = np.array(self.kraus, complex)
        except (TypeError, ValueError) as error:
            raise CircuitError(
                f"Channel: Kraus operators are no array of numbers ({error}); expected shape "
                "[terms, 2^k, 2^k] for k qubits"
            ) from error
        object.__setattr__(self, "kraus", kraus)
        object.__setattr__(self, "wires", check_wires("Channel", self.wires))
        dim = kraus.shape[-1] if kraus.ndim == 3 else 0
        if kraus.size == 0 or kraus.shape[1] != dim or dim < 2 or dim & (dim - 1):
            raise CircuitError(
                f"Channel: Kraus operators have shape {kraus.shape}; expected [terms, 2^k, 2^k] "
                "for k qubits"
            )
        total = np.einsum("tba,tbc->ac", kraus.conj(), kraus)
        deviation = np.max(np.abs(total - np.eye(dim)))
        if not deviation <= _TOLERANCE:
            raise CircuitError(
                f"Channel: the sum of K†K over its Kraus operators differs from the identity by "
                f"{deviation:.2g}; expected at most {_TOLERANCE}, scale the operators"
            )
        if self.wires and (
            len(self.wires) != self.num_wires or len(set(self.wires)) != self.num_wires
        ):
            raise CircuitError(
                f"Channel on {self.num_wires} qubits: wires {self.wires}; expected "
                f"{self.num_wires} different wires, or () for a channel that is not placed"
            )

    @property
    def num_wires(self) -> int:
        """Number k of qubits the channel acts on."""
        return int(self.kraus.shape[1]).bit_length() - 1

    @cached_property
    def transfer_matrix(self) -> Float[np.ndarray, "words words"]:
        """Pauli transfer matrix R[a, b] = 2^-k Tr(P_a E(P_b)), shape [4^k, 4^k], float64.

        Words are ordered by letters I, X, Y, Z, the first wire's letter most significant.
        """
        words = pauli_words(self.num_wires)
        images = np.einsum(
            "tij,bjk,tlk->bil", self.kraus, words, self.kraus.conj(), optimize="greedy"
        )
        return np.einsum("aij,bji->ab", words, images).real / words.shape[1]

    @property
    def average_gate_fidelity(self) -> float:
        """Fidelity with the identity, averaged over pure states: (Tr R / d + 1) / (d + 1)."""
        dim = self.kraus.shape[1]
        return float((np.trace(self.transfer_matrix) / dim + 1) / (dim + 1))

    def on(self, wires: Iterable[SupportsIndex]) -> "Channel":
        """The same channel placed on `wires`."""
        return replace(self, wires=check_wires("Channel", wires))


def pauli_words(num_wires: int) -> Complex[np.ndarray, "words dim dim"]:
    """Matrices of all Pauli words, letters I, X, Y, Z, the first wire's most significant."""
    words = np.ones((1, 1, 1), complex)
    for _ in range(num_wires):
        words = np.array([np.kron(word, letter) for word in words for letter in _PAULIS])
    return words


def depolarizing(probability: float, num_wires: int = 1) -> Channel:
    """Every Pauli word but the identity with equal chance, `probability` in all.

    On one qubit X, Y and Z have p/3 each, as in PennyLane's DepolarizingChannel; on two qubits
    the 15 words have p/15 each. In Qiskit's parameter q, which mixes with the maximally mixed
    state, p = q (1 - 4^-num_wires).

    Raises:
        CircuitError: the probability is not in [0, 1], or the number of wires not 1 or 2.
    """
    if isinstance(num_wires, bool) or as_integer(num_wires) not in {1, 2}:
        raise CircuitError(f"depolarizing: num_wires={num_wires!r}; expected 1 or 2")
    probability = check_probability("depolarizing", "probability", probability)
    words = pauli_words(num_wires)
    weights = np.full(len(words), probability / (len(words) - 1))
    weights[0] = 1 - probability
    return _mixture(weights, words)


def bit_flip(probability: float) -> Channel:
    """X with the given probability."""
    probability = check_probability("bit_flip", "probability", probability)
    return _mixture([1 - probability, probability], [_I, _X])


def phase_flip(probability: float) -> Channel:
    """Z with the given probability."""
    probability = check_probability("phase_flip", "probability", probability)
    return _mixture([1 - probability, probability], [_I, _Z])


def phase_damping(gamma: float) -> Channel:
    """Loss of phase: coherences shrink by √(1 - gamma), populations stay.

    This is Nielsen and Chuang's phase damping (section 8.3.6, with λ = gamma), written as the
    phase flip of probability (1 - √(1 - gamma))/2 that it equals.
    """
    gamma = check_probability("phase_damping", "gamma", gamma)
    return phase_flip((1 - np.sqrt(1 - gamma)) / 2)


def amplitude_damping(gamma: float) -> Channel:
    """Decay of |1⟩ to |0⟩ with probability gamma (Nielsen and Chuang, section 8.3.5)."""
    gamma = check_probability("amplitude_damping", "gamma", gamma)
    return _of_terms(
        [np.diag([1, np.sqrt(1 - gamma)]), np.sqrt(gamma) * np.array([[0, 1], [0, 0]])]
    )


def thermal_relaxation(
    t1: float, t2: float, gate_time: float, excited_population: float = 0.0
) -> Channel:
    """Relaxation to thermal equilibrium and dephasing during a gate.

    Populations approach equilibrium as exp(-gate_time/T1), coherences decay as
    exp(-gate_time/T2). The same channel as Qiskit Aer's thermal_relaxation_error and PennyLane's
    ThermalRelaxationError, for all T2 ≤ 2 T1.

    Args:
        t1: relaxation time T1 in seconds, may be infinite.
        t2: dephasing time T2 in seconds, at most 2 T1, may be infinite.
        gate_time: duration in seconds.
        excited_population: probability of |1⟩ at equilibrium.

    Raises:
        CircuitError: a time is not positive (the duration: negative), T2 > 2 T1, or the
            population is not in [0, 1].
    """
    times = {"t1": t1, "t2": t2, "gate_time": gate_time}
    t1, t2, gate_time = (
        check_number("thermal_relaxation", name, time, 0.0, np.inf, "a time in seconds")
        for name, time in times.items()
    )
    if not (t1 > 0 and t2 > 0 and gate_time < np.inf):
        raise CircuitError(
            f"thermal_relaxation: t1={t1}, t2={t2}, gate_time={gate_time} seconds; expected "
            "positive t1 and t2 and a finite gate_time of at least 0"
        )
    if t2 > 2 * t1:
        raise CircuitError(
            f"thermal_relaxation: t2={t2} exceeds 2 t1={2 * t1} seconds, which no physical "
            "process allows; reduce t2"
        )
    excited = check_probability("thermal_relaxation", "excited_population", excited_population)
    moved = -np.expm1(-gate_time / t1)
    down, up = (1 - excited) * moved, excited * moved
    coherence = np.exp(-gate_time / t2)
    # The part of the Choi matrix without a jump; its eigenvectors are diagonal Kraus operators.
    eigenvalues, vectors = np.linalg.eigh([[1 - up, coherence], [coherence, 1 - down]])
    terms = [
        np.sqrt(max(value, 0.0)) * np.diag(vector)
        for value, vector in zip(eigenvalues[::-1], vectors.T[::-1], strict=True)
    ]
    terms += [np.sqrt(down) * np.array([[0, 1], [0, 0]]), np.sqrt(up) * np.array([[0, 0], [1, 0]])]
    return _of_terms(terms)


def over_rotation(gate: str, angle: float) -> Channel:
    """A unitary error: the named gate turns too far about its own axis.

    Args:
        gate: name of a captured gate, for example "RX" or "CNOT".
        angle: the excess in radians. For Pauli gates, Hadamard, CNOT, CZ and SWAP, which are
            rotations by π, it adds to π; for S and T to the angle about Z.

    Raises:
        CircuitError: there is no such gate, or the angle is not finite.
    """
    check_gate_name("over_rotation", gate)
    angle = check_angle(f"over_rotation of {gate}", "angle", angle)
    if gate in _AXES:
        axis = _AXES[gate]
    elif gate in TWO_QUBIT_MATRICES:
        axis = TWO_QUBIT_MATRICES[gate]
    else:
        axis = GATE_COEFFICIENTS[gate][0]
    rotation = np.cos(angle / 2) * np.eye(len(axis)) - 1j * np.sin(angle / 2) * axis
    return Channel(rotation[None])


def check_wires(where: str, wires: Iterable[SupportsIndex]) -> tuple[int, ...]:
    """Return wires as Python integers; raise CircuitError for other labels."""
    labels = tuple(wires)
    if None in (found := tuple(map(as_integer, labels))):
        raise CircuitError(f"{where}: wires {labels}; expected integers")
    return cast(tuple[int, ...], found)


def check_probability(function: str, argument: str, value: float) -> float:
    """Return `value`; raise CircuitError unless it is a number in [0, 1]."""
    return check_number(function, argument, value, 0.0, 1.0, "a number from 0 to 1")


def check_angle(function: str, argument: str, value: float) -> float:
    """Return `value`; raise CircuitError unless it is a finite number."""
    largest = float(np.finfo(float).max)
    return check_number(function, argument, value, -largest, largest, "a finite angle in radians")


def check_gate_name(function: str, name: str) -> None:
    """Raise CircuitError unless `name` is a gate that circuits are reduced to."""
    if name not in GATE_SET:
        names = sorted(GATE_SET)
        raise CircuitError(
            f"{function}: no gate '{name}' in captured circuits; expected one of "
            f"{', '.join(names)}. Did you mean '{closest(str(name), names, cutoff=0.0)}'?"
        )


def unitary_mixture(
    channel: Channel,
) -> tuple[Float[np.ndarray, " terms"], Complex[np.ndarray, "terms dim dim"]] | None:
    """Probabilities and unitaries of a channel whose Kraus operators are multiples of unitaries.

    None if one of them is not, so that how often it acts depends on the state.
    """
    dim = channel.kraus.shape[1]
    squares = np.einsum("tba,tbc->tac", channel.kraus.conj(), channel.kraus)
    probabilities = np.trace(squares, axis1=1, axis2=2).real / dim
    if not np.allclose(squares, probabilities[:, None, None] * np.eye(dim), rtol=0, atol=1e-12):
        return None
    kept = probabilities > 0
    probabilities = probabilities[kept]
    return probabilities, channel.kraus[kept] / np.sqrt(probabilities)[:, None, None]


def tensor_factors(
    matrices: Complex[np.ndarray, "terms 4 4"],
) -> tuple[Complex[np.ndarray, "terms 2 2"], Complex[np.ndarray, "terms 2 2"]] | None:
    """Two-qubit unitaries as products A ⊗ B of one-qubit unitaries; None if one is entangling."""
    # Rearranged to [A's entries, B's entries], a product has rank one.
    rearranged = matrices.reshape(-1, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4).reshape(-1, 4, 4)
    left, values, right = np.linalg.svd(rearranged)
    if np.any(values[:, 1] > _TOLERANCE):
        return None
    scale = np.sqrt(values[:, 0, None])
    first, second = left[:, :, 0] * scale, right[:, 0, :] * scale
    return first.reshape(-1, 2, 2), second.reshape(-1, 2, 2)


def _mixture(
    probabilities: Sequence[float] | np.ndarray, unitaries: Sequence[np.ndarray] | np.ndarray
) -> Channel:
    pairs = zip(probabilities, unitaries, strict=True)
    return _of_terms([np.sqrt(p) * unitary for p, unitary in pairs])


def _of_terms(terms: Sequence[np.ndarray]) -> Channel:
    """A channel without the terms that vanish."""
    kept = [np.asarray(term, complex) for term in terms if np.any(term)]
    return Channel(np.array(kept))
