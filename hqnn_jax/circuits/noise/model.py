"""Noise models: which channels follow which gate, and errors of the readout.

Noise acts on the gates of the captured circuit (`Circuit.gates`), whose names are RX, RY, RZ,
Hadamard, PauliX, PauliY, PauliZ, S, T, CNOT, CZ and SWAP: a template or a gate outside this set
is noisy as often as the gates it is decomposed into.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from hqnn_jax.circuits.checks import shown
from hqnn_jax.circuits.gates import TWO_QUBIT_GATES, Gate, Observable
from hqnn_jax.circuits.noise.channels import (
    Channel,
    check_angle,
    check_gate_name,
    check_probability,
    check_wires,
    over_rotation,
)
from hqnn_jax.errors import CircuitError

GateKey = str | tuple[str, tuple[int, ...]]
"""A gate's name, or its name and wires."""

ROTATIONS = ("RX", "RY", "RZ")
# A word of w letters becomes 2^w words when readout errors are asymmetric.
_MAX_TERMS = 2**16


@dataclass(frozen=True)
class BasisChange(Gate):
    """A fixed gate of the measurement, which turns X or Y into Z before the readout.

    It is part of the measurement and not of the circuit, so that no gate noise follows it.
    """


@dataclass(frozen=True)
class ReadoutError:
    """Probabilities that a qubit is read wrongly.

    Attributes:
        p1_given_0: probability of reading 1 in state |0⟩.
        p0_given_1: probability of reading 0 in state |1⟩.

    Raises:
        CircuitError: a probability is not in [0, 1].
    """

    p1_given_0: float
    p0_given_1: float

    def __post_init__(self) -> None:
        """Check the probabilities."""
        check_probability("ReadoutError", "p1_given_0", self.p1_given_0)
        check_probability("ReadoutError", "p0_given_1", self.p0_given_1)

    @property
    def confusion(self) -> np.ndarray:
        """Probability of reading `row` in state `column`, shape [2, 2]."""
        wrong_0, wrong_1 = self.p1_given_0, self.p0_given_1
        return np.array([[1 - wrong_0, wrong_1], [wrong_0, 1 - wrong_1]])

    @property
    def letter(self) -> tuple[float, float]:
        """(s, c) such that the measured value of a letter P has the expectation of s P + c."""
        # The value is 1 - 2 p1_given_0 on average in |0⟩ and 2 p0_given_1 - 1 in |1⟩.
        return 1 - self.p1_given_0 - self.p0_given_1, self.p0_given_1 - self.p1_given_0


