"""Images to predict: found among files and folders, read some at a time, in the model's form."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from jaxtyping import UInt8

from hqnn_jax.data.decoding import as_pixels
from hqnn_jax.data.folder_listing import IMAGE_SUFFIXES
from hqnn_jax.errors import DataError

_CHANNELS = (1, 3, 4)


def find_images(words: Sequence[str]) -> list[Path]:
    """Return the image files that words of a command line name, each once.

    Args:
        words: files, whatever their names; folders, of which all visible files below are taken
            whose names end like those of images; patterns with `*`, `?`, `[…]` and `**`. A word
            that names a file or folder is no pattern.

    Returns:
        In the order of the words, those of a folder or pattern in that of their names. A word that
        names nothing is returned as it is, to be told when it is read.
    """
    found: dict[Path, None] = {}
    for word in words:
        path = Path(word)
        if path.is_dir():
            found.update(dict.fromkeys(_below(path)))
        elif path.exists() or not glob.has_magic(word):
            found[path] = None
        else:
            for match in sorted(map(Path, glob.glob(word, recursive=True))):
                found.update(dict.fromkeys(_below(match) if match.is_dir() else [match]))
    return list(found)


def _below(folder: Path) -> Iterator[Path]:
    for inside, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES):
                yield Path(inside, name)


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Some files that were read, and why others were not."""

    paths: tuple[Path, ...]
    images: UInt8[np.ndarray, "images height width channels"]
    unreadable: tuple[DataError, ...]


def read_batches(
    paths: Sequence[Path], read: Callable[[Path], np.ndarray], size: int
) -> Iterator[ImageBatch]:
    """Read files in threads, `size` at a time, the next ones while these are worked on.

    Args:
        paths: the files; the images of all are of one shape.
        read: returns the image of one, or raises DataError.
        size: the most that are in one batch; twice as many are in memory.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        # Pillow decodes and resizes outside Python's lock.
        waiting: list[Future[np.ndarray]] = []
        for start in range(0, len(paths), size):
            waiting = waiting or [threads.submit(read, path) for path in paths[:size]]
            current, following = waiting, paths[start + size : start + 2 * size]
            waiting = [threads.submit(read, path) for path in following]
            yield _batch(paths[start : start + size], current)


def _batch(paths: Sequence[Path], read: Sequence[Future[np.ndarray]]) -> ImageBatch:
    readable, images, unreadable = [], [], []
    for path, future in zip(paths, read, strict=True):
        try:
            images.append(future.result())
            readable.append(path)
        except DataError as error:
            unreadable.append(error)
    stacked = np.stack(images) if images else np.zeros((0, 0, 0, 0), np.uint8)
    return ImageBatch(tuple(readable), stacked, tuple(unreadable))


def centre(
    images: UInt8[np.ndarray, "*images height width channels"], share: float
) -> UInt8[np.ndarray, "*images side side channels"]:
    """Return the square in the middle whose side is this share of the shorter one."""
    height, width = images.shape[-3:-1]
    side = max(1, round(share * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    return images[..., top : top + side, left : left + side, :]


def as_stored(
    images: Any, *, file_mode: str, resolution: int, crop: float | None = None
) -> UInt8[np.ndarray, "images resolution resolution channels"]:
    """Return an array of images in the size and channels of a model's training set.

    Args:
        images: uint8[images, height, width, channels], values from 0 to 255, 1 (grey), 3 (RGB) or
            4 channels (RGBA).
        file_mode, resolution: as `decode_image` takes them.
        crop: share that `centre` keeps; None for whole images.

    Raises:
        DataError: for any other array.
    """
    array = np.asarray(images)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] not in _CHANNELS:
        raise DataError(
            f"images: expected uint8[images, height, width, channels] with 1, 3 or 4 channels, or "
            f"paths of image files, got {array.dtype}{list(array.shape)}; values are 0 to 255, and "
            "one image is images[None]"
        )
    if crop is not None:
        array = centre(array, crop)
    channels = 1 if file_mode == "L" else 3
    if array.shape[1:] == (resolution, resolution, channels):
        return array
    if 0 in array.shape[1:3]:
        raise DataError(f"images: of no size, {list(array.shape)}; expected at least one pixel")
    shown = [PIL.Image.fromarray(one[..., 0] if one.shape[-1] == 1 else one) for one in array]
    stored = [as_pixels(one, file_mode=file_mode, resolution=resolution)[0] for one in shown]
    shape = (0, resolution, resolution, channels)
    return np.concatenate([np.zeros(shape, np.uint8), *(one[None] for one in stored)])
