"""The tables of an ablation: for a page, with every digit as records, and for LaTeX."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hqnn_jax.ablation.results import AblationResults, ArmResult
from hqnn_jax.evaluation.metrics import METRICS
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.document import Table
from hqnn_jax.reporting.exports import Record, to_latex
from hqnn_jax.reporting.formatting import defined
from hqnn_jax.reporting.verdict import inside_a_sentence
from hqnn_jax.text import one_line

EACH_ITS_OWN = "its reference"
"""What arms are compared with where no few words name their references."""


def metric_label(metric: str) -> str:
    """Return how a metric is called within a sentence: `accuracy`, `macro F1`, `ROC-AUC`."""
    return inside_a_sentence(METRICS[metric].label)


def level_label(results: AblationResults) -> str:
    """Return the confidence level as text: `95 %`."""
    return formatting.level(results.level)


def reference_label(results: AblationResults) -> str:
    """Return what the compared arms are compared with, whether one arm or one for each.

    Where every reference differs from its arm in the same value of the same axes, that value
    names it.
    """
    references = set(results.reference.values())
    if len(references) == 1:
        return f"“{results.arm(references.pop()).label}”"
    differing = set()
    for name, reference in results.reference.items():
        theirs, ours = results.arm(reference).settings, results.arm(name).settings
        differing.add(tuple((k, v) for k, v in theirs.items() if ours.get(k) != v))
    # Arms that differ from their references in different axes share the longest description.
    common = max(differing, key=len, default=())
    if common and all(set(pairs) <= set(common) for pairs in differing):
        values = " and ".join(f"{axis} {value}" for axis, value in common)
        return f"the arm with {values} and all else equal"
    return EACH_ITS_OWN


def compared_arms(results: AblationResults) -> list[ArmResult]:
    """Return the arms that have a comparison, in order."""
    return [arm for arm in results.arms if arm.name in results.comparisons]


def arm_records(results: AblationResults) -> list[Record]:
    """Return one record per arm, fractions and seconds in full precision.

    Columns: `arm`, `label`, `axis_NAME` for each axis, `reference`, `seeds`, the compared `metric`
    with its summary, mean and standard deviation of every metric on both splits, parameters by
    group, the mean best epoch and times. NaN and what is missing are None.
    """
    records: list[Record] = []
    for arm in results.arms:
        record: dict[str, Any] = {
            "arm": arm.name,
            "label": arm.label,
            **{f"axis_{axis}": arm.settings.get(axis) for axis in results.axes},
            "reference": results.reference.get(arm.name),
            "seeds": len(arm.seeds),
            "metric": results.metric,
            "mean": defined(arm.summary.mean),
            "deviation": defined(arm.summary.deviation),
            **_bounds("t", arm.summary.t_interval),
        }
        for split, metrics in (("test", arm.test), ("validation", arm.validation)):
            for metric, values in metrics.items():
                mean, deviation = _mean_and_deviation(values)
                record |= {
                    f"{split}_{metric}": mean,
                    f"{split}_{metric}_deviation": deviation,
                }
        record |= {f"parameters_{group}": count for group, count in arm.parameters.items()}
        record["best_epoch"] = _mean_and_deviation(arm.best_epochs)[0]
        record["train_seconds"] = defined(arm.train_seconds)
        record["compile_seconds"] = defined(arm.compile_seconds)
        records.append(record)
    return records


COMPARISON_COLUMNS = (
    "arm", "label", "reference", "reference_label", "seeds", "metric", "mean", "deviation",
    "t_low", "t_high", "t_test", "wilcoxon", "permutation", "adjusted", "effect_size", "mcnemar",
    "only_arm_right", "only_reference_right", "detectable",
)  # fmt: skip
"""Columns of `comparison_records`; all but the names are those of `Comparison`."""


def comparison_records(results: AblationResults) -> list[Record]:
    """Return one record per comparison with `COMPARISON_COLUMNS`, fractions in full precision."""
    records: list[Record] = []
    for arm in compared_arms(results):
        comparison = results.comparisons[arm.name]
        reference = results.arm(results.reference[arm.name])
        known: dict[str, Any] = {
            "arm": arm.name,
            "label": arm.label,
            "reference": reference.name,
            "reference_label": reference.label,
            "seeds": len(comparison.differences),
            "metric": results.metric,
            **_bounds("t", comparison.t_interval),
        }
        for column in COMPARISON_COLUMNS:
            if column not in known:
                value = getattr(comparison, column)
                known[column] = value if isinstance(value, int) else defined(value)
        records.append({column: known[column] for column in COMPARISON_COLUMNS})
    return records


def arms_table(results: AblationResults) -> Table:
    """Return one row per arm: the compared metric with its interval, size and time."""
    level, metric = level_label(results), metric_label(results.metric)
    rows = []
    for arm in results.arms:
        summary = arm.summary
        rows.append(
            (
                _arm_label(results, arm),
                formatting.with_deviation(summary.mean, summary.deviation),
                formatting.interval(summary.t_interval),
                formatting.with_deviation(*_mean_and_deviation(arm.validation[results.metric])),
                formatting.count(arm.parameters["total"]),
                formatting.count(arm.parameters.get("circuit", 0)),
                formatting.duration(defined(arm.train_seconds)),
                formatting.duration(defined(arm.compile_seconds)),
            )
        )
    return Table(
        (
            "Arm", f"Test {metric} (%)", f"{level} t interval",
            f"Validation {metric} (%)", "Trained parameters", "of the circuit",
            "Training, a seed", "Compiling, once",
        ),
        tuple(rows),
        note="±: standard deviation over seeds. Intervals are of the mean over seeds. Seeds are "
        "trained together; the time of one is the whole divided by their number.",
    )  # fmt: skip


def metrics_table(results: AblationResults) -> Table:
    """Return one row per arm with every metric on the test split, and the best epoch."""
    metrics = list(dict.fromkeys(metric for arm in results.arms for metric in arm.test))
    rows = []
    for arm in results.arms:
        epoch, _ = _mean_and_deviation(arm.best_epochs)
        rows.append(
            (
                _arm_label(results, arm),
                *(formatting.with_deviation(*_mean_and_deviation(arm.test[m])) for m in metrics),
                formatting.fixed(epoch, 1),
            )
        )
    return Table(
        ("Test split", *(f"{METRICS[metric].label} (%)" for metric in metrics), "Evaluated epoch"),
        tuple(rows),
        note="±: standard deviation over seeds. Evaluated epoch: mean over seeds.",
    )


def comparisons_table(results: AblationResults) -> Table:
    """Return one row per comparison: difference, interval, tests and what could be detected."""
    level, first = level_label(results), _first_columns(results)
    rows = []
    for arm in compared_arms(results):
        comparison = results.comparisons[arm.name]
        counts = (comparison.only_arm_right, comparison.only_reference_right)
        alone = " : ".join(map(formatting.count, counts))
        rows.append(
            (
                *_first_cells(results, arm),
                formatting.points(comparison.mean),
                formatting.points_interval(comparison.t_interval),
                _detectable(comparison.detectable),
                formatting.p_value(comparison.t_test),
                formatting.p_value(comparison.wilcoxon),
                formatting.p_value(comparison.permutation),
                formatting.p_value(comparison.adjusted),
                formatting.effect_size(comparison.effect_size),
                f"{formatting.p_value(comparison.mcnemar)} ({alone})",
            )
        )
    return Table(
        (
            *first, "Difference (points)", f"{level} t interval", "Detectable",
            "t-test p", "Wilcoxon p", "Permutation p", "Holm p", "Cohen’s d", "McNemar p",
        ),
        tuple(rows),
        note=f"Test {metric_label(results.metric)} of the arm minus that of "
        f"{reference_label(results)}, seed by seed. Detectable: the smallest true difference, in "
        "points, that such a study finds with 80 % power by its own rule, simulated; ∞ where the "
        "seeds are too few for any. Holm p: that of the permutation test, "
        f"corrected for {len(rows)} comparisons. McNemar: in brackets the predictions that only "
        "the arm : only its reference got right.",
    )  # fmt: skip


def arms_latex(results: AblationResults) -> str:
    """Return a booktabs tabular of the arms, rounded by the width of the t interval."""
    metric = metric_label(results.metric)
    rows = []
    for arm in results.arms:
        summary, decimals = arm.summary, formatting.decimals_for(arm.summary.t_interval)
        rows.append(
            (
                arm.label,
                formatting.with_deviation(summary.mean, summary.deviation, decimals),
                formatting.interval(summary.t_interval, decimals),
                formatting.count(arm.parameters["total"]),
                formatting.count(arm.parameters.get("circuit", 0)),
                formatting.duration(defined(arm.train_seconds)),
            )
        )
    columns = (
        "Arm", f"Test {metric} (%)", f"{level_label(results)} interval", "Parameters",
        "of the circuit", "Training a seed",
    )  # fmt: skip
    return to_latex(columns, rows)


def comparisons_latex(results: AblationResults) -> str:
    """Return a booktabs tabular of the comparisons, rounded by the width of the t interval.

    A comment in the first line says what is compared with what.
    """
    rows = []
    for arm in compared_arms(results):
        comparison = results.comparisons[arm.name]
        decimals = formatting.decimals_for(comparison.t_interval)
        rows.append(
            (
                *_first_cells(results, arm),
                formatting.points(comparison.mean, decimals),
                formatting.points_interval(comparison.t_interval, decimals),
                formatting.p_value(comparison.permutation),
                formatting.p_value(comparison.adjusted),
                formatting.effect_size(comparison.effect_size),
                formatting.p_value(comparison.mcnemar),
                _detectable(comparison.detectable, decimals),
            )
        )
    columns = (
        *_first_columns(results), "Difference (points)", f"{level_label(results)} interval", "p",
        "p (Holm)", "Cohen’s d", "p (McNemar)", "Detectable",
    )  # fmt: skip
    compared = f"test {metric_label(results.metric)} minus that of {reference_label(results)}"
    return f"% {one_line(compared)}\n" + to_latex(columns, rows)


def _arm_label(results: AblationResults, arm: ArmResult) -> str:
    references = set(results.reference.values())
    only = len(references) == 1 and arm.name in references
    return f"{arm.label} (reference)" if only else arm.label


def _first_columns(results: AblationResults) -> tuple[str, ...]:
    """Return what names a comparison: the arm, and its reference where a note cannot."""
    return ("Arm", "Reference") if reference_label(results) == EACH_ITS_OWN else ("Arm",)


def _first_cells(results: AblationResults, arm: ArmResult) -> tuple[str, ...]:
    reference = results.arm(results.reference[arm.name]).label
    return (arm.label, reference)[: len(_first_columns(results))]


def _bounds(name: str, bounds: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = (None, None) if bounds is None else map(defined, bounds)
    return {f"{name}_low": low, f"{name}_high": high}


def _mean_and_deviation(values: Sequence[float | int]) -> tuple[float | None, float | None]:
    """Return mean and standard deviation (ddof=1); None where undefined."""
    array = np.asarray(values, np.float64)
    mean = float(array.mean()) if len(array) else math.nan
    return defined(mean), defined(float(array.std(ddof=1))) if len(array) > 1 else None


def _detectable(value: float, decimals: int = 2) -> str:
    return "∞" if math.isinf(value) else formatting.percent(value, decimals)
