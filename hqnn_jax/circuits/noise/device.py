"""The noise model of a device, from the calibration data in a Qiskit target.

Every native gate is followed by depolarising noise and then by the thermal relaxation of its
wires during its duration, with T1 and T2 of each qubit. The depolarising probability is such
that the average infidelity of both together is the reported error; where relaxation alone
exceeds that, there is no depolarising. This is the model of Qiskit Aer's
`NoiseModel.from_backend`. It has no noise on idle qubits.

Noise acts on captured gates (see `model`), of which each is given the noise of the native
gates it is made of:

- RZ, PauliZ, S, T: that of `rz`, or none where the device has no such gate, since a rotation
  about Z is then a change of frame;
- RX, RY: that of two `sx`, or of one `rx`, `r`, `u` or `u3` where the device has these;
- PauliX, PauliY: that of one `x`, else as RX;
- Hadamard: that of one `sx`, else as RX;
- CNOT, CZ: that of one `cx`, `cz` or `ecr` (in whichever direction the device has) without
  the one-qubit gates around it, most of which a compiler merges with neighbours;
- SWAP: that of three of these.
"""

from collections.abc import Iterable, Sequence
from typing import Any, SupportsIndex

import numpy as np

from hqnn_jax.circuits.noise.channels import Channel, check_wires, depolarizing, thermal_relaxation
from hqnn_jax.circuits.noise.model import GateKey, NoiseModel, ReadoutError
from hqnn_jax.errors import CircuitError

# Native gates that turn by π/2 or by any angle about an axis in the x-y plane; with a virtual RZ
# on either side, two of the former or one of the latter make any one-qubit gate.
_QUARTER_TURNS = ("sx",)
_ANY_TURNS = ("rx", "r", "u", "u3")
_ENTANGLERS = ("cx", "cz", "ecr")


def noise_from_target(
    device: Any, qubits: Iterable[SupportsIndex], *, transpiled: bool = False
) -> NoiseModel:
    """Read the noise model of some qubits of a device; see the module's docstring.

    With `transpiled=True` the circuit is one that Qiskit has transpiled to the device, where RX
    or RY stands for one `sx`. The model is then exactly Aer's for devices with `cx` or `cz`; an
    imported `ecr` is decomposed into a CNOT and rotations, each of which is noisy here, unless it
    was written differently before, as `hqnn_jax.hardware.compilation.noisy_circuit` does.

    Args:
        device: a Qiskit `Target`, or a backend with the attribute `target`.
        qubits: the device's qubit for each wire of the circuit.
        transpiled: whether the circuit is already made of the device's native gates.

    Raises:
        CircuitError: a qubit is not on the device or named twice, or the device has none of the
            native gates above.
    """
    target = getattr(device, "target", device)
    qubits = check_wires("noise_from_target", qubits)
    allowed = range(target.num_qubits or 0)
    if len(set(qubits)) != len(qubits) or not set(qubits) <= set(allowed):
        raise CircuitError(
            f"noise_from_target: qubits {list(qubits)}; expected different qubits from 0 to "
            f"{len(allowed) - 1}"
        )
    gates: dict[GateKey, tuple[Channel, ...]] = {}
    for wire, qubit in enumerate(qubits):
        for name, channels in _one_qubit_noise(target, qubit, transpiled).items():
            gates[name, (wire,)] = _placed(channels, (wire,))
    couplings = []
    for pair in ((a, b) for a in range(len(qubits)) for b in range(len(qubits)) if a != b):
        for name, channels in _two_qubit_noise(target, qubits[pair[0]], qubits[pair[1]]).items():
            gates[name, pair] = _placed(channels, pair)
            couplings.append(pair)
    return NoiseModel(
        gates=gates,
        readout=_readout_errors(target, qubits),
        couplings=frozenset(couplings),
    )


