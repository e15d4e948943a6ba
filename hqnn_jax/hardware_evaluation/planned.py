"""What an evaluation on a backend plans: compiled circuits, the jobs of their arms, what they cost.

Nothing is sent and nothing is written here, but what was compiled, once an evaluation has begun.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hqnn_jax.circuits import Circuit
from hqnn_jax.config.hardware import FineTuningConfig, HardwareConfig
from hqnn_jax.errors import HardwareError
from hqnn_jax.hardware.backends import Backend
from hqnn_jax.hardware.compilation import CompiledCircuit, compile_for
from hqnn_jax.hardware.execution import JobRequest
from hqnn_jax.hardware.planning import plan
from hqnn_jax.hardware.saved import compiled_name, load_compiled, save_compiled
from hqnn_jax.hardware_evaluation import arms
from hqnn_jax.hardware_evaluation.fine_tuning import free_angles, job_sizes
from hqnn_jax.hardware_evaluation.folder import HardwareFolder
from hqnn_jax.hardware_evaluation.trained import StoredPredictions, TrainedCircuit
from hqnn_jax.progress import Progress

Evaluated = TrainedCircuit | StoredPredictions


@dataclass(frozen=True, eq=False)
class Bench:
    """Where circuits are evaluated, and how.

    Attributes:
        backend: what they are sent to, that of `config`.
        config: settings.
        folder: where the evaluation's files are.
        progress: what a person is told.
    """

    backend: Backend
    config: HardwareConfig
    folder: HardwareFolder
    progress: Progress


@dataclass(frozen=True, eq=False)
class PlannedCircuit:
    """A trained circuit, compiled, with the jobs of its arms on the backend.

    Attributes:
        model: the trained circuit.
        compiled: compiled once for all arms.
        requests: jobs by label of mitigation; `none` first.
        details: what else its result says.
    """

    model: TrainedCircuit
    compiled: CompiledCircuit
    requests: Mapping[str, Sequence[JobRequest]]
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Hash of the circuit with its weights and images."""
        return self.requests["none"][0].digest


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Models on the same images, their circuits compiled for a backend.

    Attributes:
        models: what is compared; the first is the one asked for.
        circuits: those among them, planned, in their order.
        bench: where they are evaluated.
    """

    models: Sequence[Evaluated]
    circuits: Sequence[PlannedCircuit]
    bench: Bench


def plan_evaluation(models: Sequence[Evaluated], bench: Bench) -> Evaluation:
    """Compile the circuits among some models, and make the jobs of all their arms.

    Raises:
        HardwareError: if the models were not given the same images, or a circuit cannot be run on
            the backend.
    """
    _check_same_images(models)
    circuits = [plan_circuit(model, bench) for model in models if isinstance(model, TrainedCircuit)]
    return Evaluation(models, circuits, bench)


def plan_circuit(
    model: TrainedCircuit, bench: Bench, details: Mapping[str, Any] | None = None
) -> PlannedCircuit:
    """Compile a circuit and make the jobs of its arms; see `plan_evaluation`."""
    compiled = compiled_on(bench, model.circuit)
    requests = arms.arm_requests(compiled, model.weights, model.evaluated.flat, bench.config)
    return PlannedCircuit(model, compiled, requests, details or {})


def compiled_on(bench: Bench, circuit: Circuit) -> CompiledCircuit:
    """Return the circuit as it was compiled when the evaluation began, or compile it."""
    stored = load_compiled(_compiled_path(bench, circuit), circuit, bench.backend)
    if stored is not None:
        return stored
    options = bench.config.compilation
    with bench.progress.task(f"compiling {circuit.name} for {bench.backend.name}"):
        return compile_for(
            circuit,
            bench.backend,
            optimization_level=options.optimization_level,
            seed=options.layout_seed,
            initial_layout=options.initial_layout,
            num_tries=options.tries,
            max_two_qubit_depth=options.max_two_qubit_depth,
        )


def keep_compiled(bench: Bench, compiled: CompiledCircuit) -> None:
    """Store a compiled circuit in the folder, for the processes that go on."""
    path = _compiled_path(bench, compiled.source)
    if not path.exists():
        save_compiled(path, compiled)


def _compiled_path(bench: Bench, circuit: Circuit) -> Path:
    settings = {**bench.config.compilation.model_dump(mode="json"), "to": bench.backend.name}
    return bench.folder.compiled / compiled_name(circuit, settings)


def costs(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return what each arm on the backend would cost, ready for JSON; see `planning.plan`."""
    found, bench = [], evaluation.bench
    for planned in evaluation.circuits:
        samples, shots = len(planned.model.evaluated.flat), bench.config.num_shots
        for mitigation in arms.mitigations(bench.config).values():
            cost = plan(planned.compiled, samples, shots=shots, mitigation=mitigation)
            found.append({"model": planned.model.name, **cost})
        if bench.config.fine_tuning is not None:
            found.append(_fine_tuning_cost(planned.model, bench, bench.config.fine_tuning))
    return found


def _fine_tuning_cost(
    model: TrainedCircuit, bench: Bench, options: FineTuningConfig
) -> dict[str, Any]:
    assert model.training is not None
    sizes = job_sizes(model.circuit, model.training, options)
    compiled = compiled_on(bench, free_angles(model.circuit))
    cost = plan(compiled, sum(sizes), shots=options.shots or bench.config.num_shots)
    return {"model": f"{model.name}, {options.method}", **cost, "jobs": len(sizes)}


def drawings(evaluation: Evaluation) -> list[tuple[str, Figure]]:
    """Return a drawing of each compiled circuit, with a caption."""
    name = evaluation.bench.backend.name
    return [
        (f"{planned.model.name} as compiled for {name}", planned.compiled.draw())
        for planned in evaluation.circuits
    ]


def _check_same_images(models: Sequence[Evaluated]) -> None:
    first = models[0]
    for model in models[1:]:
        for key in ("fingerprint", "split"):
            if model.dataset[key] != first.dataset[key]:
                raise HardwareError(
                    f"beside: {model.name} was trained on other images than {first.name} "
                    f"({model.dataset['name']} and {first.dataset['name']}, {key} differs); "
                    "expected runs on the same dataset and split"
                )
