"""What a machine is and what it can do at best; nothing that names its owner or its files."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import hqnn_jax
from hqnn_jax.circuits import Circuit
from hqnn_jax.circuits.gates import REAL_GATES, TWO_QUBIT_GATES
from hqnn_jax.runs.folder import describe_environment

_PACKAGES = (
    "jax", "jaxlib", "numpy", "pennylane", "pennylane-lightning", "tensorcircuit-ng", "qujax",
    "torch",
)  # fmt: skip
# Bytes of an amplitude, and operations of a 2x2 matrix on it: half of 4 products and 2 sums.
_COMPLEX, _REAL = (8, 14), (4, 3)
# Forward, and backward once for the state and once for its cotangent.
_SWEEPS = 3


def describe() -> dict[str, Any]:
    """Processor, accelerator, memory, threads and the versions of everything that is compared."""
    device = jax.devices()[0]
    accelerator = None
    if device.platform != "cpu":
        accelerator = {"kind": device.device_kind, "count": jax.device_count()}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = None
    if "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": cores,
        "memory_bytes": memory,
        "cache_bytes": _cache_bytes(cores) if accelerator is None else None,
        "accelerator": accelerator,
        "system": platform.system(),
        "python": platform.python_version(),
        "threads": {
            name: os.environ[name]
            for name in ("OMP_NUM_THREADS", "XLA_FLAGS")
            if name in os.environ
        },
        "versions": {"hqnn_jax": hqnn_jax.__version__, **_versions()},
        "git_commit": describe_environment()["git_commit"],
    }


def short_name(machine: dict[str, Any]) -> str:
    """A name for files: the accelerator's, else the number of cores."""
    if machine["accelerator"]:
        return re.sub(r"[^a-z0-9]+", "-", machine["accelerator"]["kind"].lower()).strip("-")
    return f"{machine['cores']}-cpu-cores"


def work(circuit: Circuit) -> dict[str, int]:
    """Bytes and operations that simulating one sample's state with its gradient takes at least.

    One read and one write of the state a layer (one-qubit gates, then two-qubit gates), in each
    of three sweeps: forward, and backward for the state and for its cotangent; one 2x2 matrix on
    every wire that a layer rotates, real where every gate is. An engine that folds the circuit
    instead of simulating every sample's state may need less.
    """
    level = [0] * circuit.num_qubits
    entangled = [False] * circuit.num_qubits
    rotated: set[tuple[int, int]] = set()
    for gate in circuit.gates:
        if gate.name in TWO_QUBIT_GATES:
            for wire in gate.wires:
                level[wire] = max(level[w] for w in gate.wires)
                entangled[wire] = True
        else:
            (wire,) = gate.wires
            level[wire] += entangled[wire]
            entangled[wire] = False
            rotated.add((level[wire], wire))
    is_real = all(gate.name in REAL_GATES for gate in circuit.gates)
    size, operations = _REAL if is_real else _COMPLEX
    states = 2**circuit.num_qubits
    layers = max(level) + 1
    return {
        "state_bytes": states * size,
        "bytes": 2 * _SWEEPS * layers * states * size,
        "operations": _SWEEPS * operations * len(rotated) * states,
    }


def best_rates() -> dict[str, float]:
    """Bytes a second of a copy (read and written) and operations a second of a matrix product.

    Both with JAX in float32 on arrays that exceed the caches, the best of several calls.
    """
    on_cpu = jax.default_backend() == "cpu"
    copied = jnp.zeros(2**26 if on_cpu else 2**30, jnp.float32)
    side = 2048 if on_cpu else 8192
    matrix = jnp.asarray(np.random.default_rng(0).normal(size=(side, side)), jnp.float32)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision=jax.lax.Precision.HIGHEST))
    return {
        "copy_bytes_per_s": 2 * copied.nbytes / _best(jax.jit(lambda x: x + 1), copied),
        "matmul_operations_per_s": 2 * side**3 / _best(product, matrix),
    }


def floor(work: dict[str, int], batch: int, machine: dict[str, Any]) -> float:
    """Seconds below which `work` cannot be done for a batch at the machine's best rates.

    Bytes count only where the batch's states do not fit the cores' own caches.
    """
    computing = work["operations"] * batch / machine["matmul_operations_per_s"]
    if not exceeds_cache(work, batch, machine):
        return computing
    return max(computing, work["bytes"] * batch / machine["copy_bytes_per_s"])


def exceeds_cache(work: dict[str, int], batch: int, machine: dict[str, Any]) -> bool:
    """Whether a batch's states exceed the cores' own caches, as they do where those are unknown."""
    return work["state_bytes"] * batch > (machine["cache_bytes"] or 0)


def _best(function: Any, argument: Any) -> float:
    jax.block_until_ready(function(argument))
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        jax.block_until_ready(function(argument))
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cache_bytes(cores: int | None) -> int | None:
    """The second-level caches of the cores together, as Linux tells it, else None.

    The last level may be shared with other tenants of the processor, so it promises nothing.
    """
    try:
        size = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().strip()
    except OSError:
        return None
    match = re.fullmatch(r"(\d+)([KM])", size)
    if match is None or cores is None:
        return None
    return cores * int(match[1]) * {"K": 2**10, "M": 2**20}[match[2]]


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
