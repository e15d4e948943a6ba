"""Evaluation of large batches in parts that fit the memory of the device."""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hqnn_jax.circuits.definition import Definition
from hqnn_jax.circuits.simulation.batch import nominal
from hqnn_jax.errors import CircuitError

Evaluate = Callable[
    [Float[Array, "..."], Float[Array, "batch features"]], Float[Array, "batch outputs"]
]

# The rest is for the model around the circuit, and for what the compiler adds.
_USABLE_SHARE = 0.5
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_budget(device: jax.Device | None = None) -> int:
    """Bytes that one evaluation may use on a device, by default the first.

    A share of the memory there is, not of what is free at the moment: how a batch is divided, and
    with it the last bits of every gradient, must not depend on what else runs.
    """
    return int(_USABLE_SHARE * total_memory(device))


def total_memory(device: jax.Device | None = None) -> int:
    """Bytes of memory that a device has, by default the first."""
    device = device or jax.devices()[0]
    statistics = device.memory_stats() or {}
    if "bytes_limit" in statistics:
        return int(statistics["bytes_limit"])
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if _CGROUP_LIMIT.is_file() and (limit := _CGROUP_LIMIT.read_text().strip()).isdigit():
        total = min(total, int(limit))
    return total


def check_fits(circuit: Definition, needed: float, what: str) -> None:
    """Check that an evaluation which cannot be divided further fits the memory of the device.

    Without this the system would end the process, with nothing said, after minutes of work.

    Args:
        circuit: the circuit that is evaluated.
        needed: estimate of the bytes it takes.
        what: what is evaluated, for the message.

    Raises:
        CircuitError: it needs more than the device has.
    """
    available = total_memory()
    if needed > available:
        raise CircuitError(
            f"Circuit '{circuit.name}': {what} on {circuit.num_qubits} qubits needs about "
            f"{needed / 2**30:.3g} GiB, and the device has {available / 2**30:.3g} GiB; use fewer "
            "qubits, smaller batches, a device with more memory, or several (to_jax(mesh=...))"
        )


def with_check_of_gradient(
    evaluate: Evaluate, circuit: Definition, needed: float, what: str
) -> Evaluate:
    """The same function, for whose derivatives alone `check_fits` is called.

    Args:
        evaluate: the function.
        circuit: the circuit that it evaluates.
        needed: estimate of the bytes that a derivative takes.
        what: what takes them, for the message.
    """

    @jax.custom_jvp
    def differentiated(inputs: tuple[Array, Array]) -> tuple[Array, Array]:
        return inputs

    @differentiated.defjvp
    def _(primals, tangents):
        check_fits(circuit, needed, what)
        return primals[0], tangents[0]

    return lambda weights, features: evaluate(*differentiated((weights, features)))


def in_chunks(evaluate: Evaluate, samples: int) -> Evaluate:
    """The same function, evaluated for at most `samples` samples at a time.

    Chunks are computed anew for the gradient, so that memory is that of one chunk. A symbolic batch
    (`jax.export`) is divided where `batch.NOMINAL_BATCH` samples would be, in chunks of `samples`.
    """

    def evaluate_in_chunks(
        weights: Float[Array, "..."], features: Float[Array, "batch features"]
    ) -> Float[Array, "batch outputs"]:
        batch, num_features = features.shape
        if nominal(batch) <= samples:
            return evaluate(weights, features)
        chunks = -(-batch // samples)
        size = -(-batch // chunks) if isinstance(batch, int) else samples
        # Copies of the last sample fill up the last chunk; their outputs are dropped.
        padded = jnp.pad(features, ((0, chunks * size - batch), (0, 0)), mode="edge")
        step = jax.checkpoint(lambda chunk: evaluate(weights, chunk))
        outputs = jax.lax.map(step, padded.reshape(chunks, size, num_features))
        return outputs.reshape(chunks * size, outputs.shape[-1])[:batch]

    return evaluate_in_chunks


def fitting(evaluate: Evaluate, circuit: Definition, held: float, stored: float) -> Evaluate:
    """Divide batches whose states, with those stored for the gradient, would not fit the device.

    Where not even one sample's would, the function raises CircuitError.

    Args:
        evaluate: the function.
        circuit: the circuit that it evaluates.
        held: states of one sample that exist at the same time while its outputs are computed.
        stored: the same while their gradient is computed.
    """
    numbers = 2.0 * 2**circuit.num_qubits

    def evaluate_fitting(
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

    return evaluate_fitting
