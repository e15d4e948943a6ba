"""One contender on one row: its phases from definition to first result, its calls, its memory."""

from __future__ import annotations

import contextlib
import gc
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hqnn_jax.benchmarks.contenders import EagerSimulator, Evaluate
from hqnn_jax.benchmarks.reference import Results, RowInputs

GRADIENT, VALUE = "value_and_gradient", "value"
QUANTITIES = (GRADIENT, VALUE)
"""What is timed: outputs with the gradient of sum(cotangents * outputs) in weights and features,
and outputs alone."""


class JaxContender:
    """A function that JAX compiles."""

    def __init__(self, evaluate: Evaluate, inputs: RowInputs) -> None:
        """Put the inputs on the device."""
        self._evaluate = evaluate
        self._inputs = jax.block_until_ready(jax.tree.map(jnp.asarray, inputs))
        self._compiled: dict[str, Any] = {}

    def prepare(self, quantity: str) -> dict[str, Any]:
        """Trace and compile; return seconds of each and the bytes XLA asks for."""

        def loss(weights: Any, features: Any, cotangents: Any) -> Any:
            outputs = self._evaluate(weights, features)
            return jnp.sum(cotangents * outputs), outputs

        functions = {
            GRADIENT: jax.value_and_grad(loss, argnums=(0, 1), has_aux=True),
            VALUE: lambda weights, features, cotangents: self._evaluate(weights, features),
        }
        started = time.perf_counter()
        lowered = jax.jit(functions[quantity]).lower(*self._inputs)
        traced = time.perf_counter()
        compiled = self._compiled[quantity] = lowered.compile()
        finished = time.perf_counter()
        memory = compiled.memory_analysis()
        return {
            "lower_s": traced - started,
            "compile_s": finished - traced,
            "xla_temporary_bytes": getattr(memory, "temp_size_in_bytes", None),
        }

    def call(self, quantity: str) -> Any:
        """Compute and wait for the result."""
        return jax.block_until_ready(self._compiled[quantity](*self._inputs))

    @staticmethod
    def results(returned: Any) -> Results:
        """The arrays of a call for `GRADIENT`."""
        (_, outputs), (weights_gradient, features_gradient) = returned
        return Results(*map(np.asarray, (outputs, weights_gradient, features_gradient)))


class EagerContender:
    """A simulator outside JAX; it has nothing to trace or compile."""

    def __init__(self, simulator: EagerSimulator, inputs: RowInputs) -> None:
        """Hand over the inputs."""
        simulator.load(*inputs)
        self._simulator = simulator

    def prepare(self, quantity: str) -> dict[str, Any]:
        """Do nothing."""
        return {"lower_s": 0.0, "compile_s": 0.0, "xla_temporary_bytes": None}

    def call(self, quantity: str) -> Any:
        """Compute the result."""
        if quantity == GRADIENT:
            return self._simulator.value_and_gradient()
        return self._simulator.value()

    @staticmethod
    def results(returned: Any) -> Results:
        """The arrays of a call for `GRADIENT`."""
        return Results(*map(np.asarray, returned))


def contender(
    simulator: Evaluate | EagerSimulator, inputs: RowInputs
) -> JaxContender | EagerContender:
    """Wrap what a builder returned."""
    if callable(simulator):
        return JaxContender(simulator, inputs)
    return EagerContender(simulator, inputs)


def start(made: JaxContender | EagerContender, quantity: str) -> tuple[dict[str, Any], Any]:
    """Prepare and call once; return what was measured, and what the call returned."""
    with peak_increase() as setup:
        phases = made.prepare(quantity)
    gc.collect()
    with peak_increase() as step:
        started = time.perf_counter()
        returned = made.call(quantity)
        first = time.perf_counter() - started
    memory = {"setup_peak_bytes": setup(), "step_peak_bytes": step()}
    return {**phases, "first_call_s": first, **memory}, returned


def durations(call: Callable[[], Any], seconds: float) -> list[float]:
    """Seconds of each of the calls made in turn until `seconds` are used up, one at least."""
    measured: list[float] = []
    end = time.perf_counter() + seconds
    while not measured or time.perf_counter() < end:
        started = time.perf_counter()
        call()
        measured.append(time.perf_counter() - started)
    return measured


@contextlib.contextmanager
def peak_increase() -> Iterator[Callable[[], int | None]]:
    """Yield a function giving, after the block, by how many bytes memory rose within it.

    Memory is the accelerator's where JAX has one (its allocator's peak, which cannot be reset: a
    later, smaller peak counts as 0), else this process's resident memory. None where the system
    does not tell.
    """
    if jax.default_backend() != "cpu":
        device = jax.devices()[0]
        before = (device.memory_stats() or {}).get("bytes_in_use")
        peak = lambda: (device.memory_stats() or {}).get("peak_bytes_in_use")  # noqa: E731
    else:
        before, peak = _resident_and_reset(), _peak_resident
    increase: list[int | None] = []
    yield lambda: increase[0]
    after = peak()
    increase.append(None if before is None or after is None else max(0, after - before))


def _resident_and_reset() -> int | None:
    """Resident bytes now; on Linux the peak starts anew from here."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status_bytes("VmRSS")
    except OSError:
        return _peak_resident()


def _peak_resident() -> int | None:
    try:
        return _status_bytes("VmHWM")
    except OSError:
        scale = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status has no {field}")
