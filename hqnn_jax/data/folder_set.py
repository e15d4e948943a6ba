"""TFDS builder for sets of image files, without TensorFlow (ArrayRecord files)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from hqnn_jax.data.dataset import Progress
from hqnn_jax.data.decoding import decode_image
from hqnn_jax.data.folder_listing import Listing
from hqnn_jax.data.prepared import Prepared, Storage, image_features, prepare, read_prepared
from hqnn_jax.data.record_writing import InOrderBuilder, SplitExamples
from hqnn_jax.data.records import images_per_read
from hqnn_jax.data.unfinished import remove_all_unfinished
from hqnn_jax.errors import DataError, printable

_MOST_FILES_AT_ONCE = 256


class FolderSet(InOrderBuilder):
    """A set of image files: features `image` uint8 [resolution, resolution, channels] and `label`.

    One TFDS split for each official part of the set, else `images`; examples are in the order of
    the listing. `info.metadata["conversions"]` counts what was done to files of another mode than
    the published one: phrase -> [number of files, the first of them].
    """

    # Raised whenever the same files would be prepared to other images.
    VERSION = tfds.core.Version("1.0.0")
    # As in MedMnist: no checksum file beside this module.
    code_path = None

    def __init__(
        self,
        listing: Listing,
        resolution: int,
        prepared_dir: Path,
        progress: Progress | None = None,
    ):
        """Describe the prepared copy of these files at this resolution.

        Its folder's name holds the resolution and the digest of the listing, so files that changed
        are prepared anew. (TFDS would log a warning for a configuration made at run time.)
        """
        self.listing, self.resolution, self.progress = listing, resolution, progress
        super().__init__(data_dir=_prepared_folder(listing, resolution, prepared_dir))

    @property
    def MANUAL_DOWNLOAD_INSTRUCTIONS(self) -> str:
        """What to download, from where, and where to put it."""
        return self.listing.source.instructions

    def _info(self) -> tfds.core.DatasetInfo:
        source, side = self.listing.source, self.resolution
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{source.name} at {side} x {side} pixels, from {source.homepage}",
            features=image_features((side, side, source.num_channels), source.class_names),
            disable_shuffling=True,
            license=source.licence,
            citation=source.citation,
            homepage=source.homepage,
            metadata=tfds.core.MetadataDict(conversions={}),
        )

    def _split_generators(self, _: tfds.download.DownloadManager) -> dict[str, SplitExamples]:
        splits, start = {}, 0
        for part, size in self.listing.part_sizes.items():
            splits[part] = SplitExamples(size, self._generate_examples(range(start, start + size)))
            start += size
        return splits

    def _generate_examples(self, numbers: range) -> Iterator[tuple[int, dict[str, Any]]]:
        listing = self.listing
        what = f"preparing {listing.source.name}"

        def decode(number: int) -> tuple[np.ndarray, tuple[str, ...]]:
            return decode_image(
                listing.root / listing.files[number],
                file_mode=listing.source.file_mode,
                resolution=self.resolution,
            )

        step = min(images_per_read(self.info.features["image"].shape), _MOST_FILES_AT_ONCE)
        # Pillow decodes and resizes outside Python's lock.
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for first in range(0, len(numbers), step):
                some = numbers[first : first + step]
                for number, (image, notes) in zip(some, threads.map(decode, some), strict=True):
                    self._count(notes, listing.files[number])
                    yield number, {"image": image, "label": int(listing.labels[number])}
                if self.progress is not None:
                    self.progress(what, some[-1] + 1, len(listing.files))

    def _count(self, notes: Sequence[str], file: str) -> None:
        conversions = self.info.metadata["conversions"]
        for note in notes:
            count, first = conversions.get(note, (0, printable(file)))
            conversions[note] = (count + 1, first)


def load_folder_set(
    listing: Listing,
    *,
    resolution: int,
    prepared_dir: Path,
    storage: Storage,
    progress: Progress | None = None,
) -> Prepared:
    """Return the images of a listing in its order, preparing them where needed.

    Args:
        listing: the files.
        resolution: side of the stored images in pixels.
        prepared_dir: TFDS root for the prepared ArrayRecord files.
        storage: see `read_prepared`.
        progress: told about preparation and reading.

    Raises:
        DataError: an image that cannot be read, or a prepared copy that cannot be used.
    """
    remove_all_unfinished(prepared_dir)
    folder = _prepared_folder(listing, resolution, prepared_dir) / FolderSet.name
    builder = prepare(
        lambda: FolderSet(listing, resolution, prepared_dir, progress),
        folder,
        listing.root,
        progress,
    )
    prepared = read_prepared(builder, tuple(listing.part_sizes), storage=storage, progress=progress)
    if prepared.part_sizes != listing.part_sizes or not _are_counts(
        prepared.metadata.get("conversions")
    ):
        raise DataError(
            f"{folder}: the prepared dataset is damaged (it does not describe the "
            f"{len(listing.files):,} files of {listing.root}); delete this folder and run again"
        )
    return prepared


def _prepared_folder(listing: Listing, resolution: int, prepared_dir: Path) -> Path:
    return prepared_dir / f"{listing.source.name}_{resolution}_{listing.digest[:16]}"


def _are_counts(conversions: Any) -> bool:
    """Return whether this is what `FolderSet._count` noted: phrase -> [number, first file]."""
    return isinstance(conversions, dict) and all(
        isinstance(noted, list) and [type(part) for part in noted] == [int, str]
        for noted in conversions.values()
    )
