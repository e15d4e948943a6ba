"""An ablation from its plan to its report: compute what is missing, compare, write."""

from __future__ import annotations

import contextlib
import itertools
import pickle
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hqnn_jax.ablation.cells import Cell, CellStore
from hqnn_jax.ablation.cluster import Resources, run_on_ray
from hqnn_jax.ablation.comparing import compare_arms, verdicts
from hqnn_jax.ablation.plan import Arm, Plan
from hqnn_jax.ablation.report import write_reports
from hqnn_jax.ablation.results import AblationResults, ArmResult
from hqnn_jax.ablation.work import CellWork, Finished, Worker
from hqnn_jax.errors import HqnnError, RunFolderError, TrainingError
from hqnn_jax.evaluation.comparison import summarise
from hqnn_jax.evaluation.metrics import RECORDED_METRICS
from hqnn_jax.files import locked
from hqnn_jax.progress import Progress
from hqnn_jax.runs.folder import describe_environment
from hqnn_jax.training.interrupt import Interrupted, stop_requested

_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class RayRequest:
    """A Ray cluster by its address (see `cluster.run_on_ray`), and what each task asks for."""

    address: str
    resources: Resources


def run_ablation(
    plan: Plan,
    folder: Path,
    progress: Progress,
    *,
    together: int | None = None,
    ray: RayRequest | None = None,
) -> AblationResults:
    """Compute every cell that is not in `folder` yet, and write the report.

    The same call goes on where an earlier one was stopped; two processes may share a folder.

    Args:
        plan: what to run.
        folder: of cells and report.
        progress: where progress is shown.
        together: seeds in one program at most, for a folder that has no cells yet; None for as many
            as memory allows, or what the cells were begun with.
        ray: where and with what the cells are computed; None for this process.

    Raises:
        RunFolderError: for a folder of another version, or begun with another number of seeds in
            one program.
        Interrupted: when the user stops it.
        TrainingError: if cells could not be trained, when all others are finished.
    """
    store = CellStore(folder)
    store.prepare()
    together = store.fix_together(together, _groups(plan), plan.seeds)
    store.write_text("ablation.yaml", plan.file.to_yaml())
    try:
        if ray is None:
            with stop_requested() as stop:
                scratch = store.unfinished
                _locally(plan, store, Worker(progress, stop, together=together, scratch=scratch))
        else:
            _on_ray(plan, store, progress, together, ray)
    except (Interrupted, KeyboardInterrupt) as error:
        done = sum(store.path(arm, seed).exists() for arm, seed in _cells(plan))
        raise Interrupted(
            f"{folder}: stopped; {done} of {len(plan.arms) * len(plan.seeds)} cells are kept; "
            "the same command goes on"
        ) from error
    results = assemble(plan, store)
    with locked(folder, wait=True):
        write_reports(results, folder)
    return results


def _cells(plan: Plan) -> list[tuple[Arm, int]]:
    return list(itertools.product(plan.arms, plan.seeds))


def _groups(plan: Plan) -> list[tuple[Arm, ...]]:
    """Return the arms that are trained alike together, in order."""
    groups: dict[str, list[Arm]] = {}
    for arm in plan.arms:
        groups.setdefault(arm.training_key, []).append(arm)
    return [tuple(arms) for arms in groups.values()]


def _locally(plan: Plan, store: CellStore, worker: Worker) -> None:
    """Compute what is missing in this process, beside others that may do the same."""
    progress = worker.progress
    failures: dict[str, HqnnError] = {}
    groups = _groups(plan)
    while True:
        for number, arms in enumerate(groups, start=1):
            if arms[0].training_key in failures:
                continue
            with store.claim(arms, plan.seeds) as claim:
                if not claim.seeds:
                    continue
                work = CellWork(arms, claim)
                progress.line(f"[{number}/{len(groups)}] {work}")
                try:
                    for finished in worker.perform(work):
                        _store(finished, arms, store)
                except TrainingError as error:
                    progress.line(f"left out: {work}: {error}")
                    failures[arms[0].training_key] = TrainingError(f"{work}: {error}")
        left = [
            arms[0].label
            for arms in groups
            if arms[0].training_key not in failures
            and any(store.missing(arms, seed) for seed in plan.seeds)
        ]
        if not left:
            break
        progress.line(f"waiting for another process, which computes {left[0]}")
        if worker.stop():
            raise Interrupted("stopped while waiting")
        time.sleep(_POLL_SECONDS)
    _raise_failures(failures, store)


