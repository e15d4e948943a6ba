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
from hqnn_jax.errors import CircuitError

_PRECISION = jax.lax.Precision.HIGHEST
# V has 4^n entries: 1 GiB in single precision at 13 qubits.
_MAX_QUBITS = 13


def why_not(circuit: Circuit) -> str | None:
    """Why the engine cannot evaluate the circuit, None if it can."""
    if circuit.num_qubits > _MAX_QUBITS:
        return f"its matrix would have 4^{circuit.num_qubits} entries; at most {_MAX_QUBITS} qubits"
    layers, _ = measured_layers(circuit)
    plan = Evolution.of(layers, circuit.gates, circuit.num_qubits, circuit.angles)
    if plan.reads_features_later:
        return "features enter after the first layer of one-qubit gates"
    return None


def build(circuit: Circuit) -> Callable[..., Float[Array, "batch outputs"]]:
    """Return `evaluate(weights, features[batch, num_features]) -> [batch, num_outputs]`.

    Raises:
        CircuitError: the data enters later than in the first layer, or the circuit has too many
            qubits.
    """
    reason = why_not(circuit)
    if reason is not None:
        raise CircuitError(
            f"Circuit '{circuit.name}': engine 'unitary' does not apply: {reason}; "
            "use 'statevector' or 'auto'"
        )
    layers, expectation = measured_layers(circuit)
    evolution = Evolution.of(layers, circuit.gates, circuit.num_qubits, circuit.angles)
    basis = basis_states(len(evolution.first.wires))

    def evaluate(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outputs"]:
        angles = Angles.of(circuit.angles, weights, features)
        columns = [jnp.asarray(factor, weights.dtype) for factor in basis]
        first = evolution.first.state(circuit.angles, angles, columns, evolution.components)
        matrix = evolution.run(first, evolution.parameters(angles))
        encoded = evolution.first.encode(circuit.angles, angles)
        state = _apply(matrix, product_state(encoded)) if encoded else matrix
        return jnp.broadcast_to(expectation(state).T, (len(features), circuit.num_outputs))

    return evaluate


def basis_states(num_qubits: int) -> list[np.ndarray]:
    """Factors [1, 2, 2^n] of all basis states, one a column: their product is the identity."""
    states = np.arange(2**num_qubits)
    bits = [(states >> (num_qubits - 1 - wire)) & 1 for wire in range(num_qubits)]
    return [np.stack([1 - bit, bit])[None].astype(float) for bit in bits]


def _apply(matrix: Components, vectors: Components) -> Components:
    """matrix [components, 2^n, 2^k] times vectors [components, 2^k, batch]."""
    rows = matrix.reshape(-1, matrix.shape[2])
    if len(vectors) == 2:
        turned = jnp.stack([-matrix[1], matrix[0]]).reshape(rows.shape)
        rows = jnp.concatenate([rows, turned], axis=1)
    product = jnp.matmul(rows, vectors.reshape(rows.shape[1], -1), precision=_PRECISION)
    return product.reshape(*matrix.shape[:2], -1)
