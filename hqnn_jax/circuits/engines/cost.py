"""What an evaluation with its gradient costs, as far as that is the same for all engines.

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

PASSES = 3
"""Forward, gradient in the state and gradient in the matrices."""


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


def seconds(work: Work, backend: str) -> float:
    """Estimated time on a backend (`cpu`, `gpu`, `tpu`)."""
    rates = RATES[backend]
    return float(np.dot(work, rates))


def backend_name() -> str:
    """The default backend, as named in `RATES`."""
    name = jax.default_backend()
    return {"cuda": "gpu", "rocm": "gpu"}.get(name, name if name in RATES else "cpu")
