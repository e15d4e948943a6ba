"""The reference engine: PennyLane's own simulator, mapped over the batch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import pennylane as qml
from jaxtyping import Array, Float

from hqnn_jax.circuits.capture.pennylane_norms import defined_norms
from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.engines.engine import Engine, Memory


def build(circuit: Definition) -> Callable[..., Float[Array, "batch outputs"]]:
    """Return the quantum function as a `default.qubit` QNode mapped over samples.

    The result is `evaluate(weights, features[batch, num_features]) -> [batch, num_outputs]`.
    """
    device = qml.device("default.qubit", wires=circuit.num_qubits)
    qnode = qml.QNode(circuit.function, device, interface="jax", diff_method="backprop")

    def evaluate_sample(
        weights: Float[Array, "..."], features: Float[Array, " features"]
    ) -> Float[Array, " outputs"]:
        with defined_norms():
            results = jax.tree.leaves(qnode(features, weights))
        return jnp.concatenate([jnp.atleast_1d(result) for result in results]).astype(weights.dtype)

    return jax.vmap(evaluate_sample, in_axes=(None, 0))


# The gradient keeps the state after each gate.
ENGINE = Engine(build=build, memory=lambda circuit: Memory(2.0, 4.0 + len(circuit.gates)))
