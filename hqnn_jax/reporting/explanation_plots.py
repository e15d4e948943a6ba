"""The figure of explained predictions: image, Grad-CAM and integrated gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer, UInt8
from matplotlib.axes import Axes

from hqnn_jax.reporting.style import ReportFigure, blank, name_classes, short_label

_COLUMNS = 6
_ROWS = ("image", "Grad-CAM", "integrated\ngradients")
# A few extreme pixels would leave the rest without colour.
_LARGEST_SHOWN = 99.5


def explanations(
    images: UInt8[np.ndarray, "images height width channels"],
    cams: Float[np.ndarray, "images map_height map_width"],
    attributions: Float[np.ndarray, "images size size"],
    labels: Integer[np.ndarray, " images"] | None,
    predicted: Integer[np.ndarray, " images"],
    class_names: Sequence[str],
) -> ReportFigure:
    """Draw, one below the other, each image, its Grad-CAM over it and its integrated gradients.

    Every map has the colour scale of its own image.

    Args:
        images: 1 (grey) or 3 (RGB) channels.
        cams: Grad-CAM, not negative, at any resolution; stretched over the image.
        attributions: signed, summed over the channels.
        labels: true class; None where it is not known.
        predicted: the class that is explained.
        class_names: one name per class.
    """
    blocks = math.ceil(len(images) / _COLUMNS)
    columns = min(_COLUMNS, len(images))
    # The last row of a block also holds the class names below it.
    size = (1.1 + 1.6 * columns, 5.4 * blocks + 0.5)
    figure = ReportFigure(*size, "Why the model says so")
    grid = figure.subplots(len(_ROWS) * blocks, columns, squeeze=False)
    for axes in grid.ravel():
        blank(axes)
    for number, image in enumerate(images):
        block, column = divmod(number, _COLUMNS)
        picture, overlay, signed = grid[len(_ROWS) * block :, column][: len(_ROWS)]
        _draw_image(picture, image)
        _draw_cam(overlay, image, cams[number])
        _draw_attributions(signed, image, attributions[number])
        if labels is None:
            signed.set_xlabel(short_label(class_names[int(predicted[number])]), fontsize=7.5)
        else:
            name_classes(picture, signed, class_names, int(predicted[number]), int(labels[number]))
    for row in range(len(grid)):
        grid[row, 0].set_ylabel(_ROWS[row % len(_ROWS)], fontsize=9)
    return figure


def _draw_image(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)


def _pale(image: np.ndarray) -> np.ndarray:
    """Return the image in pale grey, on which colours of a map can be read."""
    grey = image.astype(np.float64).mean(axis=-1)
    return 60 + (195 / 255) * grey


def _draw_cam(axes: Axes, image: np.ndarray, cam: np.ndarray) -> None:
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    axes.imshow(_pale(image), cmap="gray", vmin=0, vmax=255)
    largest = float(cam.max())
    if largest == 0:
        axes.text(0.5, 0.5, "nothing speaks\nfor the class", transform=axes.transAxes,
                  ha="center", va="center", fontsize=7.5)  # fmt: skip
        return
    share = cam / largest
    # The image stays visible where nothing speaks for the class.
    axes.imshow(
        share, cmap="plasma", vmin=0, vmax=1, alpha=0.8 * np.sqrt(share), extent=extent,
        interpolation="bilinear",
    )  # fmt: skip
    axes.set(xlim=extent[:2], ylim=extent[2:])


def _draw_attributions(axes: Axes, image: np.ndarray, attributions: np.ndarray) -> None:
    extent = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    limit = float(np.percentile(np.abs(attributions), _LARGEST_SHOWN)) or 1.0
    axes.imshow(attributions, cmap="RdBu", vmin=-limit, vmax=limit, extent=extent)
