"""How much memory the evaluation of a circuit will take, from what its engine says of itself."""

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.engines import auto, table
from hqnn_jax.circuits.engines.chunking import memory_budget

_FLOAT32 = 4


def gradient_bytes(circuit: Definition, engine: str, batch: int) -> float:
    """Return the bytes that states take while a batch is evaluated with its gradient, in float32.

    Where a batch is divided it is those of a part. 0 where the engine makes no states of samples.
    """
    return _bytes(circuit, engine, batch, gradient=True)


def value_bytes(circuit: Definition, engine: str, batch: int) -> float:
    """Return the same while it is evaluated without its gradient."""
    return _bytes(circuit, engine, batch, gradient=False)


def _bytes(circuit: Definition, engine: str, batch: int, *, gradient: bool) -> float:
    name = auto.choose(circuit, batch) if engine == "auto" else engine
    of_engine = table.TABLE[name].memory
    if of_engine is None:
        return 0.0
    memory = of_engine(circuit)
    state = 2.0 * 2**circuit.num_qubits * _FLOAT32
    samples = max(1, int(memory_budget() // (memory.stored * state)))
    # As `chunking.in_chunks` divides them.
    chunks = max(1, -(-batch // samples))
    states = memory.stored if gradient else memory.held
    return states * state * -(-batch // chunks)
