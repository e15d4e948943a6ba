"""Talking to a worker process: requests with a time limit."""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path
from typing import Any

from hqnn_jax.benchmarks.worker import serve

# Workers are forked from a process that has imported these, seconds each time, and done nothing.
_PRELOADED = ["jax", "jax.numpy", "matplotlib.figure", "pennylane", "hqnn_jax.circuits"]


class WorkerProcess:
    """One worker; `close` ends it."""

    def __init__(self, job: dict[str, Any]) -> None:
        """Start it; see `hqnn_jax.benchmarks.worker` for the job."""
        methods = multiprocessing.get_all_start_methods()
        context: Any = multiprocessing.get_context(
            "forkserver" if "forkserver" in methods else "spawn"
        )
        context.set_forkserver_preload(_PRELOADED)
        # Closed with the worker, in `close`.
        self._output = tempfile.NamedTemporaryFile(suffix=".log")  # noqa: SIM115
        self._connection, other = context.Pipe()
        self._process = context.Process(
            target=serve, args=(other, job, self._output.name), daemon=True
        )
        self._process.start()
        other.close()

    def ask(self, do: str, limit: float, **request: Any) -> dict[str, Any]:
        """Return the answer to a request.

        Its `status` is the worker's own ("done" if all went well), "over the limit" after
        `limit` seconds, or "crashed" if the process ended; in both cases there is no worker any
        more.
        """
        try:
            self._connection.send({"do": do, **request})
            if self._connection.poll(limit):
                return self._connection.recv()
        except (BrokenPipeError, ConnectionResetError, EOFError):
            return self._crashed()
        self.close()
        return {"status": "over the limit", "reason": f"more than {limit:g} s to {do}"}

    def close(self) -> None:
        """End the process at once; it has nothing to save."""
        self._process.kill()
        self._process.join()
        self._connection.close()
        self._output.close()

    def _crashed(self) -> dict[str, Any]:
        self._process.join()
        lines = Path(self._output.name).read_text(errors="replace").splitlines()
        last = next((line.strip() for line in reversed(lines) if line.strip()), "no message")
        reason = f"exit code {self._process.exitcode}: {last[:300]}"
        self.close()
        return {"status": "crashed", "reason": reason}
