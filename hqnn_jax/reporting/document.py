"""A report made of sections: text, tables and figures on one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hqnn_jax.files import write_atomically
from hqnn_jax.reporting import plots
from hqnn_jax.reporting.pages import page_environment


@dataclass(frozen=True)
class Table:
    """A table of text; the first column names the row. `links` leads from row names to pages."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    links: tuple[str | None, ...] = ()

    def __post_init__(self) -> None:
        """Check that every row has one cell per column, and a link where there are links."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"row {row}: expected {len(self.columns)} cells")
        if self.links and len(self.links) != len(self.rows):
            raise ValueError(f"links: expected {len(self.rows)}, one per row")


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, tables, figures and a listing, in this order.

    `lead` is a first paragraph in larger type, for what a reader must not miss; `figures` are
    (caption, figure) pairs; `listing` is text shown as it is, a file for example.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[tuple[str, Figure], ...] = ()
    listing: str = ""
    lead: str = ""


@dataclass(frozen=True)
class Document:
    """The report of several runs or of a whole paper.

    Attributes:
        title, reference: of what is reported.
        sections: in the order they are read.
        synthetic: whether any figure was measured on images drawn by a program.
        data: everything shown, ready for JSON.
    """

    title: str
    reference: str
    sections: Sequence[Section]
    synthetic: bool
    data: Mapping[str, Any]


def write_document(path: Path, document: Document) -> Path:
    """Write the page; no network, no script and no other file is needed to read it.

    Raises:
        RunFolderError: when `path` cannot be written.
    """
    html = (
        page_environment()
        .get_template("document.html.j2")
        .render(document=document, data_uri=lambda figure: plots.data_uri(figure, "svg"))
    )
    write_atomically(path, html.encode())
    return path
