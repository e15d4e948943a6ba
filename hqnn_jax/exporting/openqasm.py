"""The trained circuit of a model in OpenQASM 3: weights as numbers, features as inputs."""

from __future__ import annotations

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from hqnn_jax.circuits import Circuit
from hqnn_jax.errors import ExportError
from hqnn_jax.exporting.packages import require
from hqnn_jax.models.middles import QuantumLayer, build_middle_circuit
from hqnn_jax.trained.model import TrainedModel


def trained_circuit(model: TrainedModel) -> tuple[Circuit, Float[Array, "..."]]:
    """Return the circuit of a model, without noise, and its trained weights.

    Raises:
        ExportError: where the middle is classical.
    """
    config = model.config
    ideal = config.circuit.model_copy(update={"noise": None})
    circuit = build_middle_circuit(config.model_copy(update={"circuit": ideal}))
    middle = model.network.module(model.variables).middle
    if circuit is None or not isinstance(middle, QuantumLayer):
        raise ExportError(
            f"model.middle is {config.middle!r}: there is no circuit to export; expected a model "
            "whose middle is a circuit, or another format"
        )
    return circuit, middle.weights[...]


def to_openqasm3(model: TrainedModel) -> str:
    """Return the trained circuit of a model in OpenQASM 3.

    Its inputs `features_k` are the angles, in radians, that the classical part of the model makes
    of an image. Noise is not exported.

    Raises:
        ExportError: where the middle is classical, or Qiskit is missing.
        CircuitError: for an angle that cannot be expressed, see `Circuit.to_openqasm3`.
    """
    require("openqasm3", "qiskit", "qiskit")
    circuit, weights = trained_circuit(model)
    text = bound(circuit, weights).to_openqasm3()
    first, rest = text.split("\n", 1)
    data = model.record.trained_on.name
    note = "// trained on {}; features_k: angle k, in radians, that the model makes of an image"
    return "\n".join([first, note.format(" ".join(data.split())), rest])


def bound(circuit: Circuit, weights: ArrayLike) -> Circuit:
    """Return the circuit with its weights as numbers; it takes an array of none."""
    values = np.asarray(weights, np.float64)
    return Circuit.from_function(
        lambda features, _: circuit.function(features, values),
        num_qubits=circuit.num_qubits,
        num_features=circuit.num_features,
        weights_shape=(0,),
        name=circuit.name,
    )
