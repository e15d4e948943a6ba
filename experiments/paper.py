"""Reproducing a paper: the runs behind its tables and figures, and one report of all of them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from hqnn_jax.config import Config
from hqnn_jax.config.evaluation import require_paper
from hqnn_jax.config.loading import load_config
from hqnn_jax.config.shipped import CONFIGS
from hqnn_jax.errors import (
    ConfigurationError,
    DataError,
    PretrainedWeightsError,
)
from hqnn_jax.files import locked, write_json
from hqnn_jax.progress import Progress
from hqnn_jax.reporting.document import Document, write_document
from hqnn_jax.runs.finished import FinishedRun, load_run
from hqnn_jax.runs.folder import RunFolder
from hqnn_jax.runs.run import train
from hqnn_jax.runs.summary import write_run_report
from hqnn_jax.training.interrupt import Interrupted

SMALL = (
    "dataset.name=synthetic_cells",
    "dataset.positive_labels=null",
    "dataset.label_map=null",
    "dataset.resolution=28",
    "dataset.synthetic.train_images=256",
    "dataset.synthetic.validation_images=64",
    "dataset.synthetic.test_images=64",
    "training.epochs=1",
    "evaluation.bootstrap_samples=100",
    "evaluation.cross_datasets=[]",
    "evaluation.explained_images=0",
)
"""What `--small` changes in every run: synthetic cells, so that nothing need be downloaded."""


@dataclass(frozen=True)
class PaperRequest:
    """What is asked of a paper: where to write, changed keys, and whether the small variant.

    `config` replaces the configuration of a paper whose table has one of its own (aml2026); `arms`
    names the only ones to run, all where it is empty; `progress` is shown while they run.
    """

    out: Path
    overrides: tuple[str, ...] = ()
    small: bool = False
    config: Path | None = None
    arms: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True)
class PaperArm:
    """One run of a paper: a shipped configuration with changed keys.

    Attributes:
        name: of its folder.
        label: how tables call it.
        config: file name in `configs/`, without suffix.
        overrides: KEY=VALUE.
        small: further ones of the small variant.
    """

    name: str
    label: str
    config: str
    overrides: tuple[str, ...] = ()
    small: tuple[str, ...] = ()

    def resolve(self, request: PaperRequest) -> Config:
        """Return the configuration, the user's own keys last."""
        small = (*SMALL, *self.small) if request.small else ()
        overrides = (*self.overrides, *small, *request.overrides)
        return load_config(CONFIGS / f"{self.config}.yaml", overrides)


def paper_module(name: str) -> ModuleType:
    """Return the module of a paper: `TITLE`, `REFERENCE`, `published(config)`, `reproduce`.

    Raises:
        ConfigurationError: for a name that is not one of the five.
    """
    require_paper(name)
    return importlib.import_module(f"hqnn_jax.experiments.{name}")


def reproduce(name: str, request: PaperRequest) -> tuple[Path, Mapping[str, str]]:
    """Run what a paper's tables and figures need, and write `report.html` and `results.json`.

    What is finished in `request.out` is not run again, so the same command goes on where an
    earlier one was stopped.

    Returns:
        The path of the report, and why some arms could not be run, by their label.

    Raises:
        RunFolderError: if another process works in `request.out`; see the papers.
    """
    module = paper_module(name)
    with locked(request.out):
        document: Document = module.reproduce(request)
        write_json(request.out / "results.json", document.data)
        report = write_document(request.out / "report.html", document)
    return report, document.data.get("failed", {})


@dataclass(frozen=True)
class Runs:
    """What became of the arms: finished runs by name, and why others could not be run, by label."""

    finished: Mapping[str, FinishedRun]
    failed: Mapping[str, str]


def run_arms(arms: Sequence[PaperArm], request: PaperRequest) -> Runs:
    """Train every arm that is not finished yet.

    An arm whose images or pretrained weights cannot be had is left out, with the reason; the
    others do not depend on it.

    Raises:
        ConfigurationError: before anything runs if one of them cannot be run.
        RunFolderError: if a folder holds a run of another configuration.
        DataError, PretrainedWeightsError: if no arm could be run.
    """
    if request.config is not None:
        raise ConfigurationError(
            f"--config {request.config}: the runs of this paper have a configuration each; change "
            "keys with KEY=VALUE"
        )
    arms, progress = _chosen(arms, request), request.progress
    configs = {arm.name: arm.resolve(request) for arm in arms}
    finished: dict[str, FinishedRun] = {}
    failed: dict[str, str] = {}
    last: DataError | PretrainedWeightsError | None = None
    for number, arm in enumerate(arms, start=1):
        folder = RunFolder(request.out / arm.name)
        progress.line(f"[{number}/{len(arms)}] {arm.label}: {folder.path}")
        try:
            _run_once(configs[arm.name], folder, progress)
        except (DataError, PretrainedWeightsError) as error:
            progress.line(f"left out: {error}")
            failed[arm.label] = str(error)
            last = error
            continue
        finished[arm.name] = load_run(folder.path)
    if last is not None and not finished:
        raise last
    return Runs(finished, failed)


def _chosen(arms: Sequence[PaperArm], request: PaperRequest) -> Sequence[PaperArm]:
    names = [arm.name for arm in arms]
    for name in request.arms:
        if name not in names:
            raise ConfigurationError(
                f"--arms: no arm {name!r}; expected some of: {', '.join(names)}"
            )
    return [arm for arm in arms if not request.arms or arm.name in request.arms]


def _run_once(config: Config, folder: RunFolder, progress: Progress) -> None:
    if folder.metrics.exists():
        advice = "choose another --out, or delete that folder to run it again"
        folder.require_same(config, run="the finished run", advice=advice)
        progress.line("finished earlier")
    else:
        try:
            train(config, folder, resume=folder.was_trained(), progress=progress)
        except Interrupted as error:
            raise Interrupted(
                f"{folder.path}: stopped, a checkpoint is saved; the same command goes on"
            ) from error
    if not folder.report.exists():
        write_run_report(folder.path, config)


def link(run: FinishedRun, request: PaperRequest) -> str:
    """Return the link from the paper's report to that of a run."""
    return Path(os.path.relpath(run.files.report, request.out)).as_posix()
