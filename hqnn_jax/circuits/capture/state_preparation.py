"""Preparation of a state from its amplitudes, by uniformly controlled rotations.

PennyLane's own decomposition inspects the amplitudes, so that they must be known; this one
computes its angles with `jax.numpy`, so that they may be features. Source: Möttönen et al.,
arXiv:quant-ph/0407010, the rotations' angles by arctan2 as real amplitudes then need no phases.

Amplitudes are divided by a power of two before they are squared, so that no norm overflows or
vanishes. A vector is zero if it has no normal number of its type, and so are amplitudes whose
squares are no normal numbers then.
"""

from typing import SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Inexact

from hqnn_jax.circuits.gates import Wires


def prepare_state(
    amplitudes: Inexact[ArrayLike, " states"], wires: Wires
) -> list[qml.operation.Operation]:
    """Gates that take |0…0⟩ to Σ_j a_j |j⟩ / ‖a‖, up to a global phase.

    2^n - 1 RY and 2^n - 2 CNOT for real amplitudes; complex ones take as many RZ and CNOT more.
    The zero vector gives |0…0⟩, with derivative zero. Inside a quantum function the gates are
    queued.

    The angles have finite derivatives everywhere. They are those of the state, except that a
    derivative is zero for the amplitudes of a pair (2k, 2k + 1), or larger block of the binary
    tree, that is zero as a whole, and for any complex amplitude that is zero.

    Args:
        amplitudes: [2^n] real or complex numbers, of any norm.
        wires: the n wires, the most significant bit first.
    """
    amplitudes = scaled(jnp.asarray(amplitudes))
    real, phases = amplitudes, None
    if jnp.iscomplexobj(amplitudes):
        # Absolute value and argument have no derivative at zero.
        zero = _is_zero(amplitudes)
        nonzero = jnp.where(zero, 1, amplitudes)
        real = jnp.where(zero, 0.0, jnp.abs(nonzero))
        phases = jnp.angle(nonzero)
    gates = []
    for level, angles in enumerate(_rotation_angles(real, len(wires))):
        gates += _uniformly_controlled(qml.RY, angles, wires[:level], wires[level])
    if phases is not None:
        for level, angles in enumerate(_phase_angles(phases, len(wires))):
            gates += _uniformly_controlled(qml.RZ, angles, wires[:level], wires[level])
    return gates


def scaled(amplitudes: Inexact[Array, "*rows states"]) -> Inexact[Array, "*rows states"]:
    """Each row of amplitudes divided by the power of two that leaves its largest between 1 and 4.

    The power counts as constant in derivatives. A row of zeros stays one, without a derivative.
    """
    limits = jnp.finfo(amplitudes.dtype)
    largest = jnp.max(_magnitudes(amplitudes), axis=-1, keepdims=True)
    empty = largest < limits.tiny
    # All bits but those of the mantissa.
    bits = jax.lax.bitcast_convert_type(jnp.where(empty, 1.0, largest), f"int{limits.bits}")
    power = jax.lax.bitcast_convert_type(bits >> limits.nmant << limits.nmant, largest.dtype)
    # The compiler multiplies by the reciprocal, which must be a normal number.
    power = jnp.minimum(power, 1 / limits.tiny)
    amplitudes = jnp.where(empty, 0.0, amplitudes)
    if jnp.iscomplexobj(amplitudes):
        return jax.lax.complex(jnp.real(amplitudes) / power, jnp.imag(amplitudes) / power)
    return amplitudes / power


def normalised(amplitudes: Inexact[Array, "*rows states"]) -> Inexact[Array, "*rows states"]:
    """Each row of amplitudes divided by its norm; the first basis state for a row of zeros.

    Derivatives are finite, and zero for a row of zeros.
    """
    amplitudes = scaled(amplitudes)
    first = jnp.zeros(amplitudes.shape[-1], amplitudes.dtype).at[0].set(1)
    empty = jnp.all(amplitudes == 0, axis=-1, keepdims=True)
    amplitudes = jnp.where(empty, first, amplitudes)
    return amplitudes / jnp.linalg.norm(amplitudes, axis=-1, keepdims=True)


def _magnitudes(amplitudes: Inexact[Array, "..."]) -> Float[Array, "..."]:
    """The larger of the real and the imaginary part's absolute values."""
    if not jnp.iscomplexobj(amplitudes):
        return jnp.abs(amplitudes)
    return jnp.maximum(jnp.abs(jnp.real(amplitudes)), jnp.abs(jnp.imag(amplitudes)))


def _is_zero(amplitudes: Inexact[Array, "..."]) -> Bool[Array, "..."]:
    """Whether a scaled amplitude has a square that is no normal number."""
    return _magnitudes(amplitudes) < float(jnp.finfo(amplitudes.dtype).tiny) ** 0.5


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
        empty = _is_zero(zeros) & _is_zero(ones)
        angles.append(2 * jnp.arctan2(jnp.where(empty, 0.0, ones), jnp.where(empty, 1.0, zeros)))
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
