"""Engines: ways of evaluating a circuit, one module each, all with the same signature.

Each module has `build(circuit)`, which returns
`evaluate(weights[weights_shape], features[batch, num_features]) -> [batch, num_outputs]` for
inputs of one float dtype.
"""

from collections.abc import Callable

from jax.sharding import Mesh
from jaxtyping import Array, Float

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.engines import pauli_transfer, pennylane, statevector, unitary
from hqnn_jax.circuits.engines.chunking import (
    Evaluate,
    check_fits,
    in_chunks,
    memory_budget,
    total_memory,
    with_check_of_gradient,
)
from hqnn_jax.circuits.engines.cost import (
    Shape,
    backend_name,
    pauli_transfer_work,
    seconds,
    statevector_work,
    unitary_work,
)
from hqnn_jax.circuits.simulation.transfer import reads_features_once
from hqnn_jax.errors import CircuitError
from hqnn_jax.text import closest

_BUILDERS: dict[str, Callable[[Definition], Evaluate]] = {
    "pennylane": pennylane.build,
    "statevector": statevector.build,
    "unitary": unitary.build,
    "pauli_transfer": pauli_transfer.build,
}
# In the order of preference where estimates are equal.
_WORK = {
    "statevector": statevector_work,
    "unitary": unitary_work,
    "pauli_transfer": pauli_transfer_work,
}

ENGINES = ("auto", *_BUILDERS)
"""Names accepted by `Circuit.to_jax`."""


def build(circuit: Definition, engine: str, mesh: Mesh | None = None) -> Evaluate:
    """Return the circuit evaluated by the named engine.

    `auto` chooses by the estimated time for the batch it is traced with; a batch whose states would
    not fit the device is evaluated in chunks. With a mesh, states are spread over its devices.

    Raises:
        CircuitError: there is no engine of that name, or it does not apply to the circuit.
    """
    if engine not in ENGINES:
        raise CircuitError(
            f"Circuit '{circuit.name}': no engine '{engine}'; expected one of "
            f"{', '.join(ENGINES)}. Did you mean '{closest(str(engine), ENGINES, cutoff=0.0)}'?"
        )
    if mesh is not None:
        return _build_sharded(circuit, engine, mesh)
    if engine == "auto":
        return _build_auto(circuit)
    reason = why_not(circuit, engine)
    if reason is not None:
        raise CircuitError(f"Circuit '{circuit.name}': engine '{engine}' does not apply: {reason}")
    return _fitting(circuit, engine, _BUILDERS[engine](circuit))


def why_not(circuit: Definition, engine: str) -> str | None:
    """Why an engine cannot evaluate the circuit and what to use instead, None if it can."""
    if _is_noisy(circuit) and engine != "pauli_transfer":
        return "it evaluates ideal circuits only; with noise use 'pauli_transfer' or trajectories"
    if engine == "unitary":
        return unitary.why_not(circuit)
    if engine == "pauli_transfer":
        return pauli_transfer.why_not(circuit)
    return None


def choose(circuit: Definition, batch: int, backend: str | None = None) -> str:
    """The engine that `auto` takes for a batch: the cheapest by estimate that applies.

    Raises:
        CircuitError: none applies, as to a noisy circuit of many qubits.
    """
    reasons = {engine: why_not(circuit, engine) for engine in _WORK}
    shape = Shape.of(circuit)
    backend = backend or backend_name()
    estimates = {
        engine: seconds(work(shape, batch), backend)
        for engine, work in _WORK.items()
        # Vectors of the samples in the Pauli basis are larger than state vectors, always.
        if reasons[engine] is None and (engine != "pauli_transfer" or _folds(circuit))
    }
    if not estimates:
        raise CircuitError(
            f"Circuit '{circuit.name}': no engine applies: "
            + "; ".join(f"'{engine}': {reason}" for engine, reason in reasons.items())
        )
    return min(estimates, key=lambda engine: estimates[engine])


def _folds(circuit: Definition) -> bool:
    """Whether observables can be pulled back to where the data enters, or nothing else applies."""
    return _is_noisy(circuit) or reads_features_once(circuit)


def _is_noisy(circuit: Definition) -> bool:
    return circuit.noise is not None and not circuit.noise.is_trivial


def _build_sharded(circuit: Definition, engine: str, mesh: Mesh) -> Evaluate:
    from hqnn_jax.circuits.engines import sharded

    reason = why_not(circuit, "statevector")
    if engine not in ("auto", "statevector"):
        reason = "with a mesh only 'statevector' applies"
    if reason is not None:
        raise CircuitError(f"Circuit '{circuit.name}': engine '{engine}' does not apply: {reason}")
    return sharded.build(circuit, mesh)


def _build_auto(circuit: Definition) -> Evaluate:
    built: dict[str, Evaluate] = {}
    # Noise that no engine can follow is an error where the circuit is built, not where it runs.
    choose(circuit, 1)

    def evaluate(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outputs"]:
        engine = choose(circuit, len(features))
        if engine not in built:
            built[engine] = _fitting(circuit, engine, _BUILDERS[engine](circuit))
        return built[engine](weights, features)

    return evaluate


def _fitting(circuit: Definition, engine: str, evaluate: Evaluate) -> Evaluate:
    """Divide batches whose states, with those stored for the gradient, would not fit.

    Where not even one sample's would, the function raises CircuitError.
    """
    held: float
    if engine == "statevector":
        held, stored = statevector.held_states(circuit), statevector.stored_states(circuit)
    elif engine == "unitary":
        held, stored = 1.0, 4.0
    elif engine == "pennylane":
        # Its gradient keeps the state after each gate.
        held, stored = 2.0, 4.0 + len(circuit.gates)
    else:
        return evaluate
    numbers = 2.0 * 2**circuit.num_qubits

    def fitting(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outputs"]:
        state = numbers * weights.dtype.itemsize
        check_fits(circuit, held * state, "the value of one sample")
        samples = max(1, int(memory_budget() // (stored * state)))
        divided = in_chunks(evaluate, samples)
        if stored * state > total_memory():
            divided = with_check_of_gradient(
                divided, circuit, stored * state, "the gradient of one sample"
            )
        return divided(weights, features)

    return fitting
