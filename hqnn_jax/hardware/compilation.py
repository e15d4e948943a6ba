"""Circuits made of a backend's own gates on its own qubits, with parameters still free."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from hqnn_jax.circuits import Circuit, NoiseModel
from hqnn_jax.errors import HardwareError
from hqnn_jax.hardware.backends import Backend

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp
    from qiskit.transpiler import Target

    from hqnn_jax.circuits.exchange.to_qiskit import QiskitCircuit

MAX_TWO_QUBIT_DEPTH = 300
"""Deepest circuit sent to a device unless asked: at errors of 5e-3 a gate little is left of it."""
_GENERIC_GATES = ["rz", "sx", "x", "cx"]
_ROUTING_PASSES = {"SabreLayout", "SabreSwap", "BasicSwap", "LookaheadSwap"}


@dataclass(frozen=True, eq=False)
class CompiledCircuit:
    """A circuit compiled once, to be run with any weights and features.

    Attributes:
        source: the circuit.
        backend: what it was compiled for.
        exported: the circuit in the backend's gates, with the observables on the backend's qubits.
        initial_layout: the backend's qubit that each wire starts on.
        final_layout: the backend's qubit that each wire is measured on.
        num_swaps: SWAPs that routing inserted.
        seed: the transpiler seed that gave it.
        log_fidelity: sum of log(1 - error) over gates and readout, a rough guess of how much
            survives; 0 without a device.
        settings: what `compile_for` was asked for.
    """

    source: Circuit
    backend: Backend
    exported: QiskitCircuit
    initial_layout: tuple[int, ...]
    final_layout: tuple[int, ...]
    num_swaps: int
    seed: int
    log_fidelity: float
    settings: dict[str, Any]

    @property
    def circuit(self) -> QuantumCircuit:
        """The circuit in the backend's gates, without measurements."""
        return self.exported.circuit

    @property
    def observables(self) -> tuple[SparsePauliOp, ...]:
        """One operator per output, on the backend's qubits."""
        return self.exported.observables

    @property
    def used_qubits(self) -> tuple[int, ...]:
        """The backend's qubits that gates act on or that are measured, in ascending order."""
        circuit = self.circuit
        acted = {circuit.find_bit(q).index for gate in circuit.data for q in gate.qubits}
        return tuple(sorted(acted | set(self.final_layout)))

    @property
    def depth(self) -> int:
        """Longest chain of gates."""
        return self.circuit.depth()

    @property
    def two_qubit_depth(self) -> int:
        """Longest chain of two-qubit gates."""
        return _two_qubit_depth(self.circuit)

    @property
    def num_two_qubit_gates(self) -> int:
        """Number of two-qubit gates."""
        return self.circuit.num_nonlocal_gates()

    def parameter_values(
        self, weights: ArrayLike, features: ArrayLike
    ) -> Float[np.ndarray, "batch parameters"]:
        """Values in the order of `circuit.parameters`, float64.

        Args:
            weights: values of the weights, in the shape of the source's weights.
            features: values of the features, shape [batch, num_features], angles in radians.

        Raises:
            CircuitError: the shapes do not fit.
        """
        return self.exported.bind(weights, features)

    def on_used_qubits(self) -> tuple[QuantumCircuit, tuple[SparsePauliOp, ...], tuple[int, ...]]:
        """The same on the qubits in use alone, numbered from 0 in the order of `used_qubits`.

        Returns:
            The circuit, the observables, and the qubit that each wire is measured on.
        """
        from qiskit import QuantumCircuit
        from qiskit.quantum_info import PauliList, SparsePauliOp

        used = self.used_qubits
        place = {qubit: position for position, qubit in enumerate(used)}
        reduced = QuantumCircuit(len(used), name=self.circuit.name)
        reduced.global_phase = self.circuit.global_phase
        for gate in self.circuit.data:
            wires = [place[self.circuit.find_bit(qubit).index] for qubit in gate.qubits]
            reduced.append(gate.operation, wires)
        measured = tuple(place[qubit] for qubit in self.final_layout)
        observables = tuple(
            # Identities everywhere else.
            SparsePauliOp(
                PauliList.from_symplectic(o.paulis.z[:, used], o.paulis.x[:, used]), o.coeffs
            )
            for o in self.observables
        )
        return reduced, observables, measured

    def summary(self) -> dict[str, Any]:
        """What a report says of the compiled circuit, ready for JSON."""
        return {
            "backend": self.backend.name,
            "circuit": self.source.name,
            "num_qubits": self.source.num_qubits,
            "depth": self.depth,
            "two_qubit_depth": self.two_qubit_depth,
            "num_two_qubit_gates": self.num_two_qubit_gates,
            "num_swaps": self.num_swaps,
            "gates": {name: int(count) for name, count in self.circuit.count_ops().items()},
            "initial_layout": list(self.initial_layout),
            "final_layout": list(self.final_layout),
            "expected_fidelity": math.exp(self.log_fidelity),
            "seed": self.seed,
        }

    def draw(self) -> Figure:
        """Draw the circuit on the qubits in use, with the wire each is read as."""
        from hqnn_jax.hardware.drawing import draw_native

        circuit, _, measured = self.on_used_qubits()
        return draw_native(circuit, self.used_qubits, measured)


