"""The tables of an ablation: for a page, with every digit for CSV, and for LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hqnn_jax.ablation.results import AblationResults, ArmResult
from hqnn_jax.evaluation.metrics import METRICS
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.document import Table
from hqnn_jax.reporting.formatting import UNDEFINED
from hqnn_jax.text import one_line

EACH_ITS_OWN = "its reference"
"""What arms are compared with where no few words name their references."""
Record = Mapping[str, str | int | float | None]
"""Column -> value; None where there is none."""


def metric_label(metric: str) -> str:
    """Return how a metric is called within a sentence: `accuracy`, `macro F1`, `ROC-AUC`."""
    name = METRICS[metric].label
    return name if name[:2].isupper() else name[0].lower() + name[1:]


def level_label(results: AblationResults) -> str:
    """Return the confidence level as text: `95 %`."""
    return f"{100 * results.level:g} %"


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


def defined(value: float | int | None) -> float | None:
    """Return a number, None for NaN and infinity."""
    return None if value is None or not math.isfinite(value) else float(value)


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


def to_csv(columns: Sequence[str], records: Sequence[Record]) -> str:
    """Write records as CSV with a header; None is an empty cell, floats are exact.

    Text that a spreadsheet would take for a formula is preceded by an apostrophe.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(_csv_cell, columns))
    writer.writerows([_csv_cell(record.get(column)) for column in columns] for record in records)
    return file.getvalue()


_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def _csv_cell(value: str | int | float | None) -> str | int | float | None:
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def arms_table(results: AblationResults) -> Table:
    """Return one row per arm: the compared metric with its interval, size and time."""
    level, metric = level_label(results), metric_label(results.metric)
    rows = []
    for arm in results.arms:
        summary = arm.summary
        rows.append(
            (
                _arm_label(results, arm),
                _percent_and_deviation(summary.mean, summary.deviation),
                _interval(summary.t_interval),
                _percent_and_deviation(*_mean_and_deviation(arm.validation[results.metric])),
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
                *(_percent_and_deviation(*_mean_and_deviation(arm.test[m])) for m in metrics),
                UNDEFINED if epoch is None else f"{epoch:.1f}",
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
        alone = f"{comparison.only_arm_right:,} : {comparison.only_reference_right:,}"
        rows.append(
            (
                *_first_cells(results, arm),
                formatting.points(defined(comparison.mean)),
                signed_interval(comparison.t_interval),
                _detectable(comparison.detectable, 2),
                p_value(comparison.t_test),
                p_value(comparison.wilcoxon),
                p_value(comparison.permutation),
                p_value(comparison.adjusted),
                _effect_size(comparison.effect_size),
                f"{p_value(comparison.mcnemar)} ({alone})",
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
        summary, digits = arm.summary, _digits(arm.summary.t_interval)
        rows.append(
            (
                arm.label,
                _percent_and_deviation(summary.mean, summary.deviation, digits),
                _interval(summary.t_interval, digits),
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
        digits = _digits(comparison.t_interval)
        rows.append(
            (
                *_first_cells(results, arm),
                _points(comparison.mean, digits),
                signed_interval(comparison.t_interval, digits),
                p_value(comparison.permutation),
                p_value(comparison.adjusted),
                _effect_size(comparison.effect_size),
                p_value(comparison.mcnemar),
                _detectable(comparison.detectable, digits),
            )
        )
    columns = (
        *_first_columns(results), "Difference (points)", f"{level_label(results)} interval", "p",
        "p (Holm)", "Cohen’s d", "p (McNemar)", "Detectable",
    )  # fmt: skip
    compared = f"test {metric_label(results.metric)} minus that of {reference_label(results)}"
    return f"% {one_line(compared)}\n" + to_latex(columns, rows)


def to_latex(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Write a tabular that needs `\usepackage{booktabs}`; text is escaped."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(map(escape_latex, cells)) + r" \\"

    return "\n".join(
        (
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule", line(columns), r"\midrule", *map(line, rows), r"\bottomrule",
            r"\end{tabular}", "",
        )
    )  # fmt: skip


_LATEX: Mapping[int, str] = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    # At the start of a row a bracket would be read as the length of the row break before it.
    "[": "{[}", "]": "{]}",
    "−": "$-$", "±": r"$\pm$", "×": r"$\times$", "≤": r"$\leq$", "≥": r"$\geq$", "π": r"$\pi$",
    "∞": r"$\infty$", "–": "--", "—": "---", "…": r"\ldots{}", "’": "'", "‘": "`", "“": "``",
    "”": "''",
})  # fmt: skip


def escape_latex(text: str) -> str:
    """Write text so that LaTeX prints it as it is, on one line."""
    return one_line(text).translate(_LATEX)


def p_value(value: float | int) -> str:
    """Write a p-value with three decimals: `0.031`, `<0.001`, and `—` for NaN."""
    if defined(value) is None:
        return UNDEFINED
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def signed_interval(bounds: tuple[float, float] | None, digits: int = 2) -> str:
    """Write an interval of differences in points: `−0.10 to +0.61`."""
    if bounds is None or None in map(defined, bounds):
        return UNDEFINED
    return " to ".join(_points(bound, digits) for bound in bounds)


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


def _digits(bounds: tuple[float, float] | None) -> int:
    """Return the decimals (of per cent) that show two digits of half an interval's width."""
    half = math.nan if bounds is None else 50 * (bounds[1] - bounds[0])
    if not math.isfinite(half) or half <= 0:
        return 2
    return min(max(1 - math.floor(math.log10(half)), 0), 4)


def _written(value: float | None, write: Callable[[float], str]) -> str:
    number = defined(value)
    return UNDEFINED if number is None else write(number)


def _fixed(value: float | None, digits: int) -> str:
    return _written(value, lambda number: f"{100 * number:.{digits}f}")


def _detectable(value: float, digits: int) -> str:
    return "∞" if math.isinf(value) else _fixed(value, digits)


def _points(value: float | None, digits: int) -> str:
    def write(number: float) -> str:
        text = f"{100 * number:+.{digits}f}"
        return text[1:] if not float(text) else text.replace("-", "−")

    return _written(value, write)


def _effect_size(value: float | None) -> str:
    return _written(value, lambda number: f"{number:+.2f}".replace("-", "−"))


def _percent_and_deviation(mean: float | None, deviation: float | None, digits: int = 2) -> str:
    text = _fixed(mean, digits)
    return text if defined(deviation) is None else f"{text} ± {_fixed(deviation, digits)}"


def _interval(bounds: tuple[float, float] | None, digits: int = 2) -> str:
    if bounds is None or None in map(defined, bounds):
        return UNDEFINED
    return "–".join(_fixed(bound, digits) for bound in bounds)
