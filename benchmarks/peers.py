"""Other simulators, each written as its own documentation writes a batched circuit.

A peer is built from the captured gate list through its native gates, so that any circuit can be
compared; that this is no slower than the same circuit written by hand was measured. Each module is
imported only where its peer is built.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hqnn_jax.benchmarks.contenders import EagerSimulator, Evaluate
from hqnn_jax.benchmarks.native import (
    angle_sources,
    native_gates,
    pauli_terms,
    shared_or_per_sample,
)
from hqnn_jax.benchmarks.reference import pennylane_observable
from hqnn_jax.circuits import Circuit, Observable


def pennylane_vmap(circuit: Circuit) -> Evaluate:
    """PennyLane's default.qubit: the QNode of one sample under `jax.vmap`."""
    return circuit.to_jax("pennylane")


def pennylane_broadcast(circuit: Circuit) -> Evaluate:
    """PennyLane's default.qubit: one QNode whose angles have a batch axis."""
    qnode = _default_qubit(circuit, "jax")
    angles = shared_or_per_sample(circuit)

    def evaluate(weights: Any, features: Any) -> Any:
        outputs = qnode(angles(weights, features))
        columns = [jnp.broadcast_to(output, len(features)) for output in outputs]
        return jnp.stack(columns, axis=1).astype(weights.dtype)

    return evaluate


def pennylane_torch(circuit: Circuit) -> EagerSimulator:
    """PennyLane's default.qubit under PyTorch: broadcast angles, reverse-mode differentiation."""
    return _torch_simulator(circuit, _default_qubit(circuit, "torch"))


def lightning(circuit: Circuit) -> EagerSimulator:
    """PennyLane's lightning.qubit (C++, complex64): adjoint differentiation, sample by sample."""
    import pennylane as qml

    device = qml.device("lightning.qubit", wires=circuit.num_qubits, c_dtype=np.complex64)
    # With device_vjp one adjoint sweep a sample gives the gradient of all outputs together.
    options = {"diff_method": "adjoint", "device_vjp": True}
    return _torch_simulator(circuit, qml.QNode(_broadcast(circuit), device, "torch", **options))


def tensorcircuit(circuit: Circuit) -> Evaluate:
    """TensorCircuit-NG on its JAX backend: one sample's circuit under `vmap`."""
    import tensorcircuit as tc

    tc.set_backend("jax")
    tc.set_dtype("complex64")
    names = {
        "RX": "rx", "RY": "ry", "RZ": "rz", "Hadamard": "h", "PauliX": "x", "PauliY": "y",
        "PauliZ": "z", "S": "s", "T": "t", "CNOT": "cnot", "CZ": "cz", "SWAP": "swap",
    }  # fmt: skip
    gates = native_gates(circuit)
    angles = shared_or_per_sample(circuit)

    def sample(weights: Any, features: Any) -> Any:
        angle = angles(weights, features)
        state = tc.Circuit(circuit.num_qubits)
        for gate in gates:
            if gate.name == "Rot":
                phi, theta, omega = map(angle, gate.angles)
                state.u(*gate.wires, theta=theta, phi=omega, lbd=phi)
            else:
                keywords = {"theta": angle(gate.angles[0])} if gate.angles else {}
                getattr(state, names[gate.name])(*gate.wires, **keywords)
        return jnp.stack([_tensorcircuit_expectation(state, o) for o in circuit.observables])

    return jax.vmap(sample, (None, 0))


def _tensorcircuit_expectation(state: Any, observable: Observable) -> Any:
    total: Any = 0.0
    for coefficient, word in observable.terms:
        wires: dict[str, list[int]] = {"X": [], "Y": [], "Z": []}
        for letter, wire in pauli_terms(word):
            wires[letter].append(wire)
        if any(wires.values()):
            value = state.expectation_ps(x=wires["X"], y=wires["Y"], z=wires["Z"])
            total += coefficient * jnp.real(value)
        else:
            total += coefficient
    return jnp.asarray(total, jnp.float32)


def qujax(circuit: Circuit) -> Evaluate:
    """The qujax package: parameters to state tensor to expectation values, under `vmap`.

    Gates that read features and gates that read weights are circuits of their own, one taking
    the other's state, so that `vmap` leaves the second kind's matrices without a batch axis.
    """
    import qujax as package

    parts = _qujax_parts(circuit)
    expectations = [_qujax_expectation(observable) for observable in circuit.observables]

    def sample(weights: Any, features: Any) -> Any:
        pools = {
            False: circuit.angles.shared_angles(weights) / jnp.pi,
            True: circuit.angles.sample_angles(features[None], weights)[0] / jnp.pi,
        }
        state = package.all_zeros_statetensor(circuit.num_qubits, jnp.complex64)
        for per_sample, evolve in parts:
            state = evolve(state) if per_sample is None else evolve(pools[per_sample], state)
        return jnp.stack([expectation(state) for expectation in expectations])

    return jax.vmap(sample, (None, 0))