@dataclass(frozen=True, eq=False, kw_only=True)
class NoiseModel:
    """Channels that follow the gates of a circuit, and readout errors; static, hashed by identity.

    The most specific entry for a gate is the only one used: (name, wires) before name before
    number of qubits. So `NoiseModel(one_qubit=(depolarizing(1e-3),), gates={"RZ": ()})` has
    noiseless RZ gates. Over-rotation comes in addition and first.

    A channel without wires acts on the wires of the gate; a one-qubit channel that follows a
    two-qubit gate acts on each of them. A channel placed with `channel.on(wires)` acts there
    whatever the gate's wires, which expresses errors that differ between the two wires, and
    crosstalk.

    Attributes:
        one_qubit: channels after each one-qubit gate, in order of application.
        two_qubit: channels after each two-qubit gate.
        gates: channels after the gates of a name ("CNOT"), or of a name on given wires in given
            order (("CNOT", (0, 1))).
        over_rotation: excess angle in radians by gate name; one number is for RX, RY and RZ.
        readout: errors of reading each measured qubit, one for all or by wire. Measurements
            of X and Y are read after a basis change that is itself ideal.
        couplings: pairs of wires that two-qubit gates may act on, in that order; all if None.

    Raises:
        CircuitError: a gate name does not exist, the wires of a gate or channel do not fit, or an
            entry is of the wrong type.
    """

    one_qubit: Sequence[Channel] = ()
    two_qubit: Sequence[Channel] = ()
    gates: Mapping[GateKey, Sequence[Channel]] = field(default_factory=dict)
    over_rotation: float | Mapping[str, float] = 0.0
    readout: ReadoutError | Mapping[int, ReadoutError] | None = None
    couplings: frozenset[tuple[int, int]] | None = None

    def __post_init__(self) -> None:
        """Check names, wires and sizes."""
        excess = self.over_rotation
        if not isinstance(excess, Mapping):
            excess = dict.fromkeys(ROTATIONS, excess) if excess else {}
        for name, angle in excess.items():
            check_gate_name("NoiseModel.over_rotation", name)
            check_angle("NoiseModel.over_rotation", name, angle)
        object.__setattr__(
            self, "over_rotation", {name: angle for name, angle in excess.items() if angle}
        )
        _check_sizes("one_qubit", self.one_qubit, 1)
        _check_sizes("two_qubit", self.two_qubit, 2)
        for key, channels in self.gates.items():
            name, wires = _checked_key(key)
            check_gate_name("NoiseModel.gates", name)
            num_wires = 2 if name in TWO_QUBIT_GATES else 1
            if wires is not None and (len(wires) != num_wires or len(set(wires)) != num_wires):
                raise CircuitError(
                    f"NoiseModel.gates: {name} on wires {wires}; expected {num_wires} "
                    "different wires"
                )
            _check_sizes(f"gates[{key!r}]", channels, num_wires)
        errors = self.readout.values() if isinstance(self.readout, Mapping) else [self.readout]
        for error in errors:
            if not isinstance(error, ReadoutError | None):
                raise CircuitError(
                    f"NoiseModel.readout: {shown(error)}; expected a ReadoutError, or one by wire"
                )

    @property
    def is_trivial(self) -> bool:
        """Whether the model has no noise at all."""
        return not (
            self.one_qubit
            or self.two_qubit
            or any(self.gates.values())
            or self.over_rotation
            or self._misreads
        )

    def check_wires(self, num_qubits: int) -> None:
        """Raise CircuitError if the model names a wire that a circuit of that size lacks."""
        for where, wires in self._named_wires():
            for wire in check_wires(f"NoiseModel.{where}", wires):
                if not 0 <= wire < num_qubits:
                    raise CircuitError(
                        f"NoiseModel.{where} names wire {wire}; expected wires 0 to "
                        f"{num_qubits - 1} of the circuit"
                    )

    def after(self, gate: Gate) -> tuple[Channel, ...]:
        """The channels that follow a gate, placed on wires, in order of application.

        Raises:
            CircuitError: a two-qubit gate acts on a pair of wires that is not in `couplings`.
        """
        if isinstance(gate, BasisChange):
            return ()
        if self.couplings is not None and len(gate.wires) == 2 and gate.wires not in self.couplings:
            first = gate.wires[0]
            partners = sorted(b for a, b in self.couplings if a == first)
            raise CircuitError(
                f"NoiseModel: {gate.name} acts on wires {list(gate.wires)}, which the device does "
                f"not couple; expected wire {first} with one of {partners}, route the circuit first"
            )
        assert isinstance(self.over_rotation, Mapping)
        excess = self.over_rotation.get(gate.name)
        coherent = () if excess is None else (over_rotation(gate.name, excess),)
        return tuple(
            placed
            for channel in (*coherent, *self._listed(gate))
            for placed in _place(channel, gate.wires)
        )

    def readout_error(self, wire: int) -> ReadoutError | None:
        """The error of reading a wire, None if it is read perfectly."""
        if isinstance(self.readout, Mapping):
            return self.readout.get(wire)
        return self.readout

    def noisy_observables(self, observables: Sequence[Observable]) -> tuple[Observable, ...]:
        """Observables whose exact expectation values are those read with readout errors.

        Reading a letter P on a wire gives (1 - p10 - p01) P + (p01 - p10) on average, with
        p10 = `p1_given_0` and p01 = `p0_given_1`; errors of different wires are independent.

        Raises:
            CircuitError: a word has so many letters that its expansion is over 2^16 words.
        """
        if not self._misreads:
            return tuple(observables)
        words = {word for observable in observables for _, word in observable.terms}
        read = {word: tuple(self._read(word)) for word in words}
        expanded = []
        for observable in observables:
            # An output of which nothing is left is still an output.
            terms = {"I" * len(word): 0.0 for _, word in observable.terms}
            for coefficient, word in observable.terms:
                for factor, other in read[word]:
                    terms[other] = terms.get(other, 0.0) + coefficient * factor
            kept = {word: c for word, c in terms.items() if c} or terms
            expanded.append(Observable(tuple((c, word) for word, c in kept.items())))
        return tuple(expanded)

    def _read(self, word: str) -> Iterator[tuple[float, str]]:
        """The words that a word is read as, with factors."""
        choices: list[list[tuple[float, str]]] = []
        for wire, letter in enumerate(word):
            error = None if letter == "I" else self.readout_error(wire)
            scale, offset = (1.0, 0.0) if error is None else error.letter
            kept = [(factor, read) for factor, read in ((scale, letter), (offset, "I")) if factor]
            choices.append(kept)
        count = int(np.prod([len(kept) for kept in choices]))
        if count > _MAX_TERMS:
            raise CircuitError(
                f"NoiseModel: with asymmetric readout errors the word {word} becomes {count} "
                f"words, more than {_MAX_TERMS}; use equal p1_given_0 and p0_given_1"
            )
        for chosen in itertools.product(*choices):
            yield float(np.prod([f for f, _ in chosen])), "".join(read for _, read in chosen)

    def _listed(self, gate: Gate) -> Sequence[Channel]:
        for key in ((gate.name, gate.wires), gate.name):
            if key in self.gates:
                return self.gates[key]
        return self.two_qubit if len(gate.wires) == 2 else self.one_qubit

    @property
    def _misreads(self) -> bool:
        if isinstance(self.readout, Mapping):
            errors = tuple(self.readout.values())
        else:
            errors = () if self.readout is None else (self.readout,)
        return any(error != ReadoutError(0.0, 0.0) for error in errors)

    def _named_wires(self) -> Iterator[tuple[str, Sequence[int]]]:
        """Where the model names wires, and which."""
        channels = {"one_qubit": self.one_qubit, "two_qubit": self.two_qubit}
        for key, listed in self.gates.items():
            channels[f"gates[{key!r}]"] = listed
            if not isinstance(key, str):
                yield f"gates[{key!r}]", key[1]
        for where, listed in channels.items():
            for channel in listed:
                yield where, channel.wires
        if isinstance(self.readout, Mapping):
            yield "readout", tuple(self.readout)


def _checked_key(key: GateKey) -> tuple[str, tuple[int, ...] | None]:
    if isinstance(key, str):
        return key, None
    if not (isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], tuple)):
        raise CircuitError(
            f"NoiseModel.gates: {key!r} names no gate; expected a name, or (name, wires)"
        )
    return key[0], check_wires("NoiseModel.gates", key[1])


def _check_sizes(where: str, channels: Sequence[Channel], num_wires: int) -> None:
    if not isinstance(channels, Sequence) or not all(isinstance(c, Channel) for c in channels):
        raise CircuitError(f"NoiseModel.{where}: {shown(channels)}; expected a tuple of channels")
    for channel in channels:
        if not channel.wires and channel.num_wires not in {1, num_wires}:
            raise CircuitError(
                f"NoiseModel.{where}: a channel on {channel.num_wires} qubits cannot follow a "
                f"{num_wires}-qubit gate; place it with channel.on(wires)"
            )


def _place(channel: Channel, wires: tuple[int, ...]) -> list[Channel]:
    if channel.wires:
        return [channel]
    if channel.num_wires == 1:
        return [channel.on((wire,)) for wire in wires]
    return [channel.on(wires)]
