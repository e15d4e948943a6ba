"""A report made of sections: text, tables and figures on one self-contained page.

Runs, comparisons, papers, ablations and evaluations on hardware all are a `Document`, and
`write_document` is the only thing that writes a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jinja2
from matplotlib.figure import Figure

from hqnn_jax.files import write_atomically
from hqnn_jax.reporting import formatting, style

_LONG = 40
"""Cells with more characters are text, which is broken into lines; others are figures."""


class Styled(NamedTuple):
    """A part of a paragraph that looks different: `strong` or `soft`."""

    text: str
    look: str


class TableCell(NamedTuple):
    """A cell with a second, smaller line below its text; `strong` is bold."""

    text: str
    below: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Text:
    """A paragraph. `look` is `lead` (larger, what nobody must miss), `note` (smaller) or neither.

    A plain string stands for a plain paragraph.
    """

    parts: tuple[str | Styled, ...]
    look: str = ""


def lead(text: str) -> Text:
    """Return a first paragraph in larger type, for what a reader must not miss."""
    return Text((text,), "lead")


def note(text: str) -> Text:
    """Return a paragraph in smaller type."""
    return Text((text,), "note")


@dataclass(frozen=True)
class Heading:
    """The title of a part of a section."""

    title: str


@dataclass(frozen=True)
class Notice:
    """A warning in a frame that begins with a few bold words."""

    head: str
    text: str


@dataclass(frozen=True)
class Table:
    """A table of text; the first column names the row.

    Attributes:
        columns: heads of the columns.
        rows: one cell for each column.
        note: a paragraph below.
        links: from row names to pages, None for rows without one; empty without any.
        words: columns beside the first that hold words; long texts are known as such anyway.
    """

    columns: tuple[str | TableCell, ...]
    rows: tuple[tuple[str | TableCell, ...], ...]
    note: str = ""
    links: tuple[str | None, ...] = ()
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that every row has one cell per column, and a link where there are links."""
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"row {row}: expected {len(self.columns)} cells")
        if self.links and len(self.links) != len(self.rows):
            raise ValueError(f"links: expected {len(self.rows)}, one per row")


@dataclass(frozen=True)
class Pairs:
    """Names with their values, which are any JSON, in two columns."""

    values: Mapping[str, Any]


class Card(NamedTuple):
    """A figure in large type: its name and value in per cent, and what stands below."""

    name: str
    value: str
    deviation: str
    interval: str
    method: str


@dataclass(frozen=True)
class Cards:
    """The figures a reader looks for first, side by side."""

    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Picture:
    """A figure with its caption, which also names it where there is no `name`."""

    caption: str
    figure: Figure
    name: str = ""
    file: style.ImageKind = "svg"


@dataclass(frozen=True)
class Preformatted:
    """Text shown as it is, a file for example."""

    text: str


Block = str | Text | Heading | Notice | Table | Pairs | Cards | Picture | Preformatted
BlockT = TypeVar("BlockT")


@dataclass(frozen=True)
class Section:
    """A heading with whatever stands below it, in this order.

    `synthetic` says whether its figures were measured on synthetic images; None: as the document.
    """

    title: str
    blocks: tuple[Block, ...]
    synthetic: bool | None = None

    def of(self, kind: type[BlockT]) -> tuple[BlockT, ...]:
        """Return the blocks of a kind."""
        return tuple(block for block in self.blocks if isinstance(block, kind))


@dataclass(frozen=True)
class Document:
    """The report of a run, of several runs, of an ablation or of a whole paper.

    Attributes:
        title: of what is reported.
        sections: in the order they are read.
        synthetic: whether any figure was measured on images drawn by a program; the titles of all
            figures say so then.
        reference: what stands below the title.
        data: everything shown, ready for JSON.
        heading: of the page, where it is not the title.
        about_synthetic: what is said at the top of a synthetic document.
        notices: further warnings at the top.
        wide: whether the page is as wide as large tables need.
    """

    title: str
    sections: Sequence[Section]
    synthetic: bool
    reference: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    heading: str = ""
    about_synthetic: str = (
        "Figures below were measured on images drawn by a program. They test the software, say "
        "nothing about patients and cannot be compared with published ones."
    )
    notices: tuple[Notice, ...] = ()
    wide: bool = True


def write_document(path: Path, document: Document) -> Path:
    """Write the page; no network, no script and no other file is needed to read it.

    Raises:
        RunFolderError: when `path` cannot be written.
    """
    html = _environment().get_template("page.html.j2").render(document=document)
    write_atomically(path, html.encode())
    return path


def _environment() -> jinja2.Environment:
    """Return the environment of the template; a missing value is an error, text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hqnn_jax.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"inline": formatting.inline, "cell": _cell, "source": _source}
    environment.filters["kind"] = lambda block: type(block).__name__
    environment.tests["long"] = lambda text: len(text) > _LONG
    return environment


def _cell(cell: str | TableCell) -> TableCell:
    return cell if isinstance(cell, TableCell) else TableCell(cell)


def _source(picture: Picture, document: Document, section: Section) -> str:
    synthetic = document.synthetic if section.synthetic is None else section.synthetic
    return style.data_uri(picture.figure, picture.file, synthetic=synthetic)
