"""Evaluating the circuits of finished runs on a backend, from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hqnn_jax.config.hardware import HardwareConfig
from hqnn_jax.config.loading import load_section, validated
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.files import locked, write_arrays, write_json
from hqnn_jax.hardware.backends import open_backend
from hqnn_jax.hardware_evaluation.evaluation import Evaluated, Evaluation
from hqnn_jax.hardware_evaluation.folder import HardwareFolder
from hqnn_jax.hardware_evaluation.from_run import RunSource
from hqnn_jax.hardware_evaluation.report import write_hardware_report
from hqnn_jax.hardware_evaluation.results import HardwareResults
from hqnn_jax.progress import Progress
from hqnn_jax.reporting import formatting


@dataclass(frozen=True)
class Request:
    """What is asked of `python -m experiment hardware`.

    Attributes:
        run: folder with the trained circuit.
        config: file of settings, None for the defaults or, on resuming, those of the folder.
        overrides: KEY=VALUE.
        out: folder of the evaluation; None for `RUN/hardware/BACKEND`.
        data_dir: where the datasets are, if not where they were.
    """

    run: Path
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    out: Path | None = None
    data_dir: Path | None = None

    def settings(self, *, resume: bool) -> tuple[HardwareConfig, HardwareFolder]:
        """Return the settings and the folder of the evaluation.

        Raises:
            ConfigurationError: for settings that cannot be used, or where the one folder to resume
                cannot be told.
        """
        given = self.config is not None or bool(self.overrides)
        if not (resume and not given):
            settings = self._given_settings()
            return settings, HardwareFolder(self.out or self._default_folder(settings))
        folder = HardwareFolder(self.out or self._only_folder())
        if not folder.is_begun:
            raise ConfigurationError(
                f"{folder.path}: nothing to resume; leave out --resume to start an evaluation"
            )
        return folder.stored_settings(), folder

    def _given_settings(self) -> HardwareConfig:
        if self.config is not None:
            return load_section(self.config, self.overrides, HardwareConfig)
        return validated({}, self.overrides, HardwareConfig, "hardware")

    def _default_folder(self, settings: HardwareConfig) -> Path:
        return self.run / "hardware" / settings.backend.replace(":", "-")

    def _only_folder(self) -> Path:
        found = sorted(path.parent for path in (self.run / "hardware").glob("*/hardware.yaml"))
        if len(found) != 1:
            names = ", ".join(map(str, found)) or "none"
            raise ConfigurationError(
                f"{self.run}: --resume needs --out where there is not one evaluation; found {names}"
            )
        return found[0]


def load_models(request: Request, settings: HardwareConfig, progress: Progress) -> list[Evaluated]:
    """Load the circuit that is asked for, and what is beside it.

    Raises:
        HardwareError: if the first has no circuit.
        HqnnError: for what cannot be read.
    """
    first = _load(request.run, settings, request.data_dir, progress, needs_circuit=True)
    others = [
        _load(path, settings, request.data_dir, progress, needs_circuit=False)
        for path in settings.beside
    ]
    return [first, *others]


def _load(
    path: Path,
    settings: HardwareConfig,
    data_dir: Path | None,
    progress: Progress,
    *,
    needs_circuit: bool,
) -> Evaluated:
    if (path / "cells").is_dir():
        return _vqc(path, settings, data_dir, progress)
    if settings.model is not None:
        raise ConfigurationError(
            f"model: {settings.model!r} chooses among the circuits of a folder of aml2026, but "
            f"{path} is none; set it to null"
        )
    source = RunSource.load(path, settings, data_dir)
    if needs_circuit or source.has_circuit:
        return source.trained_circuit(progress)
    return source.stored_predictions()


def _vqc(
    path: Path, settings: HardwareConfig, data_dir: Path | None, progress: Progress
) -> Evaluated:
    from hqnn_jax.experiments.aml2026.hardware import DEFAULT_ARM, load_vqc

    arm, _, size = (settings.model or DEFAULT_ARM).partition("-")
    if size and not size.isdecimal():
        raise ConfigurationError(
            f"model: {settings.model!r}; expected ARM or ARM-SIZE, for example {DEFAULT_ARM}-250"
        )
    return load_vqc(
        path,
        arm=arm,
        size=int(size) if size else None,
        seed=settings.seed,
        images=settings.images,
        fine_tuning=settings.fine_tuning,
        progress=progress,
        data_dir=data_dir,
    )


def dry_run(request: Request, progress: Progress) -> list[str]:
    """Return lines that say what an evaluation would send; nothing is sent or written."""
    settings, folder = request.settings(resume=False)
    evaluation = _evaluation(request, settings, folder, progress)
    return [line for cost in evaluation.plans() for line in _plan_lines(cost)]


def _evaluation(
    request: Request, settings: HardwareConfig, folder: HardwareFolder, progress: Progress
) -> Evaluation:
    # Before the images, which may take long to load.
    backend = open_backend(settings.backend)
    models = load_models(request, settings, progress)
    return Evaluation(models, backend, settings, folder, progress)


def run(
    request: Request, progress: Progress, *, resume: bool, wait: bool
) -> tuple[Path, HardwareResults | None]:
    """Evaluate on the backend and write the report; see `Evaluation.run`.

    The folder is this process's until the end, so that no job is sent by two.

    Returns:
        The folder, and the results if they were waited for.
    """
    settings, folder = request.settings(resume=resume)
    with locked(folder.path):
        folder.check(settings, resume=resume)
        evaluation = _evaluation(request, settings, folder, progress)
        if not wait:
            evaluation.check_no_wait()
        folder.create(settings)
        results = evaluation.run(wait=wait)
        if results is not None:
            write_arrays(folder.arrays, results.arrays())
            write_json(folder.record, results.record())
            write_hardware_report(folder.report, results, evaluation.drawings())
    return folder.path, results


def summary(results: HardwareResults) -> list[str]:
    """Return a line for each arm."""
    lines = []
    for model in results.record()["models"]:
        for arm in model["arms"]:
            line = (
                f"{model['name']}, {arm['label']}: accuracy "
                f"{formatting.percent(arm['accuracy'])} % "
                f"({formatting.interval(arm['intervals']['accuracy'])})"
            )
            if arm["agreement"] is not None:
                line += f", agrees with exact {formatting.percent(arm['agreement']['share'])} %"
            lines.append(line)
    return lines


def _plan_lines(cost: dict[str, Any]) -> Sequence[str]:
    seconds = cost["qpu_seconds"]
    time = "not known" if seconds is None else f"about {formatting.duration(seconds)}"
    return (
        f"{cost['model']} on {cost['backend']}, mitigation: {cost['mitigation']}",
        f"  circuit: depth {cost['depth']}, two-qubit depth {cost['two_qubit_depth']}, "
        f"{cost['num_two_qubit_gates']} two-qubit gates, {cost['num_swaps']} SWAPs inserted",
        f"  {formatting.count(cost['samples'])} samples in {cost['bases']} bases: "
        f"{formatting.count(cost['circuits'])} circuits of {formatting.count(cost['shots'])} "
        f"shots, {formatting.count(cost['total_shots'])} shots in {cost['jobs']} jobs",
        f"  QPU time: {time}",
    )
