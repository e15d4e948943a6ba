"""Circuits of the reproduced papers."""

import pennylane as qml

from hqnn_jax.circuits.circuit import Circuit
from hqnn_jax.circuits.library.ansatze import real_amplitudes, strongly_entangling_layers
from hqnn_jax.circuits.library.composed import check_size, expectations
from hqnn_jax.circuits.library.embeddings import angle, zz


def radhi2025(num_qubits: int = 6, num_layers: int = 4) -> Circuit:
    """Circuit of Radhi et al. (2025), Algorithm 1.

    |ψ⟩ = Π_l [CNOT_l Π_q RY_q(w_lq)] Π_{q<4} RY_q(x_q) H^{⊗n} |0⟩, outputs ⟨Z_q⟩ on every qubit.
    CNOT_l acts on (0,1)(2,3)(4,5)… in even layers and on (1,2)(3,4)… in odd ones. Four features
    (fewer on fewer than four qubits); weights [num_layers, num_qubits], that is num_layers ·
    num_qubits parameters: 24 in the paper.

    Raises:
        CircuitError: fewer than one qubit or layer.
    """
    check_size("radhi2025", num_qubits, num_layers)
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
        return expectations("Z", num_qubits)

    return Circuit.from_function(
        function,
        num_qubits=num_qubits,
        num_features=num_features,
        weights_shape=(num_layers, num_qubits),
        name="radhi2025",
    )


def hqcnn2025(num_qubits: int = 4, num_layers: int = 3) -> Circuit:
    """Circuit of "Medical Image Classification using Hybrid Quantum-Classical Neural Network".

    |ψ⟩ = Π_l [SEL_l CNOT Π_q RZ_q(w_lq1) RY_q(w_lq0)] Π_q RY_q(x_q) |0⟩, outputs ⟨Z_q⟩ on every
    qubit; SEL_l is one strongly entangling layer with the angles w_lq2, w_lq3, w_lq4 and CNOTs of
    range l mod (num_qubits - 1) + 1. One feature per qubit; weights [num_layers, num_qubits, 5],
    that is 5 · num_layers · num_qubits parameters: 60 by default.

    The student thesis of this title (Comilla University, 2025) names the parts (angle embedding, RY
    and RZ rotations, CNOTs, strongly entangling layers, 4 qubits, 3 layers) but neither their order
    within a layer nor the embedding's axis nor which qubits the CNOTs join. Reading: the data enter
    once, by RY (PennyLane's default is RX); each layer has the parts in the order listed, its own
    weights, and CNOTs on neighbours (q, q+1).

    Raises:
        CircuitError: fewer than one qubit or layer.
    """
    check_size("hqcnn2025", num_qubits, num_layers)

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
        return expectations("Z", num_qubits)

    return Circuit.from_function(
        function,
        num_qubits=num_qubits,
        num_features=num_qubits,
        weights_shape=(num_layers, num_qubits, 5),
        name="hqcnn2025",
    )


def strongly_entangling(num_qubits: int = 4, num_layers: int = 4) -> Circuit:
    """Angle embedding and strongly entangling layers.

    |ψ⟩ = SEL(w) Π_q RY_q(x_q) |0⟩, see `strongly_entangling_layers`; outputs ⟨Z_q⟩ on every qubit.
    One feature per qubit; weights [num_layers, num_qubits, 3], that is 3 · num_layers · num_qubits
    parameters, 48 by default.

    Raises:
        CircuitError: fewer than one qubit or layer.
    """
    return _strongly_entangling("strongly_entangling", num_qubits, num_layers)


def lean2025(num_qubits: int = 4, num_layers: int = 4) -> Circuit:
    """Circuit of Hasan et al., after LCQHNN (Liu et al., arXiv:2412.02059).

    The circuit of `strongly_entangling`: 48 parameters in the paper's size, 4 qubits and 4 layers.
    The paper names the parts and the number of layers, but not the embedding's axis, the
    entangler's ranges or the measurement. Reading: RY, as in the project's other circuits and
    unlike AngleEmbedding's default, RX; PennyLane's default ranges, ⟨Z⟩ on every qubit.

    Raises:
        CircuitError: fewer than one qubit or layer.
    """
    return _strongly_entangling("lean2025", num_qubits, num_layers)


def hqnn2026(num_qubits: int = 4, num_layers: int = 2) -> Circuit:
    """Circuit of "Enhancing Blood Cells Classification using Hybrid Quantum Neural Networks".

    The circuit of `strongly_entangling`: 24 parameters by default. Only the abstract
    (arXiv:2605.23324) is available; it names a low-dimensional bottleneck and a variational
    circuit. Reading: as many qubits as the bottleneck has features, 4; angle embedding by RY (how
    features become angles is the model's `feature_scaling`, in the shipped configurations
    `standardised_tanh`); 2 strongly entangling layers, the fewest whose CNOTs join every pair of 4
    qubits.

    Raises:
        CircuitError: fewer than one qubit or layer.
    """
    return _strongly_entangling("hqnn2026", num_qubits, num_layers)


def _strongly_entangling(name: str, num_qubits: int, num_layers: int) -> Circuit:
    check_size(name, num_qubits, num_layers)

    def function(features, weights):
        angle(features, range(num_qubits))
        strongly_entangling_layers(weights, range(num_qubits))
        return expectations("Z", num_qubits)

    return Circuit.from_function(
        function,
        num_qubits=num_qubits,
        num_features=num_qubits,
        weights_shape=(num_layers, num_qubits, 3),
        name=name,
    )


def aml2026(num_qubits: int = 4, num_layers: int = 2) -> Circuit:
    """Circuit of "Analyzing Images of Blood Cells with Quantum Machine Learning Methods".

    |ψ⟩ = RA(w) ZZ(x) |0⟩: the ZZ feature map (`zz`: full entanglement, 2 repetitions), then
    RealAmplitudes with full entanglement; output ⟨Z_0⟩, whose sign is the label. One feature per
    qubit, in [0, 2π]; weights [num_layers + 1, num_qubits], that is num_qubits · (num_layers + 1)
    parameters.

    The paper (arXiv:2601.18710) speaks of 8 parameters, its code has 12: `num_layers` (Qiskit's
    `reps`) is 1 or 2. It gives the whole circuit a depth of 12. Reading: 2, with full entanglement,
    because 12 is the depth of this RealAmplitudes alone on 4 qubits, and of no other with 1 or 2
    layers and Qiskit's linear, reverse-linear or full pairs; the whole circuit, with the feature
    map, has a depth of 42. The repetitions of the feature map are not stated; 2 is Qiskit's
    default.

    Raises:
        CircuitError: fewer than one qubit or layer.
    """
    check_size("aml2026", num_qubits, num_layers)

    def function(features, weights):
        zz(features, range(num_qubits))
        real_amplitudes(weights, range(num_qubits), entanglement="full")
        return qml.expval(qml.Z(0))

    return Circuit.from_function(
        function,
        num_qubits=num_qubits,
        num_features=num_qubits,
        weights_shape=(num_layers + 1, num_qubits),
        name="aml2026",
    )
