"""Export of a circuit to Qiskit."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float
from qiskit import QuantumCircuit, __version__
from qiskit.circuit import Parameter, ParameterExpression, ParameterVector
from qiskit.passmanager import BasePassManager
from qiskit.quantum_info import SparsePauliOp

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.exchange.expressions import symbolic_angles, value_at
from hqnn_jax.circuits.gates import Observable
from hqnn_jax.circuits.symbolic import Inexpressible
from hqnn_jax.errors import CircuitError

QISKIT_NAMES = {
    "CNOT": "cx",
    "CZ": "cz",
    "Hadamard": "h",
    "PauliX": "x",
    "PauliY": "y",
    "PauliZ": "z",
    "RX": "rx",
    "RY": "ry",
    "RZ": "rz",
    "S": "s",
    "SWAP": "swap",
    "T": "t",
}
"""Name of each gate of the gate set in Qiskit and in OpenQASM 3's standard library."""


class QiskitCircuit(NamedTuple):
    """A circuit for Qiskit, with everything an estimator needs.

    Attributes:
        circuit: the gates, without measurements; qubit q is wire q. Its angles, in radians, are
            expressions in the elements of `features` and `weights`, or elements of `angles`.
        features: one parameter per feature; may hold parameters that no gate uses.
        weights: one parameter per weight, flattened in C order; likewise.
        angles: one parameter per angle, of which the circuit uses those that Qiskit cannot
            express; none without `precompute`.
        observables: one operator per output, in Qiskit's order of labels: qubit 0 comes last.
        source: the circuit that was exported.
    """

    circuit: QuantumCircuit
    features: ParameterVector
    weights: ParameterVector
    angles: ParameterVector
    observables: tuple[SparsePauliOp, ...]
    source: Definition

    def bind(
        self, weights: ArrayLike, features: ArrayLike
    ) -> Float[np.ndarray, "batch parameters"]:
        """Arrange values in the order of `circuit.parameters`, for `Sampler` and `Estimator`.

        Args:
            weights: values of the weights, in the shape of the source's weights.
            features: values of the features, shape [batch, num_features].

        Returns:
            float64 values of the parameters that the circuit uses: that order is by name, and
            parameters that no gate uses are not in it.

        Raises:
            CircuitError: the shapes do not fit, or a number is complex.
        """
        if np.iscomplexobj(weights) or np.iscomplexobj(features):
            raise CircuitError(
                f"Circuit '{self.source.name}': weights or features are complex; expected real "
                "numbers"
            )
        trained, samples = np.asarray(weights, float), np.asarray(features, float)
        if trained.shape != self.source.weights_shape:
            raise CircuitError(
                f"Circuit '{self.source.name}': weights have shape {trained.shape}, expected "
                f"{self.source.weights_shape}"
            )
        if samples.ndim != 2 or samples.shape[1] != len(self.features):
            raise CircuitError(
                f"Circuit '{self.source.name}': features have shape {samples.shape}, expected "
                f"(batch, {len(self.features)})"
            )
        parameters = [*self.features, *self.weights, *self.angles]
        column = {parameter: position for position, parameter in enumerate(parameters)}
        values = [samples, np.broadcast_to(trained.ravel(), (len(samples), trained.size))]
        if not self.circuit.parameters.isdisjoint(self.angles):
            with jax.enable_x64(True):
                compute = jax.jit(jax.vmap(self.source.angles, (0, None)))
                values.append(np.asarray(compute(samples, trained)))
        used = [column[parameter] for parameter in self.circuit.parameters]
        return np.concatenate(values, axis=1)[:, used]

    def pub(self, weights: ArrayLike, features: ArrayLike) -> tuple[Any, Any, Any]:
        """The input of an `EstimatorV2` whose `data.evs` has shape [batch, num_outputs].

        Arguments and errors are those of `bind`.
        """
        return self.circuit, [list(self.observables)], self.bind(weights, features)[:, None]

    def transpiled(self, pass_manager: BasePassManager) -> "QiskitCircuit":
        """The same for a device: the circuit transpiled, the observables on its physical qubits."""
        circuit = pass_manager.run(self.circuit)
        observables = tuple(
            observable.apply_layout(circuit.layout, circuit.num_qubits)
            for observable in self.observables
        )
        return self._replace(circuit=circuit, observables=observables)