def _on_ray(
    plan: Plan, store: CellStore, progress: Progress, together: int | None, request: RayRequest
) -> None:
    """Compute what is missing on a cluster, one task per chunk of seeds; this process stores it.

    Where no number of seeds is asked for, the node of an arm's first task decides it.
    """
    with contextlib.ExitStack() as claims:
        tasks = []
        for arms in _groups(plan):
            if together is not None and store.size(arms) is None:
                store.fix_size(arms, together)
            claim = claims.enter_context(store.claim(arms, plan.seeds))
            tasks += [CellWork(arms, part) for part in claim.parts()]
        done = 0

        def keep(work: CellWork, content: bytes) -> None:
            nonlocal done
            for finished in pickle.loads(content):
                _store(finished, work.arms, store)
            done += 1
            progress.line(f"[{done}/{len(tasks)}] {work}")

        progress.line(f"{len(tasks)} tasks on Ray at {request.address}")
        run_on_ray(request.address, tasks, perform_elsewhere, request.resources, keep)
    missing = [arm.label for arm, seed in _cells(plan) if store.missing([arm], seed)]
    if missing:
        raise RunFolderError(
            f"{store.folder}: another process computes {missing[0]}; run the same command again "
            "when it has finished"
        )


def perform_elsewhere(work: CellWork) -> bytes:
    """Compute the cells of a work in a process of its own; returns them pickled."""
    with tempfile.TemporaryDirectory() as scratch:
        worker = Worker(
            Progress(terminal=False),
            lambda: False,
            together=None,
            scratch=lambda arm, seed: Path(scratch) / f"{arm.key}_{seed}",
        )
        return pickle.dumps(list(worker.perform(work)))


def _store(finished: Finished, arms: Sequence[Arm], store: CellStore) -> None:
    """Write the cells that are missing; those of other seeds in the program are there already."""
    store.fix_size(arms, finished.size)
    for arm, seed, content in finished.cells:
        if store.missing([arm], seed):
            store.write(arm, seed, content)


def _raise_failures(failures: Mapping[str, HqnnError], store: CellStore) -> None:
    if failures:
        first = next(iter(failures.values()))
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        raise TrainingError(
            f"{store.folder}: no report, since not every arm could be trained: {first}{more}; all "
            "other cells are kept"
        )


def assemble(plan: Plan, store: CellStore) -> AblationResults:
    """Read every cell and compare the arms.

    Raises:
        RunFolderError: if a cell is missing or damaged, or was computed on other images.
    """
    ablation = plan.file.ablation
    cells = {arm.name: [store.read(arm, seed) for seed in plan.seeds] for arm in plan.arms}
    _require_same_images(plan, cells)
    results = {arm.name: _arm_result(plan, arm, cells[arm.name]) for arm in plan.arms}
    reference = {arm.name: arm.reference for arm in plan.arms if arm.reference is not None}
    arms, comparisons = tuple(results.values()), {}
    if ablation.tests:
        comparisons = compare_arms(arms, reference, metric=ablation.metric, level=ablation.level)
    return AblationResults(
        name=plan.name,
        metric=ablation.metric,
        level=ablation.level,
        axes=plan.axes,
        arms=arms,
        reference=reference,
        comparisons=comparisons,
        verdicts=verdicts(
            arms,
            reference,
            comparisons,
            metric=ablation.metric,
            level=ablation.level,
        ),
        dataset=cells[plan.arms[0].name][0].record["dataset"],
        environment=describe_environment(),
        config_text=plan.file.to_yaml(),
    )


def _arm_result(plan: Plan, arm: Arm, cells: Sequence[Cell]) -> ArmResult:
    def over_seeds(split: str) -> dict[str, list[float]]:
        return {
            metric: [
                np.nan if cell.record[split][metric] is None else cell.record[split][metric]
                for cell in cells
            ]
            for metric in RECORDED_METRICS
        }

    test = over_seeds("test")
    ablation = plan.file.ablation
    times = [cell.record["time"] for cell in cells]
    return ArmResult(
        name=arm.name,
        label=arm.label,
        settings=arm.settings,
        seeds=plan.seeds,
        validation=over_seeds("validation"),
        test=test,
        predicted=np.stack([cell.predicted for cell in cells]),
        labels=cells[0].labels,
        parameters=cells[0].record["parameters"],
        best_epochs=[cell.record["best_epoch"] for cell in cells],
        history=[record for cell in cells for record in cell.record["history"]],
        train_seconds=float(np.mean([entry["train_s"] for entry in times])),
        compile_seconds=float(np.max([entry["compile_s"] for entry in times])),
        summary=summarise(np.asarray(test[ablation.metric], np.float64), level=ablation.level),
    )


def _require_same_images(plan: Plan, cells: Mapping[str, Sequence[Cell]]) -> None:
    """Raise if cells of one dataset's configuration were computed on different images."""
    seen: dict[str, tuple[str, str]] = {}
    for arm in plan.arms:
        described = arm.config.dataset.model_dump_json(exclude={"data_dir"})
        for cell in cells[arm.name]:
            fingerprint = cell.record["dataset"]["fingerprint"]
            label, first = seen.setdefault(described, (arm.label, fingerprint))
            if first != fingerprint:
                raise RunFolderError(
                    f"arms {label!r} and {arm.label!r} were computed on different images of "
                    f"{arm.config.dataset.name}: the dataset's files have changed meanwhile; "
                    "choose another --out"
                )
