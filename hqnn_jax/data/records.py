"""Images that stay on disk, in the files of a prepared dataset, and are read by index."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, UInt8

from hqnn_jax.errors import DataError

_BYTES_PER_READ = 32 << 20


class RecordImages:
    """Images on disk that are indexed like an array: uint8 [num_images, height, width, channels].

    `images[indices]`, with a slice or an array of whole numbers, reads just those into memory.
    Nothing else touches the disk, and there is no way to turn the whole into an array by mistake.
    Several threads may read at once.
    """

    def __init__(
        self,
        sources: Sequence[Any],
        image_shape: tuple[int, int, int],
        where: Path,
        indices: Int[np.ndarray, " num_images"] | None = None,
    ):
        """Show the records of `sources`, one after the other, or those at `indices` of them.

        Args:
            sources: TFDS data sources whose examples have an `image`.
            image_shape: height, width, channels.
            where: folder of the files, for error messages.
            indices: positions in all sources taken together.
        """
        self._sources = tuple(sources)
        self._starts = np.array([0, *itertools.accumulate(map(len, self._sources))])
        self._where = where
        self._image_shape = image_shape
        self._indices = np.arange(self._starts[-1]) if indices is None else indices

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Number of images, height, width, channels."""
        return (len(self._indices), *self._image_shape)

    @property
    def dtype(self) -> np.dtype:
        """Always uint8."""
        return np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        """Always 4."""
        return 4

    @property
    def nbytes(self) -> int:
        """Bytes the images would take in memory."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._indices)

    def select(self, indices: Int[np.ndarray, " num_selected"]) -> RecordImages:
        """Return the images at `indices`, in that order, without reading them."""
        return RecordImages(self._sources, self._image_shape, self._where, self._indices[indices])

    def __getitem__(self, indices: Any) -> UInt8[np.ndarray, "..."]:
        """Read images.

        Args:
            indices: a whole number (one image), a slice, or an array of whole numbers or truth
                values.

        Raises:
            IndexError: an index that is too large.
            DataError: a file that cannot be read.
        """
        chosen = self._indices[indices]
        if chosen.ndim == 0:
            return self._read(chosen[None])[0]
        return self._read(chosen)

    def __array__(self, *_args: Any, **_options: Any) -> np.ndarray:
        """Refuse: NumPy would read all images, which may not fit into memory.

        Raises:
            TypeError: always.
        """
        raise TypeError("these images are kept on disk; read some of them with images[indices]")

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "height width channels"]]:
        """Yield one image after the other."""
        for images in chunks(self):
            yield from images

    def _read(
        self, positions: Int[np.ndarray, " n"]
    ) -> UInt8[np.ndarray, "n height width channels"]:
        images = np.empty((len(positions), *self._image_shape), np.uint8)

        def store(number: int, example: dict[str, Any]) -> None:
            images[number] = example["image"]

        read_examples(self._sources, positions, store, self._where)
        return images


def read_examples(
    sources: Sequence[Any],
    positions: Int[np.ndarray, " n"],
    store: Callable[[int, dict[str, Any]], None],
    where: Path,
) -> None:
    """Call `store(k, example)` with the example at `positions[k]`, for every k, in any order.

    Args:
        sources: TFDS data sources; positions count through all of them.
        positions: which examples.
        store: told about every example, which it should copy what it needs from.
        where: folder of the files, for the message.

    Raises:
        DataError: a file that cannot be read.
    """
    ends = np.cumsum([len(source) for source in sources])
    which = np.searchsorted(ends, positions, side="right")
    for number, source in enumerate(sources):
        wanted = np.flatnonzero(which == number)
        if not len(wanted):
            continue
        local = positions[wanted] - (ends[number] - len(source))
        try:
            # In batches: several times faster than one record at a time.
            examples = source.__getitems__(local.tolist())
        except MemoryError:
            raise
        except Exception as error:  # what ArrayRecord, TFDS and protobuf raise is of many kinds
            raise DataError(
                f"{where}: the prepared {source.split} split is damaged "
                f"({type(error).__name__}); delete this folder and run again"
            ) from error
        for k, example in zip(wanted.tolist(), examples, strict=True):
            store(k, example)


Images = np.ndarray | RecordImages
"""uint8 [num_images, height, width, channels], in memory or on disk."""


def take(images: Images, indices: Int[np.ndarray, " n"]) -> Images:
    """Return the images at `indices`, in memory or on disk like `images`.

    Neighbouring images in memory are not copied.
    """
    if isinstance(images, RecordImages):
        return images.select(indices)
    if len(indices) and np.array_equal(indices, np.arange(indices[0], indices[0] + len(indices))):
        return images[indices[0] : indices[-1] + 1]
    return images[indices]


def divide(images: Images, parts: Mapping[str, Int[np.ndarray, " _"]]) -> dict[str, Images]:
    """Return the images at the indices of each part, without a second copy of images in memory.

    Args:
        images: all images; in memory they are brought into the order of the parts where they lie,
            so nobody else may still use them.
        parts: part -> positions of its images; no position occurs twice.
    """
    if isinstance(images, RecordImages):
        return {name: images.select(indices) for name, indices in parts.items()}
    order = np.concatenate(list(parts.values()))
    _reorder(images, order)
    ends = np.cumsum([len(indices) for indices in parts.values()]).tolist()
    starts = [0, *ends[:-1]]
    return {name: images[start:end] for name, start, end in zip(parts, starts, ends, strict=True)}


def _reorder(images: np.ndarray, order: Int[np.ndarray, " n"]) -> None:
    """Move the images at `order` to the front, in that order, in place; the others follow."""
    others = np.ones(len(images), bool)
    others[order] = False
    sources = [*order.tolist(), *np.flatnonzero(others).tolist()]
    done = np.zeros(len(images), bool)
    for first, source in enumerate(sources):
        if done[first] or source == first:
            continue
        # A cycle: each place receives the image that belongs there, the last one what lay first.
        displaced = images[first].copy()
        place = first
        while sources[place] != first:
            images[place] = images[sources[place]]
            done[place] = True
            place = sources[place]
        images[place] = displaced
        done[place] = True


def chunks(images: Images) -> Iterator[UInt8[np.ndarray, "n height width channels"]]:
    """Yield the images in order as arrays of at most 32 MiB, so that the whole is never loaded."""
    step = images_per_read(images.shape[1:])
    for start in range(0, len(images), step):
        yield images[start : start + step]


def images_per_read(image_shape: Sequence[int]) -> int:
    """Return how many images of a shape are read at once."""
    return max(1, _BYTES_PER_READ // int(np.prod(image_shape)))
