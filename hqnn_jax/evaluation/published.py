"""Figures a paper has published, as data to put beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hqnn_jax.evaluation.metrics import SCALAR_METRICS
from hqnn_jax.evaluation.statistics import CLASS_METRICS

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Published:
    """The published figures of one experiment.

    **Attributes:**

    - `title`, `reference`: of the paper.
    - `figures`: split -> metric -> value, as fractions; metrics as in `SCALAR_METRICS`.
    - `per_class`: label -> metric -> value, as fractions; metrics precision, recall, f1. Keyed by
      the integer label, because papers and datasets spell class names differently.
    - `per_class_split`: the split the per-class figures belong to.
    - `train_minutes`: training time on the paper's machine, in minutes.
    - `other_accuracies`: name of another system -> test accuracy the paper or the dataset's
      authors quote for it, as a fraction.
    - `notes`: how silences and contradictions of the paper were read.

    **Raises:** `ValueError` for an unknown split or metric, or a value outside [0, 1].
    """

    title: str
    reference: str
    figures: Mapping[str, Mapping[str, float]]
    per_class: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    per_class_split: str | None = None
    train_minutes: float | None = None
    other_accuracies: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check names and ranges, since these tables are typed by hand."""
        for split, values in self.figures.items():
            _check_name(split, SPLITS)
            _check_values(values, SCALAR_METRICS)
        for values in self.per_class.values():
            _check_values(values, CLASS_METRICS)
        if self.per_class:
            _check_name(self.per_class_split, SPLITS)
        _check_values(self.other_accuracies, tuple(self.other_accuracies))


def _check_name(name: str | None, names: tuple[str, ...]) -> None:
    if name not in names:
        raise ValueError(f"{name!r}: expected one of {', '.join(names)}")


def _check_values(values: Mapping[str, float], names: tuple[str, ...]) -> None:
    for name, value in values.items():
        _check_name(name, names)
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: expected a fraction from 0 to 1, got {value}")
