"""What a paper published, beside what a run found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hqnn_jax.data.dataset import SPLIT_NAMES
from hqnn_jax.errors import RunFolderError
from hqnn_jax.evaluation.metrics import LABELS
from hqnn_jax.evaluation.published import Published
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.document import (
    Block,
    Heading,
    Section,
    Styled,
    Table,
    TableCell,
    Text,
    note,
)
from hqnn_jax.runs.finished import FinishedRun

_COLUMNS = (
    "Metric", "Published (%)", "Ours (%)", "Ours, 95 % interval", "Difference (points)",
    "Published inside our interval?",
)  # fmt: skip


def published_section(run: FinishedRun, published: Published) -> Section:
    """Return the published figures beside those of a run.

    Raises:
        RunFolderError: if the published figures have classes that the run has not.
    """
    mismatches = {
        split: published.task.mismatch(split, run.config, len(run.predictions.labels[split]))
        for split in SPLIT_NAMES
    }
    return Section("Published figures beside ours", tuple(_blocks(run, published, mismatches)))


def _blocks(
    run: FinishedRun, published: Published, mismatches: Mapping[str, str | None]
) -> Iterator[Block]:
    yield Text(
        (
            f"{published.title}. ",
            Styled(f"{published.reference}.", "soft"),
            f" Published on {published.task.data}.",
        )
    )
    yield _table("Split", _split_rows(run, published, mismatches))
    for split in published.splits():
        if mismatches[split]:
            yield note(f"No difference on the {split} split: {mismatches[split]}.")
    if published.per_class_split is not None:
        classes = tuple(_class_rows(run, published, mismatches[published.per_class_split]))
        if classes:
            yield Heading(f"By class, {published.per_class_split} split")
            yield _table("Class", classes)
    if published.train_minutes is not None:
        theirs = formatting.duration(60 * published.train_minutes)
        ours = formatting.duration(run.metrics["time"]["train_s"])
        yield f"Training time: published {theirs}, ours {ours} (different machines)."
    others = _others(published, None if mismatches["test"] else run.metrics["test"]["accuracy"])
    if others:
        yield Heading("Other systems")
        columns = ("System", "Test accuracy (%)", "Ours minus theirs (points)")
        yield Table(columns, others)
    yield from map(note, published.notes)


def _table(first: str, rows: tuple[tuple[str | TableCell, ...], ...]) -> Table:
    return Table((first, *_COLUMNS), rows, words=("Metric",))


def _split_rows(
    run: FinishedRun, published: Published, mismatches: Mapping[str, str | None]
) -> tuple[tuple[str | TableCell, ...], ...]:
    return tuple(
        _row(split, metric, run.metrics[split], value, mismatches[split])
        for split in reversed(SPLIT_NAMES)
        for metric, value in published.figures.get(split, {}).items()
    )


def _class_rows(
    run: FinishedRun, published: Published, mismatch: str | None
) -> Iterator[tuple[str | TableCell, ...]]:
    ours = run.metrics[str(published.per_class_split)]["per_class"]
    outside = [label for label in published.per_class if label >= len(ours)]
    if outside:
        raise RunFolderError(
            f"{run.files.path}: the published figures have a class {outside[0]}, the run has only "
            f"{len(ours)} classes; remove evaluation.paper or use the paper's task"
        )
    for label, values in sorted(published.per_class.items()):
        for metric, value in values.items():
            yield _row(ours[label]["class"], metric, ours[label], value, mismatch)


def _row(
    name: str, metric: str, figures: Mapping[str, Any], published: float, mismatch: str | None
) -> tuple[str | TableCell, ...]:
    """Write a published figure beside ours; without a difference where it is of other data."""
    ours, bounds = figures[metric], figures["intervals"][metric]
    known = mismatch is None
    return (
        name,
        LABELS[metric],
        formatting.percent(published),
        TableCell(formatting.percent(ours), strong=True),
        formatting.interval(bounds),
        formatting.points(ours - published if known and ours is not None else None),
        formatting.inline(bounds[0] <= published <= bounds[1] if known and bounds else None),
    )


def _others(published: Published, ours: float | None) -> tuple[tuple[str, ...], ...]:
    """Write the accuracies of other systems; ours minus theirs only on the same data."""
    compared = {
        name: None if ours is None else ours - theirs
        for name, theirs in published.other_accuracies.items()
    }
    systems = {**published.other_accuracies, **published.quoted_accuracies}
    return tuple(
        (name, formatting.percent(theirs), formatting.points(compared.get(name)))
        for name, theirs in systems.items()
    )
