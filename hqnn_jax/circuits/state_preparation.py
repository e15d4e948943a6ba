"""Preparation of a state from its amplitudes, by uniformly controlled rotations.

PennyLane's own decomposition inspects the amplitudes, so that they must be known; this one
computes its angles with `jax.numpy`, so that they may be features. Source: Möttönen et al.,
arXiv:quant-ph/0407010, the rotations' angles by arctan2 as real amplitudes then need no phases.
"""

from typing import SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Inexact

from hqnn_jax.circuits.gates import Wires


def prepare_state(
    amplitudes: Inexact[ArrayLike, " states"], wires: Wires
) -> list[qml.operation.Operation]:
    """Gates that take |0…0⟩ to Σ_j a_j |j⟩ / ‖a‖, up to a global phase.

    2^n - 1 RY and 2^n - 2 CNOT for real amplitudes; complex ones take as many RZ and CNOT more.
    The zero vector gives |0…0⟩. Inside a quantum function the gates are queued.

    The angles have finite derivatives everywhere. They are those of the state, except that a
    derivative is zero for the amplitudes of a pair (2k, 2k + 1), or larger block of the binary
    tree, that is zero as a whole, and for any complex amplitude that is zero.

    Args:
        amplitudes: [2^n] real or complex numbers, of any norm.
        wires: the n wires, the most significant bit first.
    """
    amplitudes = jnp.asarray(amplitudes)
    real, phases = amplitudes, None
    if jnp.iscomplexobj(amplitudes):
        # Absolute value and argument have no derivative at zero.
        nonzero = jnp.where(amplitudes == 0, 1, amplitudes)
        real = jnp.where(amplitudes == 0, 0.0, jnp.abs(nonzero))
        phases = jnp.angle(nonzero)
    gates = []
    for level, angles in enumerate(_rotation_angles(real, len(wires))):
        gates += _uniformly_controlled(qml.RY, angles, wires[:level], wires[level])
    if phases is not None:
        for level, angles in enumerate(_phase_angles(phases, len(wires))):
            gates += _uniformly_controlled(qml.RZ, angles, wires[:level], wires[level])
    return gates


def _rotation_angles(
    amplitudes: Float[Array, " states"], num_wires: int
) -> list[Float[Array, " controls"]]:
    """For each wire, the RY angle for each state of the wires before it.

    The RY on wire w divides the norm of a block of 2^(n-w) amplitudes between its two halves; on
    the last wire the halves are single amplitudes and keep their sign.
    """
    angles = []
    halves = amplitudes
    for _ in range(num_wires):
        zeros, ones = halves.reshape(-1, 2).T
        empty = (zeros == 0) & (ones == 0)
        angles.append(2 * jnp.arctan2(ones, jnp.where(empty, 1.0, zeros)))
        squares = jnp.where(empty, 1.0, zeros**2 + ones**2)
        halves = jnp.where(empty, 0.0, jnp.sqrt(squares))
    return angles[::-1]


def _phase_angles(
    phases: Float[Array, " states"], num_wires: int
) -> list[Float[Array, " controls"]]:
    """For each wire, the RZ angle for each state of the wires before it."""
    angles = []
    for _ in range(num_wires):
        zeros, ones = phases.reshape(-1, 2).T
        angles.append(ones - zeros)
        phases = (zeros + ones) / 2
    return angles[::-1]


def _uniformly_controlled(
    rotation: type[qml.operation.Operation],
    angles: Float[Array, " controls"],
    controls: Wires,
    target: SupportsIndex,
) -> list[qml.operation.Operation]:
    """Rotate `target` by angles[c] where the controls are in state c; RY or RZ.

    A CNOT turns the sense of a rotation, so 2^k rotations between CNOTs act with the signs of a
    Walsh–Hadamard row that each state of the controls selects. Gray code order changes one
    control at a time, so that one CNOT between rotations is enough.
    """
    size = len(angles)
    steps = np.arange(size)
    gray = steps ^ (steps >> 1)
    parity = np.array([[(c & g).bit_count() % 2 for c in range(size)] for g in gray.tolist()])
    signs = jnp.asarray((1 - 2 * parity) / size, angles.dtype)
    turned = jnp.matmul(signs, angles, precision=jax.lax.Precision.HIGHEST)
    gates = []
    for step in range(size):
        gates.append(rotation(turned[step], target))
        if len(controls):
            changed = int(gray[step] ^ gray[(step + 1) % size])
            gates.append(qml.CNOT([controls[len(controls) - changed.bit_length()], target]))
    return gates
