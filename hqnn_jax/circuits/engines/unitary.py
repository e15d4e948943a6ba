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

from hqnn_jax.circuits.components import Components, product_state
from hqnn_jax.circuits.definition import Circuit
from hqnn_jax.circuits.engines.statevector import measured_layers
from hqnn_jax.circuits.evolution import Evolution
from hqnn_jax.circuits.rotations import Angles

_PRECISION = jax.lax.Precision.HIGHEST
# V has 4^n entries: 1 GiB in single precision at 13 qubits.
_MAX_QUBITS = 13


def why_not(circuit: Circuit) -> str | None:
    """Why the engine cannot evaluate the circuit and what to use instead, None if it can."""
    if circuit.num_qubits > _MAX_QUBITS:
        return (
            f"its matrix would have 4^{circuit.num_qubits} entries, and {_MAX_QUBITS} qubits are "
            "the most; use 'statevector' or 'auto'"
        )
    layers, _ = measured_layers(circuit)
    plan = Evolution.of(layers, circuit.gates, circuit.num_qubits, circuit.angles)
    if plan.reads_features_later:
        return (
            "features enter after the first layer of one-qubit gates; use 'statevector' or 'auto'"
        )
    return None


def build(circuit: Circuit) -> Callable[..., Float[Array, "batch outputs"]]:
    """Return `evaluate(weights, features[batch, num_features]) -> [batch, num_outputs]`.

    For circuits that `why_not` has nothing against.
    """
    layers, expectation = measured_layers(circuit)
    evolution = Evolution.of(layers, circuit.gates, circuit.num_qubits, circuit.angles)
    basis = _basis_states(len(evolution.first.wires))

    def evaluate(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outputs"]:
        angles = Angles.of(circuit.angles, weights, features)
        columns = None if basis is None else jnp.asarray(basis, weights.dtype)
        first = evolution.first.state(circuit.angles, angles, columns, evolution.components)
        matrix = evolution.run(first, evolution.parameters(angles))
        encoded = evolution.first.encode(circuit.angles, angles)
        state = matrix
        if encoded is not None:
            state = _apply(matrix, product_state(list(jnp.unstack(encoded))))
        return jnp.broadcast_to(expectation(state).T, (len(features), circuit.num_outputs))

    return evaluate


def _basis_states(num_qubits: int) -> np.ndarray | None:
    """Factors [n, 1, 2, 2^n] of all basis states, one a column: their product is the identity."""
    if not num_qubits:
        return None
    states = np.arange(2**num_qubits)
    bits = [(states >> (num_qubits - 1 - wire)) & 1 for wire in range(num_qubits)]
    return np.array([np.stack([1 - bit, bit])[None] for bit in bits], float)


def _apply(matrix: Components, vectors: Components) -> Components:
    """matrix [components, 2^n, 2^k] times vectors [components, 2^k, batch]."""
    rows = matrix.reshape(-1, matrix.shape[2])
    if len(vectors) == 2:
        turned = jnp.stack([-matrix[1], matrix[0]]).reshape(rows.shape)
        rows = jnp.concatenate([rows, turned], axis=1)
    product = jnp.matmul(rows, vectors.reshape(rows.shape[1], -1), precision=_PRECISION)
    return product.reshape(*matrix.shape[:2], -1)
