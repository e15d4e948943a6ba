"""Where each qubit stands: the Bloch vectors of the reduced states that a circuit ends in."""

from collections.abc import Callable
from dataclasses import replace

from jax.typing import ArrayLike
from jaxtyping import Array, Float

from hqnn_jax.circuits.circuit import Circuit
from hqnn_jax.circuits.gates import Observable


def bloch_vectors(
    circuit: Circuit,
) -> Callable[[ArrayLike, ArrayLike], Float[Array, "batch qubits 3"]]:
    """Return `f(weights[weights_shape], features[batch, num_features]) -> [batch, qubits, 3]`.

    (⟨X⟩, ⟨Y⟩, ⟨Z⟩) of each qubit before it is measured, with the circuit's noise but without errors
    of the readout. The length is 1 for a pure state, less where the qubit is entangled with others
    or noise has mixed it; the measurements of the circuit itself do not matter.

    Raises:
        CircuitError: as `Circuit.to_jax` for a noisy circuit of many qubits.
    """
    count = circuit.num_qubits
    words = ["I" * wire + letter + "I" * (count - wire - 1)
             for wire in range(count) for letter in "XYZ"]  # fmt: skip
    noise = None if circuit.noise is None else replace(circuit.noise, readout=None)
    observed = replace(
        circuit, observables=tuple(Observable(((1.0, word),)) for word in words), noise=noise
    )
    # `auto` never takes PennyLane's own simulator, which would measure what the function says.
    evaluate = observed.to_jax()

    def vectors(weights: ArrayLike, features: ArrayLike) -> Float[Array, "batch qubits 3"]:
        values = evaluate(weights, features)
        return values.reshape(values.shape[0], count, 3)

    return vectors
