"""Images that a library keeps encoded, as bytes of image files, or as arrays of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from hqnn_jax.data.dataset import SPLIT_NAMES
from hqnn_jax.data.decoding import as_pixels, decode_image
from hqnn_jax.data.found import Found
from hqnn_jax.data.own.own_set import WHOLE, split_named
from hqnn_jax.errors import DataError


class Keys(NamedTuple):
    """Names of what is the image and what the label in each example."""

    image: str
    label: str


def only_one(kind: str, names: Sequence[str], where: str) -> str:
    """Return the one name of its kind.

    Raises:
        DataError: if there is none, or more.
    """
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise DataError(
            f"{where}: expected one {kind}, found {found}; choose in a function of your own "
            "(dataset.name=package.module:function)"
        )
    return names[0]


def parts_of(splits: Mapping[str, int], where: str) -> dict[str, str]:
    """Return part -> the split that it is, of a set's splits and their sizes.

    Raises:
        DataError: for splits that are neither one nor train, validation and test.
    """
    filled = [name for name, size in splits.items() if size]
    if len(filled) == 1:
        return {WHOLE: filled[0]}
    known = {split_named(name): name for name in filled}
    parts = {part: known[part] for part in SPLIT_NAMES if part in known}
    if "train" not in parts or len(parts) < 2:
        raise DataError(
            f"{where}: its splits are {', '.join(filled) or 'none'}; expected train and test, or "
            "one split"
        )
    return parts


def read_encoded(value: bytes | np.ndarray, where: Path, file_mode: str, resolution: int) -> Found:
    """Return an image that is given as a file's content or as uint8 [height, width, channels]."""
    if isinstance(value, bytes):
        return decode_image(where, file_mode=file_mode, resolution=resolution, content=value)
    pixels = np.asarray(value)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise DataError(
            f"{where}: found {pixels.dtype} {list(pixels.shape)}; expected uint8 [height, width, "
            "1 or 3]"
        )
    shown: Any = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return as_pixels(shown, file_mode=file_mode, resolution=resolution)
