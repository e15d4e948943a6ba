"""Circuits composed of an embedding, an ansatz and a measurement, each chosen by name."""

from collections.abc import Callable

import pennylane as qml
from pennylane.measurements import MeasurementProcess

from hqnn_jax.circuits.checks import as_integer
from hqnn_jax.circuits.circuit import Circuit
from hqnn_jax.circuits.library.ansatze import ANSATZE, Ansatz
from hqnn_jax.circuits.library.choice import chosen
from hqnn_jax.circuits.library.embeddings import EMBEDDINGS
from hqnn_jax.circuits.library.entanglement import Entanglement, pairs
from hqnn_jax.errors import CircuitError


def check_size(name: str, num_qubits: int, num_layers: int) -> None:
    """Raise CircuitError for fewer than one qubit or layer, or sizes that are not integers."""
    for size in (num_qubits, num_layers):
        if isinstance(size, bool) or (as_integer(size) or 0) < 1:
            raise CircuitError(
                f"Circuit '{name}': num_qubits={num_qubits!r}, num_layers={num_layers!r}; expected "
                "integers, at least 1 of each"
            )


def expectations(letter: str, num_qubits: int) -> list[MeasurementProcess]:
    """Expectation value of one Pauli operator, `X`, `Y` or `Z`, on every qubit."""
    pauli = {"X": qml.X, "Y": qml.Y, "Z": qml.Z}[letter]
    return [qml.expval(pauli(qubit)) for qubit in range(num_qubits)]


def _correlations(num_qubits: int) -> list[MeasurementProcess]:
    alone = expectations("Z", num_qubits)
    return alone + [qml.expval(qml.Z(q) @ qml.Z(r)) for q, r in pairs("full", num_qubits)]


MEASUREMENTS: dict[str, Callable[[int], list[MeasurementProcess]]] = {
    "z": lambda n: expectations("Z", n),
    "z_first": lambda n: [qml.expval(qml.Z(0))],
    "xyz": lambda n: [m for letter in "XYZ" for m in expectations(letter, n)],
    "zz": _correlations,
    "parity": lambda n: [qml.expval(qml.prod(*map(qml.Z, range(n))))],
    "probabilities": lambda n: [qml.probs(wires=range(n))],
}
"""Measurements by name, for n qubits: ⟨Z_q⟩ of every qubit (n outputs), ⟨Z_0⟩ alone (1), X, Y and
Z of every qubit (3n), ⟨Z_q⟩ and ⟨Z_q Z_r⟩ of all pairs (n(n+1)/2), ⟨Z⊗…⊗Z⟩ (1), and the
probabilities of the basis states (2^n, at most 8 qubits)."""


def compose(
    num_qubits: int = 4,
    num_layers: int = 2,
    *,
    embedding: str = "angle_y",
    ansatz: str = "strongly_entangling",
    entanglement: Entanglement | None = None,
    reuploading: bool = False,
    measurement: str = "z",
) -> Circuit:
    """Circuit composed of an embedding, an ansatz and a measurement.

    |ψ⟩ = A(w) E(x) |0⟩, or, with re-uploading, A_L(w_L) E(x) … A_1(w_1) E(x) |0⟩ for the layers
    A_l of the ansatz. Formulas, numbers of parameters and sources are those of the parts.

    Args:
        num_qubits: number of qubits n.
        num_layers: number of layers L of the ansatz.
        embedding: a name in `EMBEDDINGS`; it gives the number of features.
        ansatz: a name in `ANSATZE`; it gives the shape of the weights.
        entanglement: what the ansatz entangles, a name in `ENTANGLEMENTS` or a list of pairs; None
            for the ansatz' own. The embedding keeps its own.
        reuploading: whether the embedding comes before each layer instead of once at the front.
        measurement: a name in `MEASUREMENTS`.

    Raises:
        CircuitError: an unknown name, fewer than one qubit or layer, or an ansatz whose pattern is
            fixed together with `entanglement` or `reuploading`.
    """
    name = f"{embedding}+{ansatz}"
    check_size(name, num_qubits, num_layers)
    embed, part = chosen("embedding", embedding, EMBEDDINGS), chosen("ansatz", ansatz, ANSATZE)
    measure = chosen("measurement", measurement, MEASUREMENTS)
    _check_options(ansatz, part, entanglement, reuploading)
    options = {} if entanglement is None else {"entanglement": entanglement}
    wires = range(num_qubits)

    def function(features, weights):
        if reuploading:
            part.apply(weights, wires, upload=lambda: embed.apply(features, wires), **options)
        else:
            embed.apply(features, wires)
            part.apply(weights, wires, **options)
        return measure(num_qubits)

    return Circuit.from_function(
        function,
        num_qubits=num_qubits,
        num_features=embed.num_features(num_qubits),
        weights_shape=part.weights_shape(num_qubits, num_layers),
        name=name,
    )


def _check_options(
    name: str, ansatz: Ansatz, entanglement: Entanglement | None, reuploading: bool
) -> None:
    if entanglement is not None and not ansatz.takes_entanglement:
        able = [other for other, a in ANSATZE.items() if a.takes_entanglement]
        raise CircuitError(
            f"ansatz {name!r} has an entanglement of its own; leave entanglement out, or use one "
            f"of {', '.join(able)}"
        )
    if reuploading and not ansatz.takes_upload:
        able = [other for other, a in ANSATZE.items() if a.takes_upload]
        raise CircuitError(
            f"ansatz {name!r} has no layers before which data could be uploaded again; leave "
            f"reuploading out, or use one of {', '.join(able)}"
        )
