"""Figures a paper has published, as data to put beside ours.

A difference between a published figure and ours is only shown where both are of the same images, of
the same split and of the same metric: `PublishedTask.mismatch` is the one place that decides it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from hqnn_jax.config import Config
from hqnn_jax.data.dataset import SPLIT_NAMES
from hqnn_jax.evaluation.metrics import CLASS_METRICS, METRICS


@dataclass(frozen=True)
class PublishedTask:
    """What published figures were measured on.

    Attributes:
        data: as tables call it, dataset and classes.
        dataset: its name in configurations; None where no configuration has the paper's labels.
        resolution: of the stored images, in pixels; None where it is not known to matter.
        positive_labels: of a binary task as in `DatasetConfig`; None for the dataset's classes.
        images: split -> number of its images, of every split that is the official one. A split that
            is not here was drawn by the authors, or is not said to be the official one.
    """

    data: str
    dataset: str | None = None
    resolution: int | None = None
    positive_labels: tuple[int, ...] | None = None
    images: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the names of the splits."""
        for split in self.images:
            _check_name(split, SPLIT_NAMES)

    def mismatch(self, split: str, config: Config, num_images: int) -> str | None:
        """Return why our figures of a split are of other data, None where they are of the same.

        Args:
            split: train, validation or test.
            config: of our run.
            num_images: how many images our figures of that split are of.
        """
        dataset, training = config.dataset, config.training
        labels, theirs = (
            None if labels is None else set(labels)
            for labels in (dataset.positive_labels, self.positive_labels)
        )
        expected = self.images.get(split, 0)
        reasons = {
            "other images": dataset.name != self.dataset
            or self.resolution not in (None, dataset.resolution),
            "other classes": dataset.label_map is not None or labels != theirs,
            "ours is trained on other labels": training.images_per_class is not None
            or training.label_noise > 0,
            "the images of the published split are not known": split not in self.images,
            "ours is a split of its own": dataset.split_method != "official",
            f"{num_images:,} images here, {expected:,} there": num_images != expected,
        }
        return next((reason for reason, holds in reasons.items() if holds), None)


@dataclass(frozen=True)
class Published:
    """The published figures of one experiment.

    Attributes:
        title, reference: of the paper.
        task: what the figures were measured on.
        figures: split -> metric -> value, as fractions; metrics as in `METRICS`.
        per_class: label -> metric -> value, as fractions; metrics precision, recall, f1. Keyed by
            the integer label, because papers and datasets spell class names differently.
        supports: label -> number of images the per-class figures were measured on.
        per_class_split: the split the per-class figures belong to.
        train_minutes: training time on the paper's machine, in minutes.
        other_accuracies: name of another system -> its test accuracy on this task, a fraction.
        quoted_accuracies: the same of systems on other data, or on data that is not named.
        notes: how silences and contradictions of the paper were read.

    Raises:
        ValueError: for an unknown split or metric, or a value outside [0, 1].
    """

    title: str
    reference: str
    task: PublishedTask
    figures: Mapping[str, Mapping[str, float]]
    per_class: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    supports: Mapping[int, int] = field(default_factory=dict)
    per_class_split: str | None = None
    train_minutes: float | None = None
    other_accuracies: Mapping[str, float] = field(default_factory=dict)
    quoted_accuracies: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check names and ranges, since these tables are typed by hand."""
        for split, values in self.figures.items():
            _check_name(split, SPLIT_NAMES)
            _check_values(values, METRICS)
        for values in self.per_class.values():
            _check_values(values, CLASS_METRICS)
        if self.per_class:
            _check_name(self.per_class_split, SPLIT_NAMES)
        for accuracies in (self.other_accuracies, self.quoted_accuracies):
            _check_values(accuracies, tuple(accuracies))

    def splits(self) -> tuple[str, ...]:
        """Return the splits there are figures of, the test split first."""
        named = {*self.figures, self.per_class_split}
        return tuple(split for split in reversed(SPLIT_NAMES) if split in named)


def _check_name(name: str | None, names: Collection[str]) -> None:
    if name not in names:
        raise ValueError(f"{name!r}: expected one of {', '.join(names)}")


def _check_values(values: Mapping[str, float], names: Collection[str]) -> None:
    for name, value in values.items():
        _check_name(name, names)
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: expected a fraction from 0 to 1, got {value}")