def _one_qubit_noise(target: Any, qubit: int, transpiled: bool) -> dict[str, Sequence[Channel]]:
    where = (qubit,)
    turn = _first_native(target, (*_ANY_TURNS, *_QUARTER_TURNS), where)
    quarter = _first_native(target, _QUARTER_TURNS, where)
    if turn is None:
        raise CircuitError(
            f"noise_from_target: qubit {qubit} has none of the gates "
            f"{', '.join((*_QUARTER_TURNS, *_ANY_TURNS))}; write its NoiseModel by hand"
        )
    pulses = 1 if transpiled or turn not in _QUARTER_TURNS else 2
    # What Qiskit's transpiler makes of a rotation by π/2 is an sx, even where there is an rx.
    name = quarter if transpiled and quarter else turn
    rotation = _native_noise(target, name, where) * pulses
    flip = _native_noise(target, "x", where) if _has(target, "x", where) else rotation
    half = rotation if quarter is None else _native_noise(target, quarter, where)
    virtual = _native_noise(target, "rz", where) if _has(target, "rz", where) else ()
    return {
        **dict.fromkeys(("RZ", "PauliZ", "S", "T"), virtual),
        **dict.fromkeys(("RX", "RY"), rotation),
        **dict.fromkeys(("PauliX", "PauliY"), flip),
        "Hadamard": half,
    }


def _two_qubit_noise(target: Any, first: int, second: int) -> dict[str, Sequence[Channel]]:
    """Noise of CNOT, CZ and SWAP on a pair of qubits; empty if the device does not couple it."""
    noise: dict[str, Sequence[Channel]] = {}
    for gate, preferred in (("CNOT", "cx"), ("CZ", "cz")):
        names = (preferred, *_ENTANGLERS)
        # Errors and durations may differ between directions.
        forward = _first_native(target, names, (first, second))
        backward = _first_native(target, names, (second, first))
        if forward is not None:
            noise[gate] = _native_noise(target, forward, (first, second))
        elif backward is not None:
            reverse = _native_noise(target, backward, (second, first))
            noise[gate] = _placed(reverse, (1, 0))
    if noise:
        noise["SWAP"] = tuple(noise["CNOT"]) * 3
    return noise


def _native_noise(target: Any, name: str, qubits: tuple[int, ...]) -> tuple[Channel, ...]:
    """Noise of a native gate, with channels placed on positions in `qubits`."""
    properties = (target[name] or {}).get(qubits)
    if properties is None:
        return ()
    relaxation = []
    fidelity = 1.0
    dim = 2 ** len(qubits)
    if properties.duration:
        relaxation = [_relaxation(target, qubit, properties.duration) for qubit in qubits]
        # Entanglement fidelities of a product multiply.
        entanglement = np.prod([(3 * c.average_gate_fidelity - 1) / 2 for c in relaxation])
        fidelity = float((dim * entanglement + 1) / (dim + 1))
    placed = [channel.on((position,)) for position, channel in enumerate(relaxation)]
    error = min(properties.error or 0.0, dim / (dim + 1))
    if error <= 1 - fidelity:
        return tuple(placed)
    mixed = min(dim * (error - 1 + fidelity) / (dim * fidelity - 1), dim**2 / (dim**2 - 1))
    probability = min(float(mixed * (1 - dim**-2)), 1.0)
    return (depolarizing(probability, len(qubits)).on(range(len(qubits))), *placed)


def _relaxation(target: Any, qubit: int, duration: float) -> Channel:
    """Thermal relaxation to |0⟩; T2 is cut to 2 T1, which fitted values may exceed."""
    properties = (target.qubit_properties or {qubit: None})[qubit]
    t1 = getattr(properties, "t1", None) or np.inf
    t2 = getattr(properties, "t2", None) or np.inf
    return thermal_relaxation(t1, min(t2, 2 * t1), duration)


def _readout_errors(target: Any, qubits: tuple[int, ...]) -> dict[int, ReadoutError]:
    errors = {}
    measurements = target["measure"] if "measure" in target.operation_names else None
    for wire, qubit in enumerate(qubits):
        properties = (measurements or {}).get((qubit,))
        if properties is not None:
            error = properties.error or 0.0
            errors[wire] = ReadoutError(
                getattr(properties, "prob_meas1_prep0", error),
                getattr(properties, "prob_meas0_prep1", error),
            )
    return errors


def _placed(channels: Sequence[Channel], wires: tuple[int, ...]) -> tuple[Channel, ...]:
    """Channels moved from positions to the wires at these positions."""
    return tuple(channel.on([wires[place] for place in channel.wires]) for channel in channels)


def _first_native(target: Any, names: Sequence[str], qubits: tuple[int, ...]) -> str | None:
    return next((name for name in names if _has(target, name, qubits)), None)


def _has(target: Any, name: str, qubits: tuple[int, ...]) -> bool:
    return bool(target.instruction_supported(name, qubits))
