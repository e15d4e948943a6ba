"""What was found in a dataset: as lines, on a page, and as a contact sheet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hqnn_jax.files import locked, write_atomically, write_json
from hqnn_jax.inspection.findings import Findings, split_columns
from hqnn_jax.reporting import formatting
from hqnn_jax.reporting.document import (
    Document,
    Notice,
    Pairs,
    Picture,
    Section,
    Table,
    note,
    write_document,
)
from hqnn_jax.reporting.style import ReportFigure, image_file, short_label

_PER_CLASS = 8
_MOST_CLASSES = 24
_MOST_SIZES = 5
_GAP = 1 / 16


def write_inspection(folder: Path, findings: Findings) -> Path:
    """Write `inspection.html`, `inspection.json` and `contact_sheet.png`; return the page's path.

    Raises:
        RunFolderError: if the folder cannot be written.
    """
    with locked(folder):
        sheet = contact_sheet(findings)
        write_atomically(folder / "contact_sheet.png", image_file(sheet, "png"))
        write_json(folder / "inspection.json", findings.record())
        return write_document(folder / "inspection.html", inspection_document(findings))


def inspection_lines(findings: Findings) -> Iterator[str]:
    """Yield the lines that the command line prints."""
    pool, columns = findings.pool, split_columns(findings)
    side = f"{pool.images.shape[2]} x {pool.images.shape[1]}"
    channels = "grey" if pool.images.shape[3] == 1 else "in colour"
    yield (f"{pool.name}: {_summary(findings)}, stored at {side} pixels, {channels}")
    names = [name[:28] for name in pool.class_names]
    width = max(len("class"), *map(len, names))
    yield "  ".join([f"{'class':{width}}", *(f"{column:>10}" for column in columns)])
    for label, name in enumerate(names):
        cells = (f"{findings.counts[column][label]:>10,}" for column in columns)
        yield "  ".join([f"{name:{width}}", *cells])
    yield from (f"{name.lower()}: {value}" for name, value in _files(findings).items())
    yield from (f"note: {text}" for text in findings.notes())


def inspection_document(findings: Findings) -> Document:
    """Return the page."""
    pool, columns = findings.pool, split_columns(findings)
    rows = tuple(
        (name, *(formatting.count(findings.counts[column][label]) for column in columns))
        for label, name in enumerate(pool.class_names)
    )
    problem = findings.problem
    sections = [
        Section("Images of each class", (Table(("Class", *columns), rows),)),
        Section("Files", (Pairs({**_files(findings), **_provenance(findings)}),)),
        Section("What to look at", tuple(findings.notes()) or ("Nothing was found.",)),
    ]
    if findings.copies:
        copies = tuple((files[0], ", ".join(files[1:])) for files in findings.copies)
        heads = ("Image", "The same, byte for byte")
        table = Table(heads, copies, words=heads[1:])
        about = note(
            "Compared as they are stored, after resizing; ten at most, those of different classes "
            "first."
        )
        sections.append(Section("Images that are there more than once", (table, about)))
    caption = f"The first {_PER_CLASS} images of each class, as they are stored."
    sheet = Picture(caption, contact_sheet(findings), "Contact sheet", "png")
    sections.append(Section("Contact sheet", (sheet,)))
    return Document(
        title=f"{pool.name}: before training",
        sections=sections,
        synthetic=pool.synthetic,
        reference=_summary(findings),
        data=findings.record(),
        notices=(Notice("It cannot be trained on.", problem),) if problem else (),
        wide=False,
    )


def _summary(findings: Findings) -> str:
    pool = findings.pool
    kind = "labels" if pool.labels.ndim == 2 else "classes"
    return f"{len(pool):,} images, {len(pool.class_names)} {kind}"


def _files(findings: Findings) -> dict[str, str]:
    """Return name -> what is known of the files as they were found."""
    found, headers = {}, findings.pool.headers
    if headers is not None:
        modes, sizes = headers.modes(), headers.sizes()
        found["Modes"] = ", ".join(f"{mode} ({number:,})" for mode, number in modes.items())
        shown = [f"{w} x {h} ({n:,})" for (w, h), n in list(sizes.items())[:_MOST_SIZES]]
        more = f", and {len(sizes) - _MOST_SIZES:,} more" if len(sizes) > _MOST_SIZES else ""
        found["Sizes"] = ", ".join(shown) + more
    if findings.pool.groups is not None:
        found["Groups"] = f"{len(np.unique(findings.pool.groups)):,}"
    return found


def _provenance(findings: Findings) -> dict[str, str]:
    pool = findings.pool
    said = {"Licence": pool.licence, "Citation": pool.citation, "Url": pool.url}
    return {name: value for name, value in {**said, "About": pool.description}.items() if value}


def contact_sheet(findings: Findings) -> ReportFigure:
    """Draw some images of each class, a class in each row."""
    pool = findings.pool
    height, width, channels = pool.images.shape[1:]
    shown = min(len(pool.class_names), _MOST_CLASSES)
    gap = max(1, round(_GAP * width))
    rows, columns = height + gap, width + gap
    sheet = np.full((shown * rows - gap, _PER_CLASS * columns - gap, channels), 255, np.uint8)
    for label in range(shown):
        chosen = _first_of(findings, label)
        for place, image in enumerate(pool.images[chosen] if len(chosen) else ()):
            top, left = label * rows, place * columns
            sheet[top : top + height, left : left + width] = image
    figure = ReportFigure(7.5, 0.6 + 0.8 * shown)
    axes = figure.subplots()
    axes.imshow(sheet.squeeze(-1) if channels == 1 else sheet, cmap="gray", vmin=0, vmax=255)
    names = [short_label(name) for name in pool.class_names[:shown]]
    axes.set_yticks(np.arange(shown) * rows + height / 2, names, fontsize=8)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def _first_of(findings: Findings, label: int) -> np.ndarray:
    labels = findings.pool.labels
    members = labels[:, label] == 1 if labels.ndim == 2 else labels == label
    return np.flatnonzero(members)[:_PER_CLASS]
