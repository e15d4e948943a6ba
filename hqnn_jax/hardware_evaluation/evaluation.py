"""Trained circuits on a backend: compile, simulate, send, collect, compare."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from hqnn_jax.circuits import Circuit
from hqnn_jax.config.hardware import FineTuningConfig, HardwareConfig
from hqnn_jax.errors import ConfigurationError, HardwareError
from hqnn_jax.files import write_arrays, write_json
from hqnn_jax.hardware.backends import Backend, calibration
from hqnn_jax.hardware.compilation import CompiledCircuit, compile_for
from hqnn_jax.hardware.execution import Estimates, Request, requests, sending
from hqnn_jax.hardware.jobs import JobStore
from hqnn_jax.hardware.mitigation import Mitigation
from hqnn_jax.hardware.planning import plan
from hqnn_jax.hardware.saved import compiled_name, load_compiled, save_compiled
from hqnn_jax.hardware_evaluation import arms
from hqnn_jax.hardware_evaluation.fine_tuning import fine_tune, free_angles, job_sizes
from hqnn_jax.hardware_evaluation.folder import HardwareFolder
from hqnn_jax.hardware_evaluation.results import (
    FINE_TUNED,
    ArmKind,
    ArmResult,
    HardwareResults,
    ModelResult,
)
from hqnn_jax.hardware_evaluation.trained import StoredPredictions, TrainedCircuit
from hqnn_jax.progress import Progress
from hqnn_jax.runs.folder import describe_environment
from hqnn_jax.training.interrupt import Interrupted

Evaluated = TrainedCircuit | StoredPredictions
_PACKAGES = ("qiskit", "qiskit-aer", "qiskit-ibm-runtime")
# Of probabilities, between float32 and double precision, and between machines.
_ROUNDING = 1e-3
# Fine-tuning's jobs have seeds of their own, far from those of the arms.
_FINE_TUNING_SEED = 10_000_000


@dataclass(frozen=True, eq=False)
class Work:
    """A trained circuit, compiled, with the jobs of its arms on the backend.

    Attributes:
        model: the trained circuit.
        compiled: compiled once for all arms.
        requests: jobs by label of mitigation; `none` first.
        details: what else its result says.
    """

    model: TrainedCircuit
    compiled: CompiledCircuit
    requests: Mapping[str, list[Request]]
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Evaluation:
    """An evaluation of trained circuits on a backend, whose files are in a folder.

    Nothing is sent to the backend and nothing is written before `run`.
    """

    def __init__(
        self,
        models: Sequence[Evaluated],
        backend: Backend,
        config: HardwareConfig,
        folder: HardwareFolder,
        progress: Progress,
    ):
        """Compile for the backend, which is that of `config`.

        Raises:
            HardwareError: if the models were not given the same images, or a circuit cannot be run
                there.
        """
        self.config, self.folder, self.progress = config, folder, progress
        self.models = models
        self._free_angles = functools.cache(free_angles)
        _check_same_images(models)
        self.backend = backend
        self.works = [
            self._work(model, {}) for model in models if isinstance(model, TrainedCircuit)
        ]

    def plans(self) -> list[dict[str, Any]]:
        """Return what each arm on the backend would cost, ready for JSON; see `planning.plan`."""
        found = []
        for work in self.works:
            samples = len(work.model.evaluated.flat)
            for mitigation in arms.mitigations(self.config).values():
                cost = plan(
                    work.compiled, samples, shots=self.config.num_shots, mitigation=mitigation
                )
                found.append({"model": work.model.name, **cost})
            if self.config.fine_tuning is not None:
                found.append(self._fine_tuning_plan(work, self.config.fine_tuning))
        return found

    def drawings(self) -> list[tuple[str, Figure]]:
        """Return a drawing of each compiled circuit, with a caption."""
        return [
            (f"{work.model.name} as compiled for {self.backend.name}", work.compiled.draw())
            for work in self.works
        ]

    def check_no_wait(self) -> None:
        """Raise `ConfigurationError` if nothing could be collected by another process."""
        if self.backend.is_local or self.config.fine_tuning is not None:
            raise ConfigurationError(
                "--no-wait: simulations end with this process, and fine-tuning needs the values of "
                "each job for the next; leave it out"
            )

    def run(self, *, wait: bool = True) -> HardwareResults | None:
        """Send what was not sent, collect everything, and return the results.

        With `wait=False` nothing is collected, and None returned; see `check_no_wait`.

        Raises:
            HardwareError: if the backend fails; what was sent and collected is kept, and another
                call in the same folder goes on. `Interrupted` on Ctrl-C.
        """
        self.folder.require_same_models(
            [
                {"model": work.model.name, "jobs": work.requests["none"][0].digest}
                for work in self.works
            ]
        )
        store = JobStore(self.folder.jobs)
        try:
            # With the calibration of the day the jobs are sent on.
            for work in self.works:
                self._save(work.compiled)
                self._simulated(work)
            self._calibration()
            # Nothing is opened on a service where all jobs were sent before.
            mode = self.config.mode if self._are_missing(store) else "job"
            with sending(self.backend, mode) as within:
                works = self._sent(store, within)
            return self._results(works, store) if wait else None
        except KeyboardInterrupt:
            raise Interrupted(
                f"{self.folder.path}: stopped; what was measured is kept and jobs on a device go "
                "on: --resume goes on"
            ) from None

    def _are_missing(self, store: JobStore) -> bool:
        """Whether jobs must be sent, as far as that is known before fine-tuning."""
        parts = [r for work in self.works for found in work.requests.values() for r in found]
        return self.config.fine_tuning is not None or any(
            state not in ("sent", "collected") for state in store.states(parts)
        )

    def _sent(self, store: JobStore, within: Any) -> list[Work]:
        """Send all jobs to a device, and fine-tune; return what is to be evaluated."""
        works = self.works
        if not self.backend.is_local:
            for work in works:
                self._submit(work, store, within)
        tuning = self.config.fine_tuning
        if tuning is not None:
            tuned = [self._fine_tuned(work, tuning, store, within) for work in works]
            works = [work for pair in zip(works, tuned, strict=True) for work in pair]
        return works

    def _submit(self, work: Work, store: JobStore, within: Any) -> None:
        for label, parts in work.requests.items():
            for job_id in store.submit(parts, within):
                self.progress.line(f"{work.model.name}: {label}: job {job_id}")

    def _results(self, works: Sequence[Work], store: JobStore) -> HardwareResults:
        found = [self._model_result(work, store) for work in works]
        found += [_stored_result(m) for m in self.models if isinstance(m, StoredPredictions)]
        first = self.models[0]
        samples = first.evaluated if isinstance(first, TrainedCircuit) else first
        environment = describe_environment()
        environment["versions"] |= {name: importlib.metadata.version(name) for name in _PACKAGES}
        return HardwareResults(
            backend=self.config.backend,
            models=tuple(found),
            labels=samples.labels,
            positions=samples.positions,
            class_names=first.class_names,
            dataset=first.dataset,
            calibration=self._calibration(),
            settings=self.config.model_dump(mode="json"),
            environment=environment,
        )

    # --- one circuit -----------------------------------------------------------------------------

    def _work(self, model: TrainedCircuit, details: Mapping[str, Any]) -> Work:
        compiled = self._compiled(model.circuit)
        parts = arms.arm_requests(compiled, model.weights, model.evaluated.flat, self.config)
        return Work(model, compiled, parts, details)

    def _compiled(self, circuit: Circuit) -> CompiledCircuit:
        stored = load_compiled(self._compiled_path(circuit), circuit, self.backend)
        if stored is not None:
            return stored
        options = self.config.compilation
        with self.progress.task(f"compiling {circuit.name} for {self.backend.name}"):
            return compile_for(
                circuit,
                self.backend,
                optimization_level=options.optimization_level,
                seed=options.layout_seed,
                initial_layout=options.initial_layout,
                num_tries=options.tries,
                max_two_qubit_depth=options.max_two_qubit_depth,
            )

    def _compiled_path(self, circuit: Circuit) -> Any:
        settings = {**self.config.compilation.model_dump(mode="json"), "to": self.backend.name}
        return self.folder.compiled / compiled_name(circuit, settings)

    def _save(self, compiled: CompiledCircuit) -> None:
        path = self._compiled_path(compiled.source)
        if not path.exists():
            save_compiled(path, compiled)

    def _calibration(self) -> dict[str, Any]:
        """Return the calibration data of when the evaluation began."""
        path = self.folder.calibration
        if not path.exists():
            qubits = sorted({q for work in self.works for q in work.compiled.used_qubits})
            write_json(path, calibration(self.backend, qubits))
        return self.folder.read_calibration()

    def _model_result(self, work: Work, store: JobStore) -> ModelResult:
        model = work.model
        found = [
            ArmResult(kind, label, model.probabilities(values), values, errors, details=details)
            for kind, label, (values, errors), details in self._simulated(work)
        ]
        for label, parts in work.requests.items():
            with self.progress.task(f"{model.name} on {self.backend.name}, mitigation: {label}"):
                estimates = store.collect(parts)
            found.append(_backend_arm(model, label, estimates))
        described = plan(work.compiled, len(model.evaluated.flat), shots=self.config.num_shots)
        details: dict[str, Any] = {
            "compiled": work.compiled.summary(),
            "plan": described,
            **work.details,
        }
        if model.stored is not None:
            difference = np.abs(found[0].probabilities - model.stored.probabilities).max()
            details["difference_from_run"] = float(difference)
            if difference > _ROUNDING:
                self.progress.line(
                    f"note: {model.name}: probabilities of the exact circuit differ by up to "
                    f"{difference:.2g} from those the run had stored; was it trained on another "
                    "kind of machine?"
                )
        return ModelResult(
            name=model.name,
            description=model.description,
            arms=tuple(found),
            outputs=arms.output_names(model.circuit),
            details=details,
        )

    def _simulated(self, work: Work) -> list[tuple[ArmKind, str, arms.Values, dict[str, Any]]]:
        """Return the arms that need no backend."""
        model, shots = work.model, self.config.num_shots
        circuit, weights, features = model.circuit, model.weights, model.evaluated.flat
        exact = self._kept(work, "exact", lambda: arms.exact_values(circuit, weights, features))
        found: list[tuple[ArmKind, str, arms.Values, dict[str, Any]]] = [
            ("exact", "exact", exact, {})
        ]
        if not self.backend.is_exact:
            seed = self.config.simulator_seed
            drawn = self._kept(
                work,
                "shots",
                lambda: arms.shot_values(circuit, weights, features, shots, seed),
            )
            found.append(("shots", "shots", drawn, {"shots": shots}))
        if self.config.noise_model and arms.has_noise_model(work.compiled):
            noisy = self._kept(
                work,
                "noise model",
                lambda: arms.noise_model_values(work.compiled, weights, features),
            )
            found.append(("noise_model", "noise model", noisy, {}))
        return found

    def _kept(self, work: Work, arm: str, compute: Callable[[], arms.Values]) -> arms.Values:
        """Return stored values of a simulated arm, computing them once.

        A device's noise is then that of the day on which the evaluation began.
        """
        digest = work.requests["none"][0].digest
        path = self.folder.simulated / f"{digest[:32]}-{arm.replace(' ', '-')}.npz"
        if not path.exists():
            with self.progress.task(f"{work.model.name}, simulated: {arm}"):
                values, errors = compute()
            write_arrays(path, {"values": values, "standard_errors": errors})
        return self.folder.read_simulated(path)

    # --- fine-tuning -----------------------------------------------------------------------------

    def _fine_tuned(
        self, work: Work, options: FineTuningConfig, store: JobStore, within: Any
    ) -> Work:
        """Train the weights of a circuit on the backend; jobs of an earlier process are reused."""
        model, compiled = work.model, self._free(work)
        assert model.training is not None
        self._save(compiled)
        shots = options.shots or self.config.num_shots

        def measure(
            iteration: int, rows: Float[np.ndarray, "rows angles"]
        ) -> Float[np.ndarray, "rows outputs"]:
            seed = self.config.simulator_seed + _FINE_TUNING_SEED + iteration
            parts = requests(compiled, np.zeros(0), rows, shots=shots, seed=seed)
            return store.collect(parts, within).values

        label = f"{model.name}: fine-tuning on {self.backend.name}"
        with self.progress.task(label, options.iterations) as advance:
            tuned = fine_tune(
                model.circuit,
                model.weights,
                model.training,
                model.classify,
                measure,
                options,
                lambda iteration, loss: advance(1),
            )
        details = {
            "method": options.method,
            "losses": tuned.losses.tolist(),
            "gradient_norms": tuned.gradient_norms.tolist(),
            "evaluations": tuned.evaluations,
            "shots": shots,
            "change": float(np.linalg.norm(tuned.weights - model.weights)),
        }
        changed = dataclasses.replace(
            model, name=model.name + FINE_TUNED, weights=tuned.weights, stored=None
        )
        result = self._work(changed, {"fine_tuning": details})
        if not self.backend.is_local:
            self._submit(result, store, within)
        return result

    def _free(self, work: Work) -> CompiledCircuit:
        return self._compiled(self._free_angles(work.model.circuit))

    def _fine_tuning_plan(self, work: Work, options: FineTuningConfig) -> dict[str, Any]:
        assert work.model.training is not None
        sizes = job_sizes(work.model.circuit, work.model.training, options)
        shots = options.shots or self.config.num_shots
        cost = plan(self._free(work), sum(sizes), shots=shots)
        return {"model": f"{work.model.name}, {options.method}", **cost, "jobs": len(sizes)}


def _backend_arm(model: TrainedCircuit, label: str, estimates: Estimates) -> ArmResult:
    mitigated = label != Mitigation().label()
    return ArmResult(
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
    arm = ArmResult("stored", "as trained", model.probabilities)
    return ModelResult(model.name, model.description, (arm,))


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