def compile_for(
    circuit: Circuit,
    backend: Backend,
    *,
    optimization_level: int = 3,
    seed: int = 0,
    initial_layout: Sequence[int] | None = None,
    num_tries: int = 8,
    max_two_qubit_depth: int = MAX_TWO_QUBIT_DEPTH,
) -> CompiledCircuit:
    """Compile a circuit for a backend, parameters left free.

    It is transpiled with `num_tries` seeds from `seed` on. The result with the lowest two-qubit
    depth is kept, among these the one with the fewest two-qubit gates, then the one with the
    smallest expected error. `statevector` runs the circuit as it is written.

    Args:
        circuit: the circuit; its noise is left out, since backends have their own.
        backend: the backend.
        optimization_level: of Qiskit's transpiler, 0 to 3.
        seed: the first seed of the transpiler.
        initial_layout: the device's qubit for each wire; chosen by the transpiler if None.
        num_tries: number of seeds.
        max_two_qubit_depth: limit for devices and their noise models.

    Raises:
        HardwareError: the device has too few qubits, the layout does not fit, or the two-qubit
            depth is over the limit.
    """
    exported = circuit.to_qiskit(precompute=True)
    settings = {
        "optimization_level": optimization_level,
        "seed": seed,
        "initial_layout": None if initial_layout is None else list(initial_layout),
        "num_tries": num_tries,
    }
    wires = tuple(range(circuit.num_qubits))
    if backend.is_exact:
        return CompiledCircuit(circuit, backend, exported, wires, wires, 0, seed, 0.0, settings)
    _check_size(circuit, backend, initial_layout)
    tries = [
        _transpile(circuit, exported, backend, settings | {"seed": seed + attempt})
        for attempt in range(max(1, num_tries if optimization_level else 1))
    ]
    best = min(
        tries, key=lambda c: (c.two_qubit_depth, c.num_two_qubit_gates, -c.log_fidelity, c.seed)
    )
    if backend.device is not None and best.two_qubit_depth > max_two_qubit_depth:
        raise HardwareError(
            f"circuit '{circuit.name}' has a two-qubit depth of {best.two_qubit_depth} "
            f"({best.num_two_qubit_gates} two-qubit gates) on {backend.name}, more than "
            f"{max_two_qubit_depth}: noise leaves nothing of it; use fewer qubits, layers or "
            "another embedding than amplitude, or raise max_two_qubit_depth"
        )
    return best


def noisy_circuit(compiled: CompiledCircuit) -> Circuit:
    """Return the compiled gates with our model of the device's noise, for our own engines.

    Features, weights and outputs are those of the source, so that it can be trained and evaluated
    in its place: its exact values are what jobs on the device's simulation average to. Wires are
    `compiled.used_qubits`. On devices with `cx`, `cz` or `ecr` the noise is exactly Aer's; see
    `hqnn_jax.circuits.noise.device`.

    Raises:
        HardwareError: the backend has no device.
    """
    from hqnn_jax.circuits.circuit import Circuit
    from hqnn_jax.circuits.noise.device import noise_from_target

    if compiled.backend.device is None:
        raise HardwareError(f"{compiled.backend.name} has no noise; choose a device")
    source = compiled.source
    native, observables, _ = compiled.on_used_qubits()
    parameters = list(native.parameters)
    noise = noise_from_target(compiled.backend.device, compiled.used_qubits, transpiled=True)
    if "ecr" in native.count_ops():
        native, noise = _with_cnots(native), _without_clifford_noise(noise)
    imported = Circuit.from_qiskit(native, list(observables), features=parameters, weights=[])

    def function(features: Any, weights: Any) -> Any:
        values = _traced_values(compiled.exported, features, weights)
        return imported.function([values[parameter] for parameter in parameters], jnp.zeros(0))

    noisy = Circuit.from_function(
        function,
        num_qubits=native.num_qubits,
        num_features=source.num_features,
        weights_shape=source.weights_shape,
        name=f"{source.name} on {compiled.backend.name}",
    )
    return noisy.with_noise(noise)


def _with_cnots(native: QuantumCircuit) -> QuantumCircuit:
    """Write each `ecr` as gates without noise of their own (see below), then a CNOT.

    ECR = X₀ exp(-iπ/4 Z₀X₁) up to a phase, and exp(-iπ/4 Z₀X₁) is a CNOT that commutes with the
    quarter turns about Z₀ and X₁ before it. With nothing after the CNOT, what follows it is the
    noise that follows the `ecr`.
    """
    result = native.copy_empty_like()
    for gate in native.data:
        if gate.operation.name != "ecr":
            result.append(gate)
            continue
        control, target = gate.qubits
        for name in ("s", "h", "z", "h"):
            getattr(result, name)(control)
        for name in ("s", "h", "s"):
            getattr(result, name)(target)
        result.cx(control, target)
    return result


