"""Circuits that the analyses are tried on."""

import pennylane as qml

from hqnn_jax.circuits import Circuit


def make(function, num_qubits, num_features, weights_shape):
    return Circuit.from_function(
        function,
        num_qubits=num_qubits,
        num_features=num_features,
        weights_shape=weights_shape,
        name="example",
    )


def product(num_qubits, num_layers=1):
    """RY(w_q) on every qubit; outputs ⟨Z_0⟩ and half the ⟨Z⟩ of the last qubit."""
    del num_layers

    def function(features, weights):
        for qubit in range(num_qubits):
            qml.RY(weights[qubit], qubit)
        return [qml.expval(qml.Z(0)), qml.expval(0.5 * qml.Z(num_qubits - 1))]

    return make(function, num_qubits, 0, (num_qubits,))
