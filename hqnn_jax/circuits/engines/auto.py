"""The choice of the engine with the lowest estimated time."""

from jaxtyping import Array, Float

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.engines import table
from hqnn_jax.circuits.engines.chunking import Evaluate
from hqnn_jax.circuits.engines.cost import Shape, backend_name, seconds
from hqnn_jax.circuits.simulation.batch import nominal
from hqnn_jax.errors import CircuitError


def choose(circuit: Definition, batch: int, backend: str | None = None) -> str:
    """The engine that `auto` takes for a batch: the cheapest by estimate that applies.

    Args:
        circuit: the circuit.
        batch: number of samples.
        backend: a backend of `cost.RATES`; by default that of the first device.

    Raises:
        CircuitError: none applies, as to a noisy circuit of many qubits.
    """
    shape = Shape.of(circuit)
    backend = backend or backend_name()
    reasons: dict[str, str | None] = {}
    estimates: dict[str, float] = {}
    for name, engine in table.TABLE.items():
        if engine.work is None:
            continue
        reasons[name] = table.why_not(circuit, name)
        if reasons[name] is None and engine.may_be_fastest(circuit):
            estimates[name] = seconds(engine.work(shape, batch), backend)
    if not estimates:
        raise CircuitError(
            f"Circuit '{circuit.name}': no engine applies: "
            + "; ".join(f"'{name}': {reason}" for name, reason in reasons.items())
        )
    return min(estimates, key=lambda name: estimates[name])


def build(circuit: Definition) -> Evaluate:
    """Return the circuit evaluated by the engine chosen for the batch that it is traced with.

    For a symbolic batch (`jax.export`) it is the one chosen for `batch.NOMINAL_BATCH` samples.

    Raises:
        CircuitError: no engine applies.
    """
    built: dict[str, Evaluate] = {}
    # Noise that no engine can follow is an error where the circuit is built, not where it runs.
    choose(circuit, 1)

    def evaluate(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outputs"]:
        engine = choose(circuit, nominal(features.shape[0]))
        if engine not in built:
            built[engine] = table.build(circuit, engine)
        return built[engine](weights, features)

    return evaluate
