"""Ansätze: trainable parts of a circuit.

Each function is `ansatz(weights, wires, …)`, queues PennyLane operations and is used inside a
quantum function. Weights are angles in radians; n is the number of wires, L of layers.

Those made of layers take `entanglement` (see `pairs`) and `upload`, a function without arguments
that is called before each layer: given an embedding, it uploads the data again in each layer
(Pérez-Salinas et al., arXiv:1907.02085).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import SupportsIndex

import numpy as np
import pennylane as qml
from jaxtyping import Float

from hqnn_jax.circuits.gates import Wires
from hqnn_jax.circuits.library.embeddings import Traced
from hqnn_jax.circuits.library.entanglement import Entanglement, pairs

Upload = Callable[[], None]
_PairsOfLayer = Callable[[int], Sequence[tuple[int, int]]]


@dataclass(frozen=True)
class Ansatz:
    """An ansatz and its size.

    Attributes:
        apply: `apply(weights, wires)`.
        weights_shape: shape of the weights, given the numbers of qubits and layers.
        takes_entanglement: whether `apply` takes `entanglement`.
        takes_upload: whether `apply` takes `upload`.
    """

    apply: Callable[..., None]
    weights_shape: Callable[[int, int], tuple[int, ...]]
    takes_entanglement: bool = True
    takes_upload: bool = True


def strongly_entangling_layers(
    weights: Float[Traced, "layers qubits 3"],
    wires: Wires,
    entanglement: Entanglement | None = None,
    upload: Upload | None = None,
) -> None:
    """Strongly entangling layers: Π_l [CNOT_l Π_q RZ(ω_lq) RY(θ_lq) RZ(φ_lq)], (φ, θ, ω) = w_lq.

    CNOT_l acts on (q, q + r mod n) for all q with r = l mod (n-1) + 1, or on the pairs of
    `entanglement` where one is given. Weights [L, n, 3], 3nL parameters. Source: Schuld et al.,
    arXiv:1804.00633, as PennyLane's StronglyEntanglingLayers.
    """
    num_qubits = len(wires)

    def ranges(layer: int) -> list[tuple[int, int]]:
        if num_qubits == 1:
            return []
        distance = layer % (num_qubits - 1) + 1
        return [(q, (q + distance) % num_qubits) for q in range(num_qubits)]

    def rotate(layer: int) -> None:
        for q, wire in enumerate(wires):
            qml.Rot(weights[layer, q, 0], weights[layer, q, 1], weights[layer, q, 2], wire)

    chosen = ranges if entanglement is None else _same(entanglement, num_qubits)
    _layers(np.shape(weights)[0], wires, rotate, qml.CNOT, chosen, upload)


def basic_entangler_layers(
    weights: Float[Traced, "layers qubits"],
    wires: Wires,
    entanglement: Entanglement = "ring",
    upload: Upload | None = None,
) -> None:
    """Basic entangler layers: Π_l [CNOT Π_q RX(w_lq)].

    Weights [L, n], nL parameters. Source: PennyLane's BasicEntanglerLayers, with which the
    default agrees.
    """

    def rotate(layer: int) -> None:
        for q, wire in enumerate(wires):
            qml.RX(weights[layer, q], wire)

    _layers(len(weights), wires, rotate, qml.CNOT, _same(entanglement, len(wires)), upload)


def real_amplitudes(
    weights: Float[Traced, "layers_and_one qubits"],
    wires: Wires,
    entanglement: Entanglement = "reverse_linear",
    upload: Upload | None = None,
) -> None:
    """RealAmplitudes: Π_q RY(w_Lq) Π_l [CNOT Π_q RY(w_lq)]; the state stays real.

    Weights [L + 1, n], n(L+1) parameters, in Qiskit's order. Source: Qiskit's real_amplitudes
    with reps = L, whose default entanglement is this one.
    """

    def rotate(layer: int) -> None:
        for q, wire in enumerate(wires):
            qml.RY(weights[layer, q], wire)

    _layers(len(weights) - 1, wires, rotate, qml.CNOT, _same(entanglement, len(wires)), upload)
    rotate(len(weights) - 1)


def efficient_su2(
    weights: Float[Traced, "layers_and_one 2 qubits"],
    wires: Wires,
    entanglement: Entanglement = "reverse_linear",
    upload: Upload | None = None,
) -> None:
    """EfficientSU2: V_L Π_l [CNOT V_l] with V_l = Π_q RZ(w_l1q) RY(w_l0q).

    Weights [L + 1, 2, n], 2n(L+1) parameters, in Qiskit's order. Source: Qiskit's efficient_su2
    with reps = L, whose default entanglement is this one.
    """

    def rotate(layer: int) -> None:
        _ry_rz(weights, layer, wires)

    _layers(len(weights) - 1, wires, rotate, qml.CNOT, _same(entanglement, len(wires)), upload)
    rotate(len(weights) - 1)


def brickwork(
    weights: Float[Traced, "layers 2 qubits"],
    wires: Wires,
    upload: Upload | None = None,
) -> None:
    """Brickwork: Π_l [CZ_l Π_q RZ(w_l1q) RY(w_l0q)].

    CZ_l acts on (0,1)(2,3)… in even layers and on (1,2)(3,4)… in odd ones. Weights [L, 2, n], 2nL
    parameters. Source: alternating layered ansatz of Cerezo et al., arXiv:2001.00550, with
    rotations about two axes.
    """
    num_qubits = len(wires)

    def bricks(layer: int) -> list[tuple[int, int]]:
        return [(q, q + 1) for q in range(layer % 2, num_qubits - 1, 2)]

    def rotate(layer: int) -> None:
        _ry_rz(weights, layer, wires)

    _layers(len(weights), wires, rotate, qml.CZ, bricks, upload)


def hardware_efficient(
    weights: Float[Traced, "layers_and_one qubits 3"],
    wires: Wires,
    entanglement: Entanglement = "linear",
    upload: Upload | None = None,
) -> None:
    """Hardware-efficient ansatz: V_L Π_l [CZ V_l] with V_l = Π_q RZ(w_lq2) RX(w_lq1) RZ(w_lq0).

    CZ acts on the pairs of `entanglement`: give the device's coupling map, and no gate has to be
    routed. Weights [L + 1, n, 3], 3n(L+1) parameters. Source: Kandala et al., arXiv:1704.05018,
    with CZ for the device's entangler; the first RZ, without effect on |0⟩ unless the data comes
    before it, is kept.
    """

    def rotate(layer: int) -> None:
        for q, wire in enumerate(wires):
            qml.RZ(weights[layer, q, 0], wire)
            qml.RX(weights[layer, q, 1], wire)
            qml.RZ(weights[layer, q, 2], wire)

    _layers(len(weights) - 1, wires, rotate, qml.CZ, _same(entanglement, len(wires)), upload)
    rotate(len(weights) - 1)


def tree(weights: Float[Traced, "nodes layers 2"], wires: Wires) -> None:
    """Tree tensor network: neighbours are merged in pairs until one wire, the first, is left.

    A node (a, b) does Π_l [CNOT_{b→a} RY_a(w_kl0) RY_b(w_kl1)] and keeps a; a wire without a
    neighbour waits for the next level. n - 1 nodes, numbered level by level; weights
    [n - 1, L, 2], 2(n-1)L parameters. Measure the first wire. Source: TTN classifier of Grant et
    al., arXiv:1804.03680.
    """
    node = 0
    active = list(wires)
    while len(active) > 1:
        for kept, merged in zip(active[0::2], active[1::2], strict=False):
            for layer in range(np.shape(weights)[1]):
                qml.RY(weights[node, layer, 0], kept)
                qml.RY(weights[node, layer, 1], merged)
                qml.CNOT([merged, kept])
            node += 1
        active = active[0::2]


def qcnn(weights: Float[Traced, "levels angles"], wires: Wires) -> None:
    """Quantum convolutional network: convolution and pooling until one wire, the first, is left.

    In each level, L times a real block of 6 angles (`_so4`) on all neighbours of the ring of wires
    that are left ((0,1)(2,3)…, then (1,2)(3,4)…), then pooling: each second wire b acts on the wire
    a before it by CRZ_{b→a}(w), X_b, CRX_{b→a}(w'), and is left out. All blocks of a level share
    their weights: [⌈log2 n⌉, 6L + 2], (6L + 2)⌈log2 n⌉ parameters. Measure the first wire; ⟨Z⟩ does
    not see the CRZ of the last level, which is there for other measurements. Source: Cong et al.,
    arXiv:1810.03787; block "SO4" and pooling of Hur et al., arXiv:2108.00661.
    """
    num_layers = (np.shape(weights)[1] - 2) // 6
    active = list(wires)
    for level in range(np.shape(weights)[0]):
        for layer in range(num_layers):
            for a, b in _ring(active):
                _so4(weights[level, 6 * layer : 6 * layer + 6], a, b)
        for kept, pooled in zip(active[0::2], active[1::2], strict=False):
            qml.CRZ(weights[level, -2], [pooled, kept])
            qml.X(pooled)
            qml.CRX(weights[level, -1], [pooled, kept])
        active = active[0::2]


def _layers(
    num_layers: int,
    wires: Wires,
    rotate: Callable[[int], None],
    entangler: type[qml.operation.Operation],
    pairs_of_layer: _PairsOfLayer,
    upload: Upload | None,
) -> None:
    for layer in range(num_layers):
        if upload is not None:
            upload()
        rotate(layer)
        for control, target in pairs_of_layer(layer):
            entangler([wires[control], wires[target]])


def _same(entanglement: Entanglement, num_qubits: int) -> _PairsOfLayer:
    chosen = pairs(entanglement, num_qubits)
    return lambda layer: chosen


def _ry_rz(weights: Float[Traced, "layers 2 qubits"], layer: int, wires: Wires) -> None:
    for q, wire in enumerate(wires):
        qml.RY(weights[layer, 0, q], wire)
        qml.RZ(weights[layer, 1, q], wire)


def _ring(wires: Wires) -> list[tuple[SupportsIndex, SupportsIndex]]:
    """Neighbours of a ring in as few rounds of disjoint pairs as there are; one pair for two."""
    count = len(wires)
    starts = [*range(0, count - 1, 2), *range(1, count - 1, 2)]
    closing = [count - 1] if count > 2 else []
    return [(wires[k], wires[(k + 1) % count]) for k in starts + closing]


def _so4(angles: Float[Traced, "6"], a: SupportsIndex, b: SupportsIndex) -> None:
    """Six RY around two CNOT, convolution "SO4" of Hur et al."""
    for pair in range(3):
        qml.RY(angles[2 * pair], a)
        qml.RY(angles[2 * pair + 1], b)
        if pair < 2:
            qml.CNOT([a, b])


ANSATZE: dict[str, Ansatz] = {
    "strongly_entangling": Ansatz(strongly_entangling_layers, lambda n, layers: (layers, n, 3)),
    "basic_entangler": Ansatz(basic_entangler_layers, lambda n, layers: (layers, n)),
    "real_amplitudes": Ansatz(real_amplitudes, lambda n, layers: (layers + 1, n)),
    "efficient_su2": Ansatz(efficient_su2, lambda n, layers: (layers + 1, 2, n)),
    "brickwork": Ansatz(brickwork, lambda n, layers: (layers, 2, n), takes_entanglement=False),
    "hardware_efficient": Ansatz(hardware_efficient, lambda n, layers: (layers + 1, n, 3)),
    "tree": Ansatz(
        tree, lambda n, layers: (n - 1, layers, 2), takes_entanglement=False, takes_upload=False
    ),
    "qcnn": Ansatz(
        qcnn,
        lambda n, layers: ((n - 1).bit_length(), 6 * layers + 2),
        takes_entanglement=False,
        takes_upload=False,
    ),
}
"""Ansätze by name."""