def _without_clifford_noise(noise: NoiseModel) -> NoiseModel:
    """The noise of a device without H, S and Z, which then stand for parts of other gates only."""
    silent = {"Hadamard", "S", "PauliZ"}
    gates = {
        key: () if (key if isinstance(key, str) else key[0]) in silent else channels
        for key, channels in noise.gates.items()
    }
    return replace(noise, gates=gates)


def _traced_values(exported: QiskitCircuit, features: Any, weights: Any) -> dict[Any, Any]:
    """The values of an exported circuit's parameters for one sample; see `QiskitCircuit.bind`.

    One by one, so that a capture sees what each of them depends on.
    """
    features, weights = jnp.asarray(features), jnp.asarray(weights)
    values = dict(zip(exported.features, features, strict=True))
    values |= dict(zip(exported.weights, weights.ravel(), strict=True))
    if not exported.circuit.parameters.isdisjoint(exported.angles):
        function = exported.source.angles
        shared = function.shared_angles(weights)
        per_sample = function.sample_angles(features[None], weights)[0]
        places = zip(function.shared.tolist(), function.per_sample.tolist(), strict=True)
        computed = [shared[k] if k >= 0 else per_sample[own] for k, own in places]
        values |= dict(zip(exported.angles, computed, strict=True))
    return values


def _transpile(
    circuit: Circuit, exported: QiskitCircuit, backend: Backend, settings: dict[str, Any]
) -> CompiledCircuit:
    """Compile with one seed."""
    from qiskit.transpiler import generate_preset_pass_manager

    options: dict[str, Any] = {
        "seed_transpiler": settings["seed"],
        "initial_layout": settings["initial_layout"],
    }
    options |= (
        {"basis_gates": _GENERIC_GATES}
        if backend.device is None
        else {"target": backend.device.target}
    )
    passes = generate_preset_pass_manager(settings["optimization_level"], **options)
    counter = _SwapCounter()
    native = passes.run(exported.circuit, callback=counter)
    wires = list(range(circuit.num_qubits))
    layout = native.layout
    initial = wires if layout is None else layout.initial_index_layout(filter_ancillas=True)
    final = wires if layout is None else layout.final_index_layout()
    observables = tuple(o.apply_layout(final, native.num_qubits) for o in exported.observables)
    target = None if backend.device is None else backend.device.target
    return CompiledCircuit(
        source=circuit,
        backend=backend,
        exported=exported._replace(circuit=native, observables=observables),
        initial_layout=tuple(initial),
        final_layout=tuple(final),
        num_swaps=counter.inserted,
        seed=settings["seed"],
        log_fidelity=0.0 if target is None else _log_fidelity(native, target, final),
        settings=settings,
    )


class _SwapCounter:
    """Counts the SWAPs that routing passes add, before they are translated into native gates."""

    def __init__(self) -> None:
        self.inserted = 0
        self._before = 0

    def __call__(self, **state: Any) -> None:
        swaps = state["dag"].count_ops().get("swap", 0)
        if type(state["pass_"]).__name__ in _ROUTING_PASSES:
            self.inserted += max(0, swaps - self._before)
        self._before = swaps


def _check_size(circuit: Circuit, backend: Backend, initial_layout: Sequence[int] | None) -> None:
    available = circuit.num_qubits if backend.device is None else backend.device.num_qubits
    if circuit.num_qubits > available:
        raise HardwareError(
            f"circuit '{circuit.name}' has {circuit.num_qubits} qubits, {backend.name} only "
            f"{available}; choose a larger backend or train with fewer qubits"
        )
    if initial_layout is not None and (
        len(set(initial_layout)) != circuit.num_qubits
        or len(initial_layout) != circuit.num_qubits
        or not set(initial_layout) <= set(range(available))
    ):
        raise HardwareError(
            f"initial layout {list(initial_layout)}; expected {circuit.num_qubits} different "
            f"qubits from 0 to {available - 1} of {backend.name}, one per wire"
        )


def _two_qubit_depth(circuit: QuantumCircuit) -> int:
    return circuit.depth(lambda gate: gate.operation.num_qubits == 2)


def _log_fidelity(circuit: QuantumCircuit, target: Target, measured: Sequence[int]) -> float:
    total = 0.0
    operations = [
        (gate.operation.name, tuple(circuit.find_bit(q).index for q in gate.qubits))
        for gate in circuit.data
    ]
    for name, qubits in [*operations, *(("measure", (qubit,)) for qubit in measured)]:
        places = target[name] if name in target.operation_names else None
        error = getattr((places or {}).get(qubits), "error", None) or 0.0
        total += math.log1p(-error) if error < 1 else -math.inf
    return total