_QUJAX_GATES = {
    "RX": "Rx", "RY": "Ry", "RZ": "Rz", "Hadamard": "H", "PauliX": "X", "PauliY": "Y",
    "PauliZ": "Z", "S": "S", "T": "T", "CNOT": "CX", "CZ": "CZ", "SWAP": "SWAP", "Rot": "U3",
}  # fmt: skip


def _qujax_parts(circuit: Circuit) -> list[tuple[bool | None, Callable[..., Any]]]:
    """Maximal runs of gates whose angles are per sample, shared, or (None) absent."""
    import qujax as package

    angles = circuit.angles
    runs: list[tuple[bool | None, list[tuple[str, list[int], list[int]]]]] = []
    for gate in native_gates(circuit):
        positions = angles.per_sample[list(gate.angles)]
        per_sample = bool(np.any(positions >= 0)) if gate.angles else None
        latest = runs[-1][0] if runs else None
        if not runs or (None not in (per_sample, latest) and per_sample != latest):
            runs.append((per_sample, []))
        elif latest is None:
            # Gates without angles go with whatever follows them.
            runs[-1] = (per_sample, runs[-1][1])
        if not per_sample:
            positions = angles.shared[list(gate.angles)]
        # The parameters of U3 are (θ, ω, φ) of RZ(ω) RY(θ) RZ(φ).
        order = (1, 2, 0) if gate.name == "Rot" else range(len(gate.angles))
        indices = [int(positions[place]) for place in order]
        runs[-1][1].append((_QUJAX_GATES[gate.name], list(gate.wires), indices))
    return [
        (
            kind,
            package.get_params_to_statetensor_func(*zip(*gates, strict=True), circuit.num_qubits),
        )
        for kind, gates in runs
    ]


def _qujax_expectation(observable: Observable) -> Callable[[Any], Any]:
    import qujax as package

    terms = [(c, list(pauli_terms(word))) for c, word in observable.terms]
    constant = sum(coefficient for coefficient, letters in terms if not letters)
    terms = [(coefficient, letters) for coefficient, letters in terms if letters]
    evaluate = package.get_statetensor_to_expectation_func(
        [[letter for letter, _ in letters] for _, letters in terms],
        [[wire for _, wire in letters] for _, letters in terms],
        [coefficient for coefficient, _ in terms],
    )
    return lambda state: evaluate(state) + constant


def _broadcast(circuit: Circuit) -> Callable[..., Any]:
    """A quantum function of `angle(index)`, each angle a scalar or a batch."""
    import pennylane as qml

    gates = native_gates(circuit)

    def function(angle: Callable[[int], Any]) -> Any:
        for gate in gates:
            getattr(qml, gate.name)(*map(angle, gate.angles), wires=list(gate.wires))
        return [qml.expval(pennylane_observable(o)) for o in circuit.observables]

    return function


def _default_qubit(circuit: Circuit, interface: str) -> Any:
    import pennylane as qml

    device = qml.device("default.qubit", wires=circuit.num_qubits)
    return qml.QNode(_broadcast(circuit), device, interface=interface, diff_method="backprop")


def _torch_simulator(circuit: Circuit, qnode: Any) -> EagerSimulator:
    import torch

    sources = angle_sources(circuit)

    def outputs(weights: Any, features: Any) -> Any:
        flat = weights.reshape(-1)

        def angle(index: int) -> Any:
            source = sources[index]
            if source.kind == "feature":
                return features[:, source.index]
            return flat[source.index] if source.kind == "weight" else source.number

        columns = [output.expand(len(features)) for output in qnode(angle)]
        return torch.stack(columns, dim=1)

    return _TorchSimulator(outputs)


class _TorchSimulator:
    """Outputs of a PyTorch function, differentiated in reverse."""

    def __init__(self, outputs: Callable[[Any, Any], Any]) -> None:
        self._outputs = outputs

    def load(self, weights: np.ndarray, features: np.ndarray, cotangents: np.ndarray) -> None:
        import torch

        self._weights = torch.tensor(weights, requires_grad=True)
        self._features = torch.tensor(features, requires_grad=True)
        self._cotangents = torch.tensor(cotangents)

    def value(self) -> Any:
        import torch

        with torch.no_grad():
            return self._outputs(self._weights, self._features)

    def value_and_gradient(self) -> tuple[Any, Any, Any]:
        import torch

        outputs = self._outputs(self._weights, self._features)
        loss = torch.sum(self._cotangents * outputs)
        gradients = torch.autograd.grad(loss, (self._weights, self._features))
        return outputs.detach(), *gradients
