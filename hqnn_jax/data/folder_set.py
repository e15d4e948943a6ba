"""TFDS builder for images of any source, without TensorFlow (ArrayRecord files)."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from hqnn_jax.data.dataset import Progress
from hqnn_jax.data.decoding import decode_image
from hqnn_jax.data.folder_listing import Listing
from hqnn_jax.data.found import Found, FoundImages
from hqnn_jax.data.prepared import Prepared, Storage, image_features, prepare, read_prepared
from hqnn_jax.data.record_writing import InOrderBuilder, SplitExamples
from hqnn_jax.data.records import images_per_read
from hqnn_jax.data.unfinished import remove_all_unfinished
from hqnn_jax.errors import DataError, printable

_MOST_FILES_AT_ONCE = 256


def read_files(
    root: Path, files: Sequence[str], file_mode: str, resolution: int
) -> Iterator[Found]:
    """Decode image files in order; see `decode_image`.

    Args:
        root: the folder their paths begin in.
        files: the paths.
        file_mode: Pillow mode of the set's files: RGB, RGBA or L.
        resolution: side of the results in pixels.

    Raises:
        DataError: a file that is no image.
    """
    decode = functools.partial(decode_image, file_mode=file_mode, resolution=resolution)
    channels = 1 if file_mode == "L" else 3
    step = min(images_per_read((resolution, resolution, channels)), _MOST_FILES_AT_ONCE)
    # Pillow decodes and resizes outside Python's lock.
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for first in range(0, len(files), step):
            yield from threads.map(decode, [root / file for file in files[first : first + step]])


def found_images(listing: Listing) -> FoundImages:
    """Return the images of a published set of files."""
    source = listing.source

    def read(part: str, resolution: int) -> Iterator[Found]:
        return read_files(listing.root, found.files_of(part), source.file_mode, resolution)

    found = FoundImages(
        name=source.name,
        where=listing.root,
        files=listing.files,
        part_sizes=listing.part_sizes,
        num_channels=source.num_channels,
        digest=listing.digest,
        read=read,
        labels=listing.labels,
        class_names=source.class_names,
        licence=source.licence,
        citation=source.citation,
        homepage=source.homepage,
        instructions=source.instructions,
    )
    return found


class FolderSet(InOrderBuilder):
    """A set of images: features `image` uint8 [resolution, resolution, channels] and `label`.

    One TFDS split for each part of the set; examples are in the order they are found in. Where
    labels are kept apart from the images, there is no `label`. `info.metadata["conversions"]`
    counts what was done to images that was not to be expected: phrase -> [number of images, the
    first of them].
    """

    # Raised whenever the same files would be prepared to other images.
    VERSION = tfds.core.Version("1.0.0")
    # As in MedMnist: no checksum file beside this module.
    code_path = None

    def __init__(
        self,
        found: FoundImages,
        resolution: int,
        prepared_dir: Path,
        progress: Progress | None = None,
    ):
        """Describe the prepared copy of these images at this resolution.

        Its folder's name holds the resolution and the digest of what is found, so files that
        changed are prepared anew. (TFDS would log a warning for a configuration made at run time.)
        """
        self.found, self.resolution, self.progress = found, resolution, progress
        super().__init__(data_dir=_prepared_folder(found, resolution, prepared_dir))

    @property
    def MANUAL_DOWNLOAD_INSTRUCTIONS(self) -> str:
        """What to download, from where, and where to put it."""
        return self.found.instructions

    def _info(self) -> tfds.core.DatasetInfo:
        found, side = self.found, self.resolution
        names = None if found.labels is None else found.class_names
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{found.name} at {side} x {side} pixels, from {found.homepage}",
            features=image_features((side, side, found.num_channels), names),
            disable_shuffling=True,
            license=found.licence,
            citation=found.citation,
            homepage=found.homepage,
            metadata=tfds.core.MetadataDict(conversions={}),
        )

    def _split_generators(self, _: tfds.download.DownloadManager) -> dict[str, SplitExamples]:
        splits, start = {}, 0
        for part, size in self.found.part_sizes.items():
            splits[part] = SplitExamples(size, self._generate_examples(part, start))
            start += size
        return splits

    def _generate_examples(self, part: str, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
        found, end = self.found, start + self.found.part_sizes[part]
        images = found.read(part, self.resolution)
        for number, (image, notes) in zip(range(start, end), images, strict=True):
            self._count(notes, found.files[number])
            label = {} if found.labels is None else {"label": int(found.labels[number])}
            yield number, {"image": image, **label}
            done = number + 1
            if self.progress is not None and (done % _MOST_FILES_AT_ONCE == 0 or done == end):
                self.progress(f"preparing {found.name}", done, len(found.files))

    def _count(self, notes: Sequence[str], file: str) -> None:
        conversions = self.info.metadata["conversions"]
        for note in notes:
            count, first = conversions.get(note, (0, printable(file)))
            conversions[note] = (count + 1, first)


def load_folder_set(
    found: FoundImages,
    *,
    resolution: int,
    prepared_dir: Path,
    storage: Storage,
    progress: Progress | None = None,
) -> Prepared:
    """Return the images that were found in their order, preparing them where needed.

    Args:
        found: the images.
        resolution: side of the stored images in pixels.
        prepared_dir: TFDS root for the prepared ArrayRecord files.
        storage: see `read_prepared`.
        progress: told about preparation and reading.

    Raises:
        DataError: an image that cannot be read, or a prepared copy that cannot be used.
    """
    remove_all_unfinished(prepared_dir)
    folder = _prepared_folder(found, resolution, prepared_dir) / FolderSet.name
    builder = prepare(
        lambda: FolderSet(found, resolution, prepared_dir, progress),
        folder,
        found.where,
        progress,
    )
    prepared = read_prepared(builder, tuple(found.part_sizes), storage=storage, progress=progress)
    if prepared.part_sizes != found.part_sizes or not _are_counts(
        prepared.metadata.get("conversions")
    ):
        raise DataError(
            f"{folder}: the prepared dataset is damaged (it does not describe the "
            f"{len(found.files):,} files of {found.where}); delete this folder and run again"
        )
    return prepared


def conversion_warnings(prepared: Prepared) -> list[str]:
    """Return a sentence about each thing that was done to images that was not to be expected."""
    return [
        f"{count:,} images {phrase} (the first: {first})"
        for phrase, (count, first) in sorted(prepared.metadata["conversions"].items())
    ]


def _prepared_folder(found: FoundImages, resolution: int, prepared_dir: Path) -> Path:
    return prepared_dir / f"{found.name}_{resolution}_{found.digest[:16]}"


def _are_counts(conversions: Any) -> bool:
    """Return whether this is what `FolderSet._count` noted: phrase -> [number, first file]."""
    return isinstance(conversions, dict) and all(
        isinstance(noted, list) and [type(part) for part in noted] == [int, str]
        for noted in conversions.values()
    )
