"""Twenty hand-made features of a cell image, computed on the host (aml2026).

Source: the feature list of "Analyzing Images of Blood Cells with Quantum Machine Learning Methods"
(arXiv:2601.18710). The paper names the features; offsets, bands and thresholds are readings,
stated where they are defined.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, UInt8
from scipy import ndimage
from skimage import color, feature, filters, measure

from hqnn_jax.errors import DataError

_TEXTURE_NAMES = ("contrast", "dissimilarity", "homogeneity", "energy", "correlation")
FEATURE_NAMES = (
    "mean",
    "standard deviation",
    "minimum",
    "maximum",
    "median",
    *(f"GLCM {name}" for name in _TEXTURE_NAMES),
    "area",
    "perimeter",
    "eccentricity",
    "solidity",
    "edge density",
    "mean edge strength",
    "edge standard deviation",
    "low-frequency energy",
    "high-frequency energy",
    "frequency centroid",
)
"""Names of the columns of `image_features`, in order."""

_GREY_LEVELS = 32
"""Of the co-occurrence matrix: with all 256 that of a small image is nearly empty."""
_ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
_EDGE_THRESHOLD = 0.1
"""Sobel strength from which a pixel is an edge; an ideal step from black to white has 1."""
_LOW_FREQUENCY, _HIGH_FREQUENCY = 1 / 8, 1 / 4
"""Ends of the bands in cycles per pixel; the highest frequency along an axis is 1/2."""

FEATURE_READINGS = (
    "The paper names the features; how they are computed is a reading. GLCM energy is "
    "scikit-image's, the square root of the angular second moment; the co-occurrence matrix has "
    f"{_GREY_LEVELS} grey levels, distance 1 and {len(_ANGLES)} directions, both ways. The cell is "
    "the largest region of the darkest of three Otsu classes. A pixel is an edge from a Sobel "
    f"strength of {_EDGE_THRESHOLD:g} on. Low frequencies end at {_LOW_FREQUENCY:g} cycles a "
    f"pixel, high ones begin at {_HIGH_FREQUENCY:g}."
)
"""How the paper's names were read."""


def image_features(
    images: UInt8[np.ndarray, "images height width channels"],
) -> Float64[np.ndarray, "images features"]:
    """Return the features of every image; about 3 ms for one of 64x64 pixels.

    RGB images are made grey by luminance, values from 0 to 1. Grey values, GLCM properties and
    edge strengths are in these units (GLCM levels: 0 to 31); area is a share of the image,
    perimeter in sides of a square image of its size; energies are shares of the variance, the
    centroid is in cycles per pixel. The co-occurrence matrix counts neighbours at distance 1 in
    four directions, both ways, so a quarter turn of the image changes no feature. Its energy is
    scikit-image's: the square root of the angular second moment, not that moment itself.

    All values are finite. A flat image has no cell, no edge and no frequency: these features are
    0, its GLCM energy, homogeneity and correlation 1.

    Raises:
        DataError: for images that are neither grey nor RGB, or smaller than 8x8.
    """
    if images.shape[3] not in (1, 3) or min(images.shape[1:3]) < 8:
        raise DataError(
            f"hand-made features: images have shape {images.shape[1:]}, expected at least 8x8 "
            "pixels and 1 or 3 channels; convert them to grey or RGB first"
        )
    if len(images) == 0:
        return np.empty((0, len(FEATURE_NAMES)))
    scaled = images.astype(np.float64) / 255
    grey = color.rgb2gray(scaled) if images.shape[3] == 3 else scaled[..., 0]
    flat = grey.reshape(len(grey), -1)
    intensity = [
        statistic(flat, axis=1) for statistic in (np.mean, np.std, np.min, np.max, np.median)
    ]
    each = [np.concatenate([_texture(image), _shape(image), _edges(image)]) for image in grey]
    return np.concatenate([np.stack(intensity, axis=1), np.stack(each), _frequencies(grey)], axis=1)


def cell_mask(image: Float64[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Return where the stained cell is: the largest region of the darkest of three Otsu classes.

    On stained smears the three classes are background, red cells with pale cytoplasm, and nucleus
    with dark cytoplasm. Two classes do not do: the cell then merges with red cells that touch it.
    Holes are filled. A flat image has no cell.
    """
    # A difference below one grey level is rounding of the luminance.
    levels = np.unique(np.round(image * 255).astype(int))
    if len(levels) < 3:
        dark = np.round(image * 255) < levels[-1]
    else:
        dark = image <= filters.threshold_multiotsu(image, classes=3)[0]
    regions = measure.label(ndimage.binary_fill_holes(dark))
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    return (regions == np.argmax(sizes)) & (regions > 0)


def _texture(image: Float64[np.ndarray, "height width"]) -> Float64[np.ndarray, " 5"]:
    levels = np.minimum(image * _GREY_LEVELS, _GREY_LEVELS - 1).astype(np.uint8)
    matrix = feature.graycomatrix(
        levels, distances=[1], angles=_ANGLES, levels=_GREY_LEVELS, symmetric=True, normed=True
    )
    return np.array([feature.graycoprops(matrix, name).mean() for name in _TEXTURE_NAMES])


def _shape(image: Float64[np.ndarray, "height width"]) -> Float64[np.ndarray, " 4"]:
    mask = cell_mask(image)
    if not mask.any():
        return np.zeros(4)
    (region,) = measure.regionprops(mask.astype(np.uint8))
    side = np.sqrt(image.size)
    return np.array(
        [region.area / image.size, region.perimeter / side, region.eccentricity, region.solidity]
    )


def _edges(image: Float64[np.ndarray, "height width"]) -> Float64[np.ndarray, " 3"]:
    strength = filters.sobel(image)
    return np.array([(strength > _EDGE_THRESHOLD).mean(), strength.mean(), strength.std()])


def _frequencies(
    images: Float64[np.ndarray, "images height width"],
) -> Float64[np.ndarray, "images 3"]:
    centred = images - images.mean(axis=(1, 2), keepdims=True)
    power = np.abs(np.fft.fft2(centred)) ** 2
    height, width = images.shape[1:]
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    bands = [frequency <= _LOW_FREQUENCY, frequency > _HIGH_FREQUENCY, frequency]
    sums = np.stack([(power * band).sum(axis=(1, 2)) for band in bands], axis=1)
    total = power.sum(axis=(1, 2))
    # What is left of a flat image is rounding; its shares would be noise.
    flat = total <= 1e-9 * height * width
    return np.where(flat[:, None], 0.0, sums / np.where(flat, 1.0, total)[:, None])
