"""Tables and numbers several papers' reports share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from hqnn_jax.evaluation import statistics
from hqnn_jax.evaluation.metrics import COMPARED_METRICS, LABELS
from hqnn_jax.evaluation.published import Published
from hqnn_jax.experiments.paper import PaperArm, PaperRequest, Runs, link
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.document import Document, Section, Table
from hqnn_jax.runs.described import what_ran
from hqnn_jax.runs.finished import FinishedRun

NO_SPREAD = "±: standard deviation over seeds."


def over_seeds(run: FinishedRun, metric: str, split: str = "test") -> np.ndarray:
    """Return a metric of every seed as float64[seeds]; NaN where it is undefined."""
    return np.asarray([entry[split][metric] for entry in run.metrics["seeds"]], np.float64)


def mean_and_deviation(values: np.ndarray) -> str:
    """Write fractions in per cent: `97.43 ± 0.18`, without ± for a single seed."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return formatting.with_deviation(float(np.mean(values)), deviation)


def results_table(arms: Sequence[PaperArm], runs: Runs, request: PaperRequest) -> Table:
    """Return one row per arm: our test figures, size and time."""
    rows, links = [], []
    for arm in arms:
        run = runs.finished.get(arm.name)
        if run is None:
            continue
        metrics = run.metrics
        rows.append(
            (
                arm.label,
                mean_and_deviation(over_seeds(run, "accuracy")),
                formatting.interval(metrics["test"]["intervals"]["accuracy"]),
                mean_and_deviation(over_seeds(run, "macro_f1")),
                formatting.percent(metrics["test"]["roc_auc"]),
                formatting.count(metrics["parameters"]["total"]),
                formatting.count(metrics["parameters"]["circuit"]),
                formatting.duration(metrics["time"]["train_s"]),
            )
        )
        links.append(link(run, request))
    return Table(
        (
            "Arm", "Test accuracy (%)", "95 % interval", "Macro F1 (%)", "ROC-AUC (%)",
            "Parameters", "of the circuit", "Training, a seed",
        ),
        tuple(rows),
        note=f"{NO_SPREAD} Interval: Wilson’s over the test images, for one trained model. "
        "ROC-AUC with more than two classes: mean over those in the test split.",
        links=tuple(links),
    )  # fmt: skip


def published_table(
    arms: Sequence[PaperArm], runs: Runs, published: Mapping[str, Published | None]
) -> Table:
    """Return every published figure of every arm beside ours.

    Ours and the difference are left out for synthetic images; the difference also, with the
    reason, where `Task.mismatch` says that the published figure is of other data.

    Args:
        published: arm -> its published figures; arms that are missing or None have none.
    """
    rows = []
    for arm in arms:
        run, figures = runs.finished.get(arm.name), published.get(arm.name)
        if run is None or figures is None:
            continue
        for split in figures.splits():
            reason = mismatch(run, figures, split)
            rows += [
                (
                    arm.label,
                    figures.task.data,
                    split,
                    LABELS[metric],
                    formatting.percent(theirs),
                    *_ours_and_difference(run, split, metric, theirs, reason),
                )
                for metric, theirs in figures.figures.get(split, {}).items()
            ]
    return Table(
        (
            "Arm", "Published on", "Split", "Metric", "Published (%)", "Ours (%)",
            "Difference (points), or why there is none",
        ),
        tuple(rows),
        note=f"{NO_SPREAD} A difference is shown only where images, split and metric are the same.",
    )  # fmt: skip


def mismatch(run: FinishedRun, published: Published, split: str) -> str | None:
    """Return why a run's figures of a split are of other data than the published ones, or None."""
    return published.task.mismatch(split, run.config, len(run.predictions.labels[split]))


def _ours_and_difference(
    run: FinishedRun, split: str, metric: str, theirs: float, reason: str | None
) -> tuple[str, str]:
    if run.metrics["dataset"]["synthetic"]:
        return formatting.UNDEFINED, "synthetic cells"
    values = over_seeds(run, metric, split)
    if reason is None:
        reason = formatting.points(float(values.mean()) - theirs)
    return mean_and_deviation(values), reason


def differences_table(arms: Sequence[PaperArm], runs: Runs, reference: str, metric: str) -> Table:
    """Return the paired differences of every arm against one, seed by seed, with t intervals."""
    names = [arm for arm in arms if arm.name in runs.finished and arm.name != reference]
    base = over_seeds(runs.finished[reference], metric)
    rows = []
    for arm in names:
        values = over_seeds(runs.finished[arm.name], metric) - base
        rows.append(
            (
                arm.label,
                formatting.points(float(values.mean())),
                formatting.points_interval(statistics.t_interval(values)),
                str(len(values)),
            )
        )
    label = next(arm.label for arm in arms if arm.name == reference)
    return Table(
        (
            f"{LABELS[metric]} against “{label}”",
            "Mean difference (points)",
            "95 % t interval",
            "Seeds",
        ),
        tuple(rows),
        note="Paired: arms of one seed share split, data order, augmentation and the initial "
        "values of all parts they have in common.",
    )


def paper_document(
    title: str,
    reference: str,
    sections: Iterable[Section],
    how_read: Section,
    arms: Sequence[PaperArm],
    runs: Runs,
) -> Document:
    """Return the report of a paper, which ends as that of every paper does.

    Args:
        title, reference: of the paper.
        sections: what this paper's report begins with.
        how_read: the last section: how silences of the paper were read.
        arms: all that were to run.
        runs: what became of them.
    """
    return Document(
        title=title,
        reference=reference,
        sections=(
            *sections,
            *_missing(runs),
            *_warnings(runs),
            _what_ran(arms, runs),
            how_read,
        ),
        synthetic=any(run.metrics["dataset"]["synthetic"] for run in runs.finished.values()),
        data=numbers(runs),
    )


def _missing(runs: Runs) -> tuple[Section, ...]:
    """Return a section that names the arms that could not be run, and why; none if all were."""
    if not runs.failed:
        return ()
    rows = tuple((label, reason) for label, reason in runs.failed.items())
    return (Section("Not run", (Table(("Arm", "Reason"), rows),)),)


def _warnings(runs: Runs) -> tuple[Section, ...]:
    """Return a section with what was found out about the datasets, each warning once."""
    found = {
        (run.metrics["dataset"]["name"], warning): None
        for run in runs.finished.values()
        for warning in run.metrics["dataset"].get("warnings", ())
    }
    if not found:
        return ()
    return (Section("About the data", (Table(("Dataset", "Warning"), tuple(found)),)),)


def _what_ran(arms: Sequence[PaperArm], runs: Runs) -> Section:
    """Return the section that says what every finished arm did, from its own configuration."""
    configs = {
        arm.label: runs.finished[arm.name].config for arm in arms if arm.name in runs.finished
    }
    return Section("What ran", (what_ran(configs),))


def numbers(runs: Runs) -> dict[str, Any]:
    """Return the figures of every arm, ready for JSON."""
    return {
        "arms": {
            name: {
                "dataset": run.metrics["dataset"]["name"],
                "synthetic": run.metrics["dataset"]["synthetic"],
                "parameters": run.metrics["parameters"],
                "time": run.metrics["time"],
                **{
                    split: {
                        metric: [entry[split][metric] for entry in run.metrics["seeds"]]
                        for metric in COMPARED_METRICS
                    }
                    for split in ("validation", "test")
                },
            }
            for name, run in runs.finished.items()
        },
        "failed": dict(runs.failed),
    }
