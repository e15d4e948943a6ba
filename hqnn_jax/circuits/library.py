"""Circuits of the reproduced papers."""

from collections.abc import Callable

import pennylane as qml

from hqnn_jax.circuits.definition import Circuit
from hqnn_jax.errors import CircuitError


def _check_size(name: str, num_qubits: int, num_layers: int) -> None:
    if num_qubits < 1 or num_layers < 1:
        raise CircuitError(
            f"Circuit '{name}': num_qubits={num_qubits}, num_layers={num_layers}; expected at "
            "least 1 of each"
        )


def radhi2025(num_qubits: int = 6, num_layers: int = 4) -> Circuit:
    """Circuit of Radhi et al. (2025), Algorithm 1.

    |ψ⟩ = Π_l [CNOT_l Π_q RY_q(w_lq)] Π_{q<4} RY_q(x_q) H^{⊗n} |0⟩, outputs ⟨Z_q⟩ on every qubit.
    CNOT_l acts on (0,1)(2,3)(4,5)… in even layers and on (1,2)(3,4)… in odd ones. Four features
    (fewer on fewer than four qubits); weights [num_layers, num_qubits], that is num_layers ·
    num_qubits parameters: 24 in the paper.

    Raises:
        CircuitError: fewer than one qubit or layer.
    """
    _check_size("radhi2025", num_qubits, num_layers)
    num_features = min(4, num_qubits)

    def function(features, weights):
        for qubit in range(num_qubits):
            qml.Hadamard(qubit)
        for qubit in range(num_features):
            qml.RY(features[qubit], qubit)
        for layer in range(num_layers):
            for qubit in range(num_qubits):
                qml.RY(weights[layer, qubit], qubit)
            for qubit in range(layer % 2, num_qubits - 1, 2):
                qml.CNOT([qubit, qubit + 1])
        return [qml.expval(qml.Z(qubit)) for qubit in range(num_qubits)]

    return Circuit.from_function(
        function,
        num_qubits=num_qubits,
        num_features=num_features,
        weights_shape=(num_layers, num_qubits),
        name="radhi2025",
    )


def strongly_entangling(num_qubits: int = 4, num_layers: int = 4) -> Circuit:
    """Angle embedding and strongly entangling layers, as in lean2025 and hqnn2026.

    |ψ⟩ = Π_l [CNOT_l Π_q Rot_q(w_lq)] Π_q RY_q(x_q) |0⟩ with Rot(φ, θ, ω) = RZ(ω) RY(θ) RZ(φ),
    outputs ⟨Z_q⟩ on every qubit. CNOT_l is a ring of range l mod (num_qubits - 1) + 1. One feature
    per qubit; weights [num_layers, num_qubits, 3], that is 3 · num_layers · num_qubits parameters
    (48 by default, the size of lean2025). Source of the layers: Schuld et al.,
    arXiv:1804.00633, as PennyLane's StronglyEntanglingLayers.

    Raises:
        CircuitError: fewer than one qubit or layer.
    """
    _check_size("strongly_entangling", num_qubits, num_layers)

    def function(features, weights):
        qml.AngleEmbedding(features, wires=range(num_qubits), rotation="Y")
        qml.StronglyEntanglingLayers(weights, wires=range(num_qubits))
        return [qml.expval(qml.Z(qubit)) for qubit in range(num_qubits)]

    return Circuit.from_function(
        function,
        num_qubits=num_qubits,
        num_features=num_qubits,
        weights_shape=(num_layers, num_qubits, 3),
        name="strongly_entangling",
    )


def hqcnn2025(num_qubits: int = 4, num_layers: int = 3) -> Circuit:
    """Circuit of "Medical Image Classification using Hybrid Quantum-Classical Neural Network".

    |ψ⟩ = Π_l [SEL_l CNOT Π_q RZ_q(w_lq1) RY_q(w_lq0)] Π_q RY_q(x_q) |0⟩, outputs ⟨Z_q⟩ on every
    qubit; SEL_l is one strongly entangling layer with the angles w_lq2, w_lq3, w_lq4 and CNOTs of
    range l mod (num_qubits - 1) + 1. One feature per qubit; weights [num_layers, num_qubits, 5],
    that is 5 · num_layers · num_qubits parameters: 60 by default.

    The paper (arXiv:2509.14277) names the parts (angle embedding, RY and RZ rotations, CNOTs,
    strongly entangling layers, 4 qubits, 3 layers) but neither their order within a layer nor the
    embedding's axis nor which qubits the CNOTs join. Reading: the data enter once, by RY; each
    layer has the parts in the order listed, its own weights, and CNOTs on neighbours (q, q+1).

    Raises:
        CircuitError: fewer than one qubit or layer.
    """
    _check_size("hqcnn2025", num_qubits, num_layers)

    def function(features, weights):
        qml.AngleEmbedding(features, wires=range(num_qubits), rotation="Y")
        for layer in range(num_layers):
            for qubit in range(num_qubits):
                qml.RY(weights[layer, qubit, 0], qubit)
                qml.RZ(weights[layer, qubit, 1], qubit)
            for qubit in range(num_qubits - 1):
                qml.CNOT([qubit, qubit + 1])
            qml.StronglyEntanglingLayers(
                weights[layer : layer + 1, :, 2:],
                wires=range(num_qubits),
                ranges=[layer % (num_qubits - 1) + 1] if num_qubits > 1 else None,
            )
        return [qml.expval(qml.Z(qubit)) for qubit in range(num_qubits)]

    return Circuit.from_function(
        function,
        num_qubits=num_qubits,
        num_features=num_qubits,
        weights_shape=(num_layers, num_qubits, 5),
        name="hqcnn2025",
    )


CIRCUITS: dict[str, Callable[..., Circuit]] = {
    "radhi2025": radhi2025,
    "strongly_entangling": strongly_entangling,
    "hqcnn2025": hqcnn2025,
}
"""Circuits by the name used in configuration files; each takes `num_qubits` and `num_layers`."""
