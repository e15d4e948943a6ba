"""The first layer on |0…0⟩: a tensor product of one-qubit states, divided where the data enters."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hqnn_jax.circuits.angles import AngleFunction
from hqnn_jax.circuits.gates import Gate
from hqnn_jax.circuits.simulation.components import (
    Components,
    multiply,
    product_state,
    to_components,
)
from hqnn_jax.circuits.simulation.rotations import Angles, RotationStack, is_per_sample


@dataclass(frozen=True, eq=False)
class FirstLayer:
    """The first layer's rotations on |0…0⟩.

    Attributes:
        wires: the wires that read a feature.
        heads: for each of these, its gates up to the last that does.
        tail_gates: for every wire, the gates after these, the same for all samples.
        tails: their matrices.
    """

    wires: tuple[int, ...]
    heads: RotationStack
    tail_gates: tuple[tuple[Gate, ...], ...]
    tails: RotationStack

    @classmethod
    def of(
        cls, rotations: dict[int, tuple[Gate, ...]], num_qubits: int, angles: AngleFunction
    ) -> "FirstLayer":
        """Divide the gates on each wire behind the last that depends on features."""
        heads, tails, wires = [], [], []
        for wire in range(num_qubits):
            gates = rotations.get(wire, ())
            reads = [k for k, gate in enumerate(gates) if is_per_sample([gate], angles)]
            split = reads[-1] + 1 if reads else 0
            tails.append(gates[split:])
            if reads:
                heads.append(gates[:split])
                wires.append(wire)
        return cls(tuple(wires), RotationStack.of(heads), tuple(tails), RotationStack.of(tails))

    def encode(
        self, function: AngleFunction, angles: Angles
    ) -> Float[Array, "wires components 2 batch"] | None:
        """The states that the heads make of |0⟩, real if they all are; None without data."""
        if not self.wires:
            return None
        vectors = self.heads.columns(function, angles)
        return jnp.moveaxis(to_components(vectors, 1 if self.heads.is_real else 2), 0, 1)

    def state(
        self,
        function: AngleFunction,
        angles: Angles,
        encoded: Float[Array, "wires components 2 columns"] | None,
        components: int,
    ) -> Components:
        """The tensor product [components, 2^n, columns] of what the tails make of `encoded`."""
        tails = self.tails.matrices(function, angles)
        matrices = jnp.moveaxis(to_components(tails, 1 if self.tails.is_real else 2), 0, 1)
        # Without data the wires start in |0⟩, of which a matrix makes its first column.
        factors = list(jnp.unstack(matrices[:, :, :, 0]))
        if encoded is not None:
            turned = encoded
            if any(self.tail_gates[wire] for wire in self.wires):
                own = jnp.moveaxis(matrices[np.array(self.wires)], 1, 0)
                heads = jnp.moveaxis(encoded, 1, 0)[:, :, None]
                first = multiply(own[:, :, :, 0], heads[:, :, :, 0])
                turned = first + multiply(own[:, :, :, 1], heads[:, :, :, 1])
                turned = jnp.moveaxis(turned, 0, 1)
            for wire, factor in zip(self.wires, jnp.unstack(turned), strict=True):
                factors[wire] = factor
        state = product_state(factors)
        if len(state) < components:
            state = jnp.concatenate([state, jnp.zeros_like(state)])
        return state
