"""`predict`: the classes of new images, as CSV."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hqnn_jax.cli.options import Coverage, Crop, Risk, TrainedName, require_shares
from hqnn_jax.errors import ConfigurationError, DataError, RunFolderError
from hqnn_jax.progress import Progress
from hqnn_jax.text import plural
from hqnn_jax.trained.layout import COVERAGE, RISK

if TYPE_CHECKING:
    import numpy as np

    from hqnn_jax.trained.table import PredictionTable

NAME = "predict"
HELP = """Predict the classes of images with a trained model, as CSV.

Examples:

    python -m experiment predict runs/short cells/ more.png --out predictions.csv

    python -m experiment predict quickstart 'scans/**/*.png' --risk 0.02 --explain heatmaps

Each row has the predicted class and its probability, whether the prediction is rejected at the
chosen risk, the conformal set at the chosen coverage, and the calibrated probability of each class.
A file that cannot be read is told and left out; the exit code then is 1. Nothing but the model is
needed, no dataset. An image has to be framed as those of the training set are: MedMNIST's blood
cells are the middle of PBC's images, which --crop 0.55 takes. --explain takes a second or more an
image.
"""


def command(
    model: TrainedName,
    images: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Image files, folders of them, or patterns in quotes."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="CSV file to write; default: standard output.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite what --out and --explain name.")
    ] = False,
    risk: Risk = RISK,
    coverage: Coverage = COVERAGE,
    crop: Crop = None,
    explain: Annotated[
        Path | None, typer.Option(help="Folder for a heat map of each image, as PNG.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=65536, help="Images at once.")] = 256,
) -> None:
    """Predict, and write or print the table."""
    require_shares(risk=risk, coverage=coverage, crop=crop)
    _require_new(out, explain, force=force)
    from hqnn_jax.trained.pictures import find_images

    paths = find_images(images)
    if not paths:
        raise ConfigurationError(
            f"{', '.join(images):.200}: no image found; expected image files, folders with "
            "JPEG, PNG, TIFF or BMP files, or a pattern that matches some"
        )
    from hqnn_jax.trained.sources import load
    from hqnn_jax.trained.table import PredictionTable

    progress = Progress()
    trained = load(model)
    if trained.validation.confidence_threshold(risk) is None:
        progress.line(
            f"note: the {len(trained.validation.confidence)} validation images of the model do not "
            f"support a risk of {risk:g}: every prediction is rejected; allow a larger --risk"
        )
    table = PredictionTable(trained, risk=risk, coverage=coverage, explanations=explain)
    read = functools.partial(trained.read, crop=crop)
    unreadable = _fill(table, read, paths, batch_size, progress)
    _write(table, out)
    if unreadable:
        what = "image" if len(paths) == 1 else "images"
        raise DataError(
            f"{unreadable} of {len(paths)} {what} could not be read, as told above; "
            f"{plural(len(table), 'image')} predicted"
        )


def _require_new(out: Path | None, explain: Path | None, *, force: bool) -> None:
    """Refuse to overwrite what somebody may need, before anything is computed."""
    if force:
        return
    if out is not None and out.exists():
        raise RunFolderError(f"{out}: exists; choose another --out, or overwrite it with --force")
    if explain is not None and explain.is_dir() and any(explain.iterdir()):
        raise RunFolderError(
            f"{explain}: the folder is not empty; choose another --explain, or overwrite heat maps "
            "of the same names with --force"
        )


def _fill(
    table: PredictionTable,
    read: Callable[[Path], np.ndarray],
    paths: Sequence[Path],
    batch_size: int,
    progress: Progress,
) -> int:
    """Predict all images that can be read; returns how many cannot."""
    from hqnn_jax.trained.pictures import read_batches

    unreadable = 0
    batch_size = min(batch_size, len(paths))
    with progress.task("predicting", len(paths)) as advance:
        for batch in read_batches(paths, read, batch_size):
            for error in batch.unreadable:
                progress.line(f"not predicted: {error}")
            unreadable += len(batch.unreadable)
            table.add(batch.paths, batch.images, batch_size=batch_size)
            advance(len(batch.paths) + len(batch.unreadable))
    return unreadable


def _write(table: PredictionTable, out: Path | None) -> None:
    from hqnn_jax.files import write_atomically

    if not len(table):
        return
    if out is None:
        print(table.to_csv(), end="")
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(
            f"{out.parent}: cannot make the folder: {error.strerror}; choose another --out"
        ) from error
    write_atomically(out, table.to_csv().encode())
