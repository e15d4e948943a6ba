"""What is sent to the backend: the jobs of all arms, and those of fine-tuning.

What an earlier process sent or collected is not sent again; see `JobStore`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from hqnn_jax.config.hardware import FineTuningConfig
from hqnn_jax.hardware.compilation import CompiledCircuit
from hqnn_jax.hardware.execution import requests, sending
from hqnn_jax.hardware.jobs import JobStore
from hqnn_jax.hardware_evaluation.fine_tuning import FineTuned, fine_tune, free_angles
from hqnn_jax.hardware_evaluation.planned import (
    Bench,
    PlannedCircuit,
    compiled_on,
    keep_compiled,
    plan_circuit,
)
from hqnn_jax.hardware_evaluation.results import FINE_TUNED

# Fine-tuning's jobs have seeds of their own, far from those of the arms.
_FINE_TUNING_SEED = 10_000_000


def send(circuits: Sequence[PlannedCircuit], bench: Bench, store: JobStore) -> list[PlannedCircuit]:
    """Send all jobs to a device, and fine-tune there if that is asked for.

    Returns:
        The circuits to be evaluated: each as it was given, followed by the fine-tuned one.

    Raises:
        HardwareError: if the backend fails; what was sent and collected is kept.
    """
    # Nothing is opened on a service where all jobs were sent before.
    mode = bench.config.mode if _are_missing(circuits, bench, store) else "job"
    with sending(bench.backend, mode) as within:
        for planned in circuits:
            _submit(planned, bench, store, within)
        tuning = bench.config.fine_tuning
        if tuning is None:
            return list(circuits)
        tuned = [_fine_tuned(planned, tuning, bench, store, within) for planned in circuits]
        return [planned for pair in zip(circuits, tuned, strict=True) for planned in pair]


def _are_missing(circuits: Sequence[PlannedCircuit], bench: Bench, store: JobStore) -> bool:
    """Whether jobs must be sent, as far as that is known before fine-tuning."""
    parts = [part for planned in circuits for arm in planned.requests.values() for part in arm]
    return bench.config.fine_tuning is not None or any(
        state not in ("sent", "collected") for state in store.states(parts)
    )


def _submit(planned: PlannedCircuit, bench: Bench, store: JobStore, within: Any) -> None:
    """Send the jobs of all arms to a device; simulations begin when they are collected."""
    if bench.backend.is_local:
        return
    for label, parts in planned.requests.items():
        for job_id in store.submit(parts, within):
            bench.progress.line(f"{planned.model.name}: {label}: job {job_id}")


def _fine_tuned(
    planned: PlannedCircuit,
    options: FineTuningConfig,
    bench: Bench,
    store: JobStore,
    within: Any,
) -> PlannedCircuit:
    """Train the weights of a circuit on the backend; jobs of an earlier process are reused."""
    model = planned.model
    assert model.training is not None
    compiled = compiled_on(bench, free_angles(model.circuit))
    keep_compiled(bench, compiled)
    label = f"{model.name}: fine-tuning on {bench.backend.name}"
    with bench.progress.task(label, options.iterations) as advance:
        tuned = fine_tune(
            model.circuit,
            model.weights,
            model.training,
            model.classify,
            _measure(compiled, options, bench, store, within),
            options,
            lambda iteration, loss: advance(1),
        )
    changed = dataclasses.replace(
        model, name=model.name + FINE_TUNED, weights=tuned.weights, stored=None
    )
    details = _details(tuned, options, bench, model.weights)
    result = plan_circuit(changed, bench, {"fine_tuning": details})
    _submit(result, bench, store, within)
    return result


def _measure(
    compiled: CompiledCircuit, options: FineTuningConfig, bench: Bench, store: JobStore, within: Any
) -> Callable[[int, Float[np.ndarray, "rows angles"]], Float[np.ndarray, "rows outputs"]]:
    """Return what measures rows of gate angles, in one job for each iteration."""

    def measure(
        iteration: int, rows: Float[np.ndarray, "rows angles"]
    ) -> Float[np.ndarray, "rows outputs"]:
        seed = bench.config.simulator_seed + _FINE_TUNING_SEED + iteration
        shots = options.shots or bench.config.num_shots
        parts = requests(compiled, np.zeros(0), rows, shots=shots, seed=seed)
        return store.collect(parts, within).values

    return measure


def _details(
    tuned: FineTuned, options: FineTuningConfig, bench: Bench, before: Float[np.ndarray, "..."]
) -> dict[str, Any]:
    return {
        "method": options.method,
        "losses": tuned.losses.tolist(),
        "gradient_norms": tuned.gradient_norms.tolist(),
        "evaluations": tuned.evaluations,
        "shots": options.shots or bench.config.num_shots,
        "change": float(np.linalg.norm(tuned.weights - before)),
    }
