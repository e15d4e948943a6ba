"""The process of one contender on one row: it computes when the benchmark asks it to."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hqnn_jax.text import one_line

Request = dict[str, Any]
Reply = dict[str, Any]

# Several processes share an accelerator; none may take its memory in advance.
_SETTINGS = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


class RowWorker:
    """Answers requests about one contender."""

    def __init__(self, job: Request) -> None:
        """Take the job: kind, name, circuit, batch and, for engines and peers, a results file."""
        self._job = job
        self._steps: dict[str, Callable[[Request], Reply]] = {
            "open": self._open,
            "machine": self._machine,
            "reference": self._reference,
            "build": self._build,
            "start": self._start,
            "time": self._time,
        }

    def answer(self, request: Request) -> Reply:
        """Do what is asked; a failure is an answer too."""
        from hqnn_jax.errors import CircuitError

        try:
            return {"status": "done", **self._steps[request["do"]](request)}
        except ModuleNotFoundError as error:
            return {"status": "not installed", "reason": str(error)}
        except CircuitError as error:
            return {"status": "refused", "reason": str(error)}
        except Exception as error:
            line = one_line(error)[:300]
            return {"status": "failed", "reason": f"{type(error).__name__}: {line}"}

    def _open(self, request: Request) -> Reply:
        """Import what every contender needs, start the device, capture the circuit."""
        import jax
        import jax.numpy as jnp
        import pennylane  # noqa: F401 - importing it belongs to nobody's first call

        from hqnn_jax.benchmarks.native import angle_sources
        from hqnn_jax.benchmarks.reference import make_inputs
        from hqnn_jax.benchmarks.rows import make_circuit
        from hqnn_jax.errors import CircuitError
        from hqnn_jax.malloc import keep_large_buffers

        # As the command line does for every run; here for engines and peers alike.
        keep_large_buffers()
        # A program kept from an earlier benchmark would hide what compiling costs.
        jax.config.update("jax_enable_compilation_cache", False)
        jax.block_until_ready(jax.jit(lambda x: x + 1)(jnp.zeros(8)))
        started = time.perf_counter()
        self._circuit = make_circuit(self._job["circuit"])
        captured = time.perf_counter()
        # The adapters' work, not the simulators': found once, here, and kept.
        with contextlib.suppress(CircuitError):
            angle_sources(self._circuit)
        self._inputs = make_inputs(self._circuit, self._job["batch"])
        return {"capture_s": captured - started}

    def _reference(self, request: Request) -> Reply:
        from hqnn_jax.benchmarks.machine import work
        from hqnn_jax.benchmarks.reference import reference

        self._save(reference(self._circuit, self._inputs))
        return {"num_qubits": self._circuit.num_qubits, "work": work(self._circuit)}

    def _machine(self, request: Request) -> Reply:
        from hqnn_jax.benchmarks.machine import best_rates, describe

        machine = describe()
        return {"machine": {**machine, **best_rates()} if request["rates"] else machine}

    def _build(self, request: Request) -> Reply:
        from hqnn_jax.benchmarks.contenders import builder
        from hqnn_jax.benchmarks.measure import contender

        build = builder(self._job["kind"], self._job["name"])
        started = time.perf_counter()
        simulator = build(self._circuit)
        built = time.perf_counter() - started
        self._contender = contender(simulator, self._inputs)
        return {"build_s": built}

    def _start(self, request: Request) -> Reply:
        from hqnn_jax.benchmarks.measure import GRADIENT, start

        measured, returned = start(self._contender, request["quantity"])
        if request["quantity"] == GRADIENT:
            self._save(self._contender.results(returned))
        return measured

    def _time(self, request: Request) -> Reply:
        from hqnn_jax.benchmarks.measure import durations

        call = lambda: self._contender.call(request["quantity"])  # noqa: E731
        return {"durations": durations(call, request["seconds"])}

    def _save(self, results: Any) -> None:
        import numpy as np

        np.savez(self._job["results"], **results._asdict())


def serve(connection: Connection, job: Request, output: str) -> None:
    """Answer the requests that arrive until the connection ends; print into the file `output`."""
    with open(output, "w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    os.environ.update(_SETTINGS)
    volunteer_for_memory_shortage()
    worker = RowWorker(job)
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        connection.send(worker.answer(request))


def volunteer_for_memory_shortage() -> None:
    """Have Linux end this process, not the benchmark or another program, when memory runs out."""
    score = Path("/proc/self/oom_score_adj")
    if score.exists():
        score.write_text("1000")