def to_qiskit(circuit: Definition, *, precompute: bool = False) -> QiskitCircuit:
    """Export a circuit to Qiskit with features and weights as parameters, not as numbers.

    Arithmetic on features and weights becomes parameter expressions with constants in double
    precision. Of noise in the circuit nothing is exported: hardware has its own, and a simulator
    is given a noise model of its own.

    Args:
        circuit: the circuit.
        precompute: what to do with angles that Qiskit's parameter expressions cannot express (a
            comparison, a remainder, arctan2 ...) or evaluate wrongly. If True they become
            parameters of their own, `angles[k]`, whose values `QiskitCircuit.bind` computes.

    Raises:
        CircuitError: there is such an angle and `precompute` is False; the message names the
            arithmetic and the gate.
    """
    features = ParameterVector("features", circuit.num_features)
    weights = ParameterVector("weights", circuit.num_weights)
    precomputed = ParameterVector("angles", circuit.angles.num_angles if precompute else 0)
    angles = gate_angles(circuit, features, weights, precomputed)
    exported = QuantumCircuit(circuit.num_qubits, name=circuit.name)
    for gate in circuit.gates:
        parameters = () if gate.angle is None else (angles[gate.angle],)
        getattr(exported, QISKIT_NAMES[gate.name])(*parameters, *gate.wires)
    observables = tuple(_sparse_pauli_op(o, circuit.num_qubits) for o in circuit.observables)
    return QiskitCircuit(exported, features, weights, precomputed, observables, circuit)


def gate_angles(
    circuit: Definition,
    features: ParameterVector,
    weights: ParameterVector,
    precomputed: ParameterVector,
) -> list[float | ParameterExpression]:
    """Angles in radians as expressions in the given parameters, in the order of `Gate.angle`.

    Qiskit simplifies expressions as they are built, and not always rightly (2.6 takes
    exp(x) + exp(-x) for zero). So every expression is compared with JAX at two points.

    Args:
        circuit: the circuit.
        features: one parameter per feature.
        weights: one parameter per weight.
        precomputed: one parameter per angle, to stand for what Qiskit cannot express or gets
            wrong; empty if that is an error.

    Raises:
        CircuitError: Qiskit cannot express an angle, or gets it wrong, and `precomputed` is empty.
    """
    angles = symbolic_angles(circuit.angles, list(features), list(weights))
    reasons = {
        position: f"is computed with '{angle.primitive}', which Qiskit cannot express"
        for position, angle in enumerate(angles)
        if isinstance(angle, Inexpressible)
    }
    for position in _wrong_angles(circuit, angles, [*features, *weights]):
        reasons[position] = f"gets a wrong value from Qiskit {__version__}"
    if reasons and not len(precomputed):
        gate = next(gate for gate in circuit.gates if gate.angle in reasons)
        raise CircuitError(
            f"Circuit '{circuit.name}': the angle of {gate.name} on wires {list(gate.wires)} "
            f"{reasons[gate.angle or 0]} as a parameter expression; export with precompute=True, "
            "or compute it before the circuit and pass it as a feature"
        )
    return [
        precomputed[position] if position in reasons else angle
        for position, angle in enumerate(angles)
    ]


def _wrong_angles(
    circuit: Definition, angles: Sequence[Any], parameters: Sequence[Parameter]
) -> set[int]:
    """Positions of the expressions whose value is not that of the angle function."""
    computed = [
        position
        for position, angle in enumerate(angles)
        if isinstance(angle, ParameterExpression) and not isinstance(angle, Parameter)
    ]
    wrong: set[int] = set()
    if not computed:
        return wrong
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        evaluate = jax.jit(circuit.angles)
        # The first within the domain of most functions, the second with all signs.
        for low, high in ((0.1, 0.9), (-3.0, 3.0)):
            point = generator.uniform(low, high, len(parameters))
            features, weights = np.split(point, [circuit.num_features])
            expected = np.asarray(evaluate(features, weights.reshape(circuit.weights_shape)))
            value = dict(zip(parameters, point.tolist(), strict=True))
            for position in computed:
                found = value_at(angles[position], value)
                agrees = np.isclose(found, expected[position], rtol=1e-8, atol=1e-8)
                if np.isfinite(expected[position]) and not agrees:
                    wrong.add(position)
    return wrong


def _sparse_pauli_op(observable: Observable, num_qubits: int) -> SparsePauliOp:
    """Qiskit writes the word of qubit 0 last."""
    terms = [(word[::-1], coefficient) for coefficient, word in observable.terms]
    return SparsePauliOp.from_list(terms, num_qubits=num_qubits)
