"""The circuits of finished runs, those of papers among them, on a backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hqnn_jax.config.hardware import HardwareConfig
from hqnn_jax.errors import ConfigurationError
from hqnn_jax.files import locked, write_arrays, write_json
from hqnn_jax.hardware.backends import open_backend
from hqnn_jax.hardware_evaluation.evaluation import carry_out, check_no_wait
from hqnn_jax.hardware_evaluation.folder import HardwareFolder
from hqnn_jax.hardware_evaluation.from_run import RunSource
from hqnn_jax.hardware_evaluation.planned import (
    Bench,
    Evaluated,
    Evaluation,
    drawings,
    plan_evaluation,
)
from hqnn_jax.hardware_evaluation.report import write_hardware_report
from hqnn_jax.hardware_evaluation.results import HardwareResults
from hqnn_jax.progress import Progress
from hqnn_jax.runs.finished import load_run


def evaluate(
    prepared: Callable[[], Evaluation],
    settings: HardwareConfig,
    folder: HardwareFolder,
    *,
    resume: bool,
    wait: bool,
) -> HardwareResults | None:
    """Evaluate on the backend and write the report; see `carry_out`.

    The folder is this process's until the end, so that no job is sent by two.

    Args:
        prepared: makes the evaluation, see `prepare`; called once the folder is held.
        settings: of the evaluation.
        folder: of the evaluation.
        resume: whether to go on with the evaluation in the folder.
        wait: whether to wait for the results of a device's jobs.

    Returns:
        The results if they were waited for.
    """
    with locked(folder.path):
        folder.check(settings, resume=resume)
        evaluation = prepared()
        if not wait:
            check_no_wait(evaluation.bench)
        folder.create(settings)
        results = carry_out(evaluation, wait=wait)
        if results is not None:
            write_arrays(folder.arrays, results.arrays())
            write_json(folder.record, results.record())
            write_hardware_report(folder.report, results, drawings(evaluation))
    return results


def prepare(
    run: Path,
    settings: HardwareConfig,
    folder: HardwareFolder,
    progress: Progress,
    data_dir: Path | None = None,
) -> Evaluation:
    """Load the circuit of a run, and what is beside it; nothing is sent or written.

    Args:
        run: folder with the trained circuit.
        settings: of the evaluation.
        folder: of the evaluation.
        progress: where progress is shown.
        data_dir: where the datasets are, if not where they were.

    Raises:
        HardwareError: if the run has no circuit.
        HqnnError: for what cannot be read.
    """
    # Before the images, which may take long to load.
    backend = open_backend(settings.backend)
    models = load_models(run, settings, progress, data_dir)
    return plan_evaluation(models, Bench(backend, settings, folder, progress))


def load_models(
    run: Path, settings: HardwareConfig, progress: Progress, data_dir: Path | None = None
) -> list[Evaluated]:
    """Load the circuit that is asked for, and what is beside it; see `prepare`."""
    return [
        _vqc(path, settings, progress, data_dir)
        if (path / "cells").is_dir()
        else _of_run(path, settings, progress, data_dir, needs_circuit=path == run)
        for path in (run, *settings.beside)
    ]


def _of_run(
    path: Path,
    settings: HardwareConfig,
    progress: Progress,
    data_dir: Path | None,
    *,
    needs_circuit: bool,
) -> Evaluated:
    if settings.model is not None:
        raise ConfigurationError(
            f"model: {settings.model!r} chooses among the circuits of a folder of aml2026, but "
            f"{path} is none; set it to null"
        )
    source = RunSource.of(load_run(path, data_dir), settings)
    if needs_circuit or source.has_circuit:
        return source.trained_circuit(progress)
    return source.stored_predictions()


def _vqc(
    path: Path, settings: HardwareConfig, progress: Progress, data_dir: Path | None
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
