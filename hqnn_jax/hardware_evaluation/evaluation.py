"""Trained circuits on a backend: what was planned is simulated, sent, collected and concluded."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hqnn_jax.errors import ConfigurationError
from hqnn_jax.files import write_arrays, write_json
from hqnn_jax.hardware.backends import calibration
from hqnn_jax.hardware.execution import Estimates
from hqnn_jax.hardware.jobs import JobStore
from hqnn_jax.hardware.mitigation import Mitigation
from hqnn_jax.hardware.planning import plan
from hqnn_jax.hardware_evaluation import arms
from hqnn_jax.hardware_evaluation.planned import (
    Bench,
    Evaluated,
    Evaluation,
    PlannedCircuit,
    keep_compiled,
)
from hqnn_jax.hardware_evaluation.results import (
    ArmKind,
    EvaluatedArm,
    HardwareResults,
    ModelResult,
)
from hqnn_jax.hardware_evaluation.sent import send
from hqnn_jax.hardware_evaluation.trained import StoredPredictions, TrainedCircuit
from hqnn_jax.runs.folder import describe_environment
from hqnn_jax.training.interrupt import Interrupted

_PACKAGES = ("qiskit", "qiskit-aer", "qiskit-ibm-runtime")
# Of probabilities, between float32 and double precision, and between machines.
_ROUNDING = 1e-3


def check_no_wait(bench: Bench) -> None:
    """Raise `ConfigurationError` if nothing could be collected by another process."""
    if bench.backend.is_local or bench.config.fine_tuning is not None:
        raise ConfigurationError(
            "--no-wait: simulations end with this process, and fine-tuning needs the values of "
            "each job for the next; leave it out"
        )


def carry_out(evaluation: Evaluation, *, wait: bool = True) -> HardwareResults | None:
    """Send what was not sent, collect everything, and return the results.

    Args:
        evaluation: whose folder was created.
        wait: without, nothing is collected, and None returned; see `check_no_wait`.

    Raises:
        HardwareError: if the backend fails; what was sent and collected is kept, and another
            call in the same folder goes on. `Interrupted` on Ctrl-C.
    """
    bench, circuits = evaluation.bench, evaluation.circuits
    bench.folder.require_same_models(
        [{"model": planned.model.name, "jobs": planned.digest} for planned in circuits]
    )
    store = JobStore(bench.folder.jobs)
    try:
        # With the calibration of the day the jobs are sent on.
        for planned in circuits:
            keep_compiled(bench, planned.compiled)
            _simulated(planned, bench)
        calibrated = _calibration(circuits, bench)
        sent = send(circuits, bench, store)
        return _results(evaluation.models, sent, calibrated, bench, store) if wait else None
    except KeyboardInterrupt:
        raise Interrupted(
            f"{bench.folder.path}: stopped; what was measured is kept and jobs on a device go "
            "on: --resume goes on"
        ) from None


def _simulated(planned: PlannedCircuit, bench: Bench) -> dict[ArmKind, arms.Values]:
    """Return the values of the arms that need no backend, `exact` first, computing them once.

    A device's noise is then that of the day on which the evaluation began.
    """
    model, compiled, config = planned.model, planned.compiled, bench.config
    circuit, weights, features = model.circuit, model.weights, model.evaluated.flat
    shots, seed = config.num_shots, config.simulator_seed
    found: dict[ArmKind, Callable[[], arms.Values]] = {
        "exact": lambda: arms.exact_values(circuit, weights, features)
    }
    if not bench.backend.is_exact:
        found["shots"] = lambda: arms.shot_values(circuit, weights, features, shots, seed)
    if config.noise_model and arms.has_noise_model(compiled):
        found["noise_model"] = lambda: arms.noise_model_values(compiled, weights, features)
    return {kind: _kept(planned, kind, compute, bench) for kind, compute in found.items()}


def _kept(
    planned: PlannedCircuit, kind: ArmKind, compute: Callable[[], arms.Values], bench: Bench
) -> arms.Values:
    name = f"{planned.digest[:32]}-{kind.replace('_', '-')}.npz"
    path = bench.folder.simulated / name
    if not path.exists():
        label = kind.replace("_", " ")
        with bench.progress.task(f"{planned.model.name}, simulated: {label}"):
            values, errors = compute()
        write_arrays(path, {"values": values, "standard_errors": errors})
    return bench.folder.read_simulated(path)


def _calibration(circuits: Sequence[PlannedCircuit], bench: Bench) -> dict[str, Any]:
    """Return the calibration data of when the evaluation began."""
    path = bench.folder.calibration
    if not path.exists():
        qubits = sorted({q for planned in circuits for q in planned.compiled.used_qubits})
        write_json(path, calibration(bench.backend, qubits))
    return bench.folder.read_calibration()


def _results(
    models: Sequence[Evaluated],
    circuits: Sequence[PlannedCircuit],
    calibrated: dict[str, Any],
    bench: Bench,
    store: JobStore,
) -> HardwareResults:
    found = [_model_result(planned, bench, store) for planned in circuits]
    found += [_stored_result(model) for model in models if isinstance(model, StoredPredictions)]
    first = models[0]
    samples = first.evaluated if isinstance(first, TrainedCircuit) else first
    environment = describe_environment()
    environment["versions"] |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    return HardwareResults(
        backend=bench.config.backend,
        models=tuple(found),
        labels=samples.labels,
        positions=samples.positions,
        class_names=first.class_names,
        dataset=first.dataset,
        calibration=calibrated,
        settings=bench.config.model_dump(mode="json"),
        environment=environment,
    )


def _model_result(planned: PlannedCircuit, bench: Bench, store: JobStore) -> ModelResult:
    model, shots = planned.model, bench.config.num_shots
    found = [
        EvaluatedArm(
            kind,
            kind.replace("_", " "),
            model.probabilities(values),
            values,
            errors,
            details={"shots": shots} if kind == "shots" else {},
        )
        for kind, (values, errors) in _simulated(planned, bench).items()
    ]
    details: dict[str, Any] = {
        "compiled": planned.compiled.summary(),
        "plan": plan(planned.compiled, len(model.evaluated.flat), shots=shots),
        **planned.details,
    }
    exact = found[0]
    for label, parts in planned.requests.items():
        with bench.progress.task(f"{model.name} on {bench.backend.name}, mitigation: {label}"):
            estimates = store.collect(parts)
        found.append(_backend_arm(model, label, estimates))
    if model.stored is not None:
        details["difference_from_run"] = _difference_from_run(model, model.stored, exact, bench)
    return ModelResult(
        name=model.name,
        description=model.description,
        arms=tuple(found),
        outputs=arms.output_names(model.circuit),
        details=details,
    )


def _difference_from_run(
    model: TrainedCircuit, stored: StoredPredictions, exact: EvaluatedArm, bench: Bench
) -> float:
    """Return the largest difference of a probability from what the run had stored."""
    difference = float(np.abs(exact.probabilities - stored.probabilities).max())
    if difference > _ROUNDING:
        bench.progress.line(
            f"note: {model.name}: probabilities of the exact circuit differ by up to "
            f"{difference:.2g} from those the run had stored; was it trained on another "
            "kind of machine?"
        )
    return difference


def _backend_arm(model: TrainedCircuit, label: str, estimates: Estimates) -> EvaluatedArm:
    mitigated = label != Mitigation().label()
    return EvaluatedArm(
        kind="mitigated" if mitigated else "backend",
        label=label if mitigated else "backend",
        probabilities=model.probabilities(estimates.values),
        values=estimates.values,
        standard_errors=estimates.standard_errors,
        raw_values=estimates.raw_values,
        details={
            "shots": estimates.shots,
            "seconds": estimates.seconds,
            "job_ids": list(estimates.job_ids),
            **estimates.metadata,
        },
    )


def _stored_result(model: StoredPredictions) -> ModelResult:
    arm = EvaluatedArm("stored", "as trained", model.probabilities)
    return ModelResult(model.name, model.description, (arm,))
