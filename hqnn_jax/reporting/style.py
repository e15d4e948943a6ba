"""How every figure looks, and the only way to an image file.

Colours are those of Okabe and Ito (2008), which people with any colour vision tell apart, with grey
for their yellow, which is too pale for lines on white.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, GREY = "#CC79A7", "#56B4E9", "#000000", "#8C8C8C"
PALETTE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, GREY)
_LABEL_LENGTH = 24
_SYNTHETIC = "synthetic data"

ImageKind = Literal["svg", "png"]
"""SVG for lines and text, PNG (160 dpi) for images."""


class ReportFigure(Figure):
    """An empty figure whose title can say that it was measured on images drawn by a program.

    Whether it was is known where the page is written, not where the figure is drawn.
    """

    def __init__(self, width: float, height: float, title: str = ""):
        """Make a figure of so many inches; without a title where there is none."""
        super().__init__(figsize=(width, height), layout="constrained")
        self._over: Axes | None = None
        self.set_title(title)

    def set_title(self, title: str, over: Axes | None = None) -> None:
        """Set the title: of the whole, or over axes, where it stays close to a square picture."""
        self._title, self._over = title, over or self._over
        self._show(title)

    def say_synthetic(self) -> None:
        """Say in the title that the data are synthetic."""
        if self._title:
            self._show(f"{self._title} — {_SYNTHETIC}")
        else:
            self.axes[0].set_title(_SYNTHETIC, fontsize=10)

    def _show(self, title: str) -> None:
        if self._over is not None:
            self._over.set_title(title, fontsize=12)
        elif title:
            self.suptitle(title, fontsize=12)


def image_file(figure: Figure, kind: ImageKind, *, synthetic: bool = False) -> bytes:
    """Return the content of an image file.

    Equal figures give equal bytes, so a report can be reproduced bit for bit.

    Args:
        figure: what is drawn.
        kind: of the file.
        synthetic: whether to say of a `ReportFigure` that the data are synthetic.
    """
    if synthetic and isinstance(figure, ReportFigure):
        figure.say_synthetic()
    buffer = io.BytesIO()
    # Without a fixed salt and date matplotlib writes random identifiers and the current time.
    with mpl.rc_context({"svg.hashsalt": "hqnn_jax"}):
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, bbox_inches="tight", metadata=metadata, dpi=160)
    return buffer.getvalue()


def data_uri(figure: Figure, kind: ImageKind, *, synthetic: bool = False) -> str:
    """Encode the image file of a figure as a `data:` URI; see `image_file`."""
    mime = "image/svg+xml" if kind == "svg" else "image/png"
    content = image_file(figure, kind, synthetic=synthetic)
    return f"data:{mime};base64,{base64.b64encode(content).decode('ascii')}"


def plain_axes(axes: Axes, xlabel: str, ylabel: str) -> None:
    """Give axes the look they share: two spines, a pale grid behind everything, and labels."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)


def blank(axes: Axes) -> None:
    """Take ticks and frame from axes that are for an image."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def name_classes(
    image: Axes, below: Axes, class_names: Sequence[str], predicted: int, true: int, more: str = ""
) -> None:
    """Frame an image by whether it is classified rightly, and write its classes below.

    Wrong ones have a heavy vermilion frame and a cross, so that colour is not needed.

    Args:
        image: axes with the image.
        below: axes whose label names the classes.
        class_names: one name per class.
        predicted, true: the classes.
        more: what follows the predicted one.
    """
    right = predicted == true
    image.spines[:].set(visible=True, color=GREEN if right else VERMILION)
    image.spines[:].set_linewidth(1.2 if right else 3.5)
    below.set_xlabel(
        f"{'✓' if right else '✗'} {short_label(class_names[predicted])}{more}"
        + ("" if right else f"\ntrue: {short_label(class_names[true])}"),
        fontsize=7.5,
        weight="normal" if right else "bold",
    )


def short_label(name: str, length: int = _LABEL_LENGTH) -> str:
    """Return a name of at most `length` characters, safe from matplotlib's `$` formulae.

    MedMNIST explains some classes in brackets; the explanation goes first.
    """
    if len(name) > length:
        name = name.split("(", maxsplit=1)[0].strip() or name
    if len(name) > length:
        name = name[: length - 1].rstrip() + "…"
    return name.replace("$", r"\$")
