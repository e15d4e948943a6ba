"""What an evaluation with its gradient costs, and the choice of the cheapest engine.

The model counts, for value and gradient, the compiled operations, the multiply-adds in matrix
products and the numbers read or written elsewhere. The time of each was fitted to measurements of
every engine (`benchmarks/results`), which the tests compare the choices with.
"""

from typing import NamedTuple

import jax
import numpy as np

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.gates import REAL_GATES
from hqnn_jax.circuits.simulation.rotations import is_per_sample
from hqnn_jax.circuits.simulation.schedule import schedule


class Work(NamedTuple):
    """Counts of one evaluation with its gradient."""

    operations: float
    multiply_adds: float
    numbers: float


class Rates(NamedTuple):
    """Seconds for one of each of the counts of `Work`."""

    operation: float
    multiply_add: float
    number: float


RATES = {
    "cpu": Rates(operation=1.7e-6, multiply_add=8.9e-12, number=4.8e-10),
    # From the data sheet of an H100 (launch latency, float32 rate, bandwidth); not measured.
    "gpu": Rates(operation=4e-6, multiply_add=6e-14, number=2e-12),
    "tpu": Rates(operation=2e-6, multiply_add=6e-14, number=4e-12),
}

# Forward, gradient in the state and gradient in the matrices.
_PASSES = 3
_GROUP = {1: 5, 2: 4}


class Shape(NamedTuple):
    """What the costs depend on.

    Attributes:
        num_qubits: number of qubits.
        components: 1 if every gate is real, else 2.
        layers: layers after the first.
        encoded: qubits that read features in the first layer.
        real_encoding: whether these are encoded by real gates.
        outputs: number of outputs.
    """

    num_qubits: int
    components: int
    layers: int
    encoded: int
    real_encoding: bool
    outputs: int

    @classmethod
    def of(cls, circuit: Definition) -> "Shape":
        """Read the shape off a circuit."""
        layers = schedule(circuit.gates, circuit.num_qubits)
        first = layers[0].rotations.values()
        encoded = [gates for gates in first if is_per_sample(gates, circuit.angles)]
        real = all(gate.name in REAL_GATES for gates in encoded for gate in gates
                   if is_per_sample([gate], circuit.angles))  # fmt: skip
        return cls(
            num_qubits=circuit.num_qubits,
            components=1 if all(gate.name in REAL_GATES for gate in circuit.gates) else 2,
            layers=sum(bool(layer.rotations) for layer in layers[1:]),
            encoded=len(encoded),
            real_encoding=real,
            outputs=circuit.num_outputs,
        )


def statevector_work(shape: Shape, batch: int) -> Work:
    """Every layer multiplies each group of wires and moves all numbers a few times."""
    per_group = _GROUP[shape.components]
    groups = -(-shape.num_qubits // per_group)
    rows = shape.components * 2 ** (shape.num_qubits / groups)
    state = shape.components * 2**shape.num_qubits * batch
    return Work(
        operations=_PASSES * (shape.layers * (2 * groups + 1) + 14),
        multiply_adds=_PASSES * state * (shape.layers * groups * rows + shape.outputs),
        numbers=_PASSES * state * (2 * shape.layers * groups + 4),
    )


def unitary_work(shape: Shape, batch: int) -> Work:
    """The layers act on all basis states of the encoded qubits; the batch is one product."""
    columns = 2**shape.encoded
    # What follows the data on the same qubits is a layer of its own here.
    folded = statevector_work(shape._replace(layers=shape.layers + 1), columns)
    vectors = (1 if shape.real_encoding else 2) * columns
    rows = shape.components * 2**shape.num_qubits
    return Work(
        operations=folded.operations - _PASSES * 6,
        multiply_adds=folded.multiply_adds + _PASSES * rows * batch * (vectors + shape.outputs),
        numbers=folded.numbers + _PASSES * batch * (2 * rows + 4 * vectors),
    )


def pauli_transfer_work(shape: Shape, batch: int) -> Work:
    """Observables cross all layers as Pauli vectors; the batch meets the basis functions."""
    groups = -(-shape.num_qubits // 2)
    vectors = shape.outputs * 4.0**shape.num_qubits
    basis = 3.0**shape.encoded
    # Beyond a certain size, products of the basis functions of all qubits are not stored.
    stored = basis if basis <= 256 else 2 * np.sqrt(basis) + shape.outputs * np.sqrt(basis)
    return Work(
        operations=_PASSES * ((shape.layers + 1) * (2 * groups + 1) + 15),
        multiply_adds=_PASSES
        * (vectors * 16 * groups * (shape.layers + 1) + basis * shape.outputs * batch),
        numbers=_PASSES * (vectors * (2 * groups + 2) * (shape.layers + 1) + 4 * batch * stored),
    )


def seconds(work: Work, backend: str) -> float:
    """Estimated time on a backend (`cpu`, `gpu`, `tpu`)."""
    rates = RATES[backend]
    return float(np.dot(work, rates))


def backend_name() -> str:
    """The default backend, as named in `RATES`."""
    name = jax.default_backend()
    return {"cuda": "gpu", "rocm": "gpu"}.get(name, name if name in RATES else "cpu")
