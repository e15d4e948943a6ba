"""What a batch would cost on a backend, before anything is sent."""

from __future__ import annotations

import math
from typing import Any

from hqnn_jax.hardware.compilation import CompiledCircuit
from hqnn_jax.hardware.execution import samples_per_job
from hqnn_jax.hardware.mitigation import Mitigation
from hqnn_jax.hardware.sampling import num_bases

# Seconds; the first is what IBM's devices have unless asked.
_DEFAULT_REPETITION_DELAY = 250e-6
_JOB_OVERHEAD = 2.0


def plan(
    compiled: CompiledCircuit,
    batch: int,
    *,
    shots: int = 4096,
    mitigation: Mitigation | None = None,
) -> dict[str, Any]:
    """What a batch would cost, ready for JSON; nothing is sent.

    `qpu_seconds` is 2 s for each job and, for each execution, the time of the longest path through
    the compiled circuit, of a measurement, and the device's default delay between repetitions.
    Folded circuits count with their factor. Calibration circuits of mitigation, compilation on the
    server and queueing are not in it; it is None where the device reports no times, or none.
    """
    mitigation = mitigation or Mitigation()
    bases = num_bases(compiled.source)
    executions = batch * bases * shots * mitigation.executions_per_circuit
    exact = compiled.backend.is_exact
    jobs = math.ceil(batch / samples_per_job(compiled, shots, mitigation))
    seconds = _seconds_per_shot(compiled, mitigation)
    factor = mitigation.executions_per_circuit
    total = None if seconds is None else jobs * _JOB_OVERHEAD + executions / factor * seconds
    return {
        **compiled.summary(),
        "samples": batch,
        "bases": bases,
        "circuits": batch * bases * factor,
        "shots": 0 if exact else shots,
        "total_shots": 0 if exact else executions,
        "jobs": jobs,
        "mitigation": mitigation.label(),
        "qpu_seconds": total,
    }


def _seconds_per_shot(compiled: CompiledCircuit, mitigation: Mitigation) -> float | None:
    """Seconds of the device for one shot of every noise factor together."""
    from qiskit.exceptions import QiskitError

    device = compiled.backend.device
    if device is None:
        return None
    measured = compiled.circuit.copy()
    measured.measure_all()
    try:
        duration = measured.estimate_duration(device.target)
    except QiskitError:
        return None
    configuration = getattr(device, "configuration", lambda: None)()
    delay = getattr(configuration, "default_rep_delay", None) or _DEFAULT_REPETITION_DELAY
    factors = mitigation.noise_factors if mitigation.zne else (1.0,)
    return sum(factor * duration + delay for factor in factors)
