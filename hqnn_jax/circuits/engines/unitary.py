"""The part of a circuit that no feature enters, folded into one matrix a call.

Where the data enters once, in one-qubit gates at the front, the state of a sample is V φ: φ is the
tensor product of the encoded qubits, small and different for each sample, and V, with 2^n rows and
2^k columns for k encoded qubits, is the same for all. The batch is one matrix product.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.engines import statevector
from hqnn_jax.circuits.engines.cost import PASSES, Shape, Work
from hqnn_jax.circuits.engines.engine import Engine, Memory
from hqnn_jax.circuits.engines.statevector import measured_layers
from hqnn_jax.circuits.simulation.bits import bit
from hqnn_jax.circuits.simulation.components import Components, product_state
from hqnn_jax.circuits.simulation.evolution import Evolution, reads_features
from hqnn_jax.circuits.simulation.rotations import Angles
from hqnn_jax.circuits.simulation.schedule import Layer

_PRECISION = jax.lax.Precision.HIGHEST
# V has 4^n entries: 1 GiB in single precision at 13 qubits.
_MAX_QUBITS = 13


def why_not(circuit: Definition) -> str | None:
    """Why the engine cannot evaluate the circuit and what to use instead, None if it can."""
    if circuit.num_qubits > _MAX_QUBITS:
        return (
            f"its matrix would have 4^{circuit.num_qubits} entries, and {_MAX_QUBITS} qubits are "
            "the most; use 'statevector' or 'auto'"
        )
    (first, *others), _ = measured_layers(circuit)
    later = [Layer({}, first.entangler), *others]
    if any(reads_features(layer, circuit.angles) for layer in later):
        return (
            "features enter after the first layer of one-qubit gates; use 'statevector' or 'auto'"
        )
    return None


def build(circuit: Definition) -> Callable[..., Float[Array, "batch outputs"]]:
    """Return `evaluate(weights, features[batch, num_features]) -> [batch, num_outputs]`.

    For circuits that `why_not` has nothing against.
    """
    layers, expectation = measured_layers(circuit)
    evolution = Evolution.of(
        layers, circuit.gates, circuit.num_qubits, circuit.angles, from_encoding=True
    )
    basis = _basis_states(circuit.num_qubits, evolution.first.wires, evolution.components)

    def evaluate(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outputs"]:
        angles = Angles.of(circuit.angles, weights, features)
        states = jnp.asarray(basis, weights.dtype)
        matrix = evolution.run(states, evolution.parameters(angles))
        encoded = evolution.first.encode(circuit.angles, angles)
        state = matrix
        if encoded is not None:
            state = _apply(matrix, product_state(list(jnp.unstack(encoded))))
        return jnp.broadcast_to(expectation(state).T, (features.shape[0], circuit.num_outputs))

    return evaluate


def _basis_states(num_qubits: int, wires: tuple[int, ...], components: int) -> np.ndarray:
    """All basis states of some wires, the others in |0⟩, [components, 2^n, 2^wires]."""
    columns = np.arange(2 ** len(wires))
    labels = np.zeros_like(columns)
    for place, wire in enumerate(wires):
        labels |= ((columns >> (len(wires) - 1 - place)) & 1) * bit(wire, num_qubits)
    states = np.zeros((components, 2**num_qubits, columns.size))
    states[0, labels, columns] = 1
    return states


def _apply(matrix: Components, vectors: Components) -> Components:
    """matrix [components, 2^n, 2^k] times vectors [components, 2^k, batch]."""
    rows = matrix.reshape(-1, matrix.shape[2])
    if len(vectors) == 2:
        turned = jnp.stack([-matrix[1], matrix[0]]).reshape(rows.shape)
        rows = jnp.concatenate([rows, turned], axis=1)
    product = jnp.matmul(rows, vectors.reshape(rows.shape[1], -1), precision=_PRECISION)
    return product.reshape(*matrix.shape[:2], -1)


def work(shape: Shape, batch: int) -> Work:
    """The layers act on all basis states of the encoded qubits; the batch is one product."""
    columns = 2**shape.encoded
    # What follows the data on the same qubits is a layer of its own here.
    folded = statevector.work(shape._replace(layers=shape.layers + 1), columns)
    vectors = (1 if shape.real_encoding else 2) * columns
    rows = shape.components * 2**shape.num_qubits
    return Work(
        operations=folded.operations - PASSES * 6,
        multiply_adds=folded.multiply_adds + PASSES * rows * batch * (vectors + shape.outputs),
        numbers=folded.numbers + PASSES * batch * (2 * rows + 4 * vectors),
    )


ENGINE = Engine(build=build, why_not=why_not, memory=lambda circuit: Memory(1.0, 4.0), work=work)
