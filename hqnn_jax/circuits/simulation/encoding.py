"""Where the data enters once: each encoded qubit's Pauli vector as a function of its features.

A qubit's vector is E φ(x). With one angle that reads features, φ = (1, cos θ, sin θ); with more,
φ is the Pauli vector itself. E, and what follows in the circuit, is the same for all samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hqnn_jax.circuits.angles import AngleFunction
from hqnn_jax.circuits.gates import Gate
from hqnn_jax.circuits.simulation.pauli import ZERO_STATE, Chain, ChainStack, rotation_coefficients
from hqnn_jax.circuits.simulation.rotations import Angles, is_per_sample

Items = tuple[Gate | np.ndarray, ...]
"""Gates and transfer matrices [4, 4] of channels on one wire, in order of application."""


@dataclass(frozen=True, eq=False)
class QubitEncoding:
    """One qubit's items, divided where features enter.

    Attributes:
        before: items before the first gate that reads features.
        reading: items from there to the last gate that does; empty for a qubit without data.
        after: items after that.
    """

    before: Items
    reading: Items
    after: Items

    @classmethod
    def of(cls, items: Items, function: AngleFunction) -> "QubitEncoding":
        """Divide the items on a wire."""
        reads = [
            number
            for number, item in enumerate(items)
            if isinstance(item, Gate) and is_per_sample([item], function)
        ]
        if not reads:
            return cls(items, (), ())
        return cls(items[: reads[0]], items[reads[0] : reads[-1] + 1], items[reads[-1] + 1 :])

    @property
    def size(self) -> int:
        """Number of basis functions: 1 without data, 3 for one angle, 4 for more."""
        return {0: 1, 1: 3}.get(len(self.reading), 4)

    def basis(
        self,
        function: AngleFunction,
        angles: Angles,
        start: Float[Array, "4 1"],
    ) -> Float[Array, "basis _"]:
        """The functions φ; `start` is the Pauli vector after `before`."""
        if not self.reading:
            return jnp.ones((1, 1), angles.dtype)
        if self.size == 3:
            (gate,) = self.reading
            assert isinstance(gate, Gate)
            cosine, sine = _cosine_sine(function, angles, gate)
            return jnp.concatenate([jnp.ones_like(cosine), cosine, sine])
        vector = start
        for item in self.reading:
            if isinstance(item, Gate):
                constant, cosine, sine = jnp.asarray(rotation_coefficients(item.name), angles.dtype)
                turned = constant @ vector
                if item.angle is not None:
                    c, s = _cosine_sine(function, angles, item)
                    turned = turned + c * (cosine @ vector) + s * (sine @ vector)
                vector = turned
            else:
                vector = jnp.asarray(item, angles.dtype) @ vector
        return vector

    def embedding(self, start: Float[Array, "4 1"], after: Float[Array, "4 4"]) -> Array:
        """E [4, basis], from the vector before and the transfer matrix after the data."""
        if not self.reading:
            return after @ start
        if self.size == 4:
            return after
        (gate,) = self.reading
        assert isinstance(gate, Gate)
        coefficients = jnp.asarray(rotation_coefficients(gate.name), start.dtype)
        return after @ jnp.concatenate([c @ start for c in coefficients], axis=1)


@dataclass(frozen=True, eq=False)
class Encoding:
    """The encodings of all qubits.

    Attributes:
        function: the circuit's angle function.
        qubits: one encoding each.
        stack: the chains before and after the data, qubit by qubit.
    """

    function: AngleFunction
    qubits: tuple[QubitEncoding, ...]
    stack: ChainStack

    @classmethod
    def of(cls, items: Sequence[Items], function: AngleFunction) -> "Encoding":
        """Plan the encodings from the items on each wire."""
        qubits = tuple(QubitEncoding.of(tuple(wire), function) for wire in items)
        chains = [Chain.of(part) for q in qubits for part in (q.before, q.after)]
        return cls(function, qubits, ChainStack.of(chains))

    def __call__(
        self, angles: Angles
    ) -> tuple[list[Float[Array, "_basis _"]], list[Float[Array, "4 _basis"]]]:
        """The basis functions and the embedding of each qubit."""
        if self.stack.unitaries:
            chains = self.stack.matrices(self.function, angles)[..., 0]
        else:
            chains = jnp.broadcast_to(jnp.eye(4, dtype=angles.dtype), (2 * len(self.qubits), 4, 4))
        zero = jnp.asarray(ZERO_STATE, angles.dtype)[:, None]
        functions, embeddings = [], []
        for number, qubit in enumerate(self.qubits):
            start = chains[2 * number] @ zero
            functions.append(qubit.basis(self.function, angles, start))
            embeddings.append(qubit.embedding(start, chains[2 * number + 1]))
        return functions, embeddings


def _cosine_sine(
    function: AngleFunction, angles: Angles, gate: Gate
) -> tuple[Float[Array, "1 _"], Float[Array, "1 _"]]:
    assert gate.angle is not None
    cosine = angles.cosines.read(function, [gate.angle])
    sine = angles.sines.read(function, [gate.angle])
    return cosine**2 - sine**2, 2 * sine * cosine
