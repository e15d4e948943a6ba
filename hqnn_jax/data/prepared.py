"""Preparing a TFDS builder as ArrayRecord files, and reading what was prepared."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader
from jaxtyping import Int32, UInt8

from hqnn_jax.data.dataset import Progress
from hqnn_jax.data.records import Images, RecordImages, images_per_read, read_examples
from hqnn_jax.data.unfinished import remove_unfinished
from hqnn_jax.errors import DataError, RunFolderError, printable
from hqnn_jax.files import locked
from hqnn_jax.text import one_line

Builder = TypeVar("Builder", bound=tfds.core.GeneratorBasedBuilder)
Storage = Literal["auto", "device", "stream"]


@dataclass(frozen=True, eq=False)
class Prepared:
    """All images of a prepared dataset, part after part."""

    images: UInt8[np.ndarray | RecordImages, "num_images height width channels"]
    labels: Int32[np.ndarray, "num_images *num_labels"]
    """What is stored with each image; -1 where nothing is."""
    digests: tuple[bytes, ...]
    """SHA-256 of the bytes of each image."""
    part_sizes: dict[str, int]
    """Part -> its number of images, in the order of `images`."""
    metadata: dict[str, Any]
    """What the builder noted."""


def image_features(
    image_shape: tuple[int, int, int],
    class_names: Sequence[str] | None,
    *,
    multilabel: bool = False,
) -> tfds.features.FeaturesDict:
    """Return the features of a set: `image` uint8, and `label` unless `class_names` is None.

    Where `multilabel`, the label is 1 or 0 for each of the names.
    """
    features = {
        # As bytes: features.Image would need TensorFlow to encode an array.
        "image": tfds.features.Tensor(
            shape=image_shape, dtype=np.uint8, encoding=tfds.features.Encoding.BYTES
        )
    }
    if class_names is not None and multilabel:
        features["label"] = tfds.features.Tensor(shape=(len(class_names),), dtype=np.uint8)
    elif class_names is not None:
        features["label"] = tfds.features.ClassLabel(names=list(class_names))
    return tfds.features.FeaturesDict(features)


def is_prepared(builder: tfds.core.DatasetBuilder) -> bool:
    """Return whether the files of a builder are complete."""
    # builder.is_prepared() logs a warning where there is nothing yet.
    return (Path(builder.data_dir) / "dataset_info.json").is_file()


def prepare(
    make_builder: Callable[[], Builder],
    folder: Path,
    manual_dir: Path,
    progress: Progress | None = None,
) -> Builder:
    """Return the builder with its files written. A prepared copy is never overwritten.

    One process at a time writes: another one that needs the same files waits for them. What a
    process that was killed left unfinished is removed.

    Args:
        make_builder: called again after the files were written, since a builder reads them when it
            is made.
        folder: where the builder puts the folder of its version.
        manual_dir: folder with what the builder reads.
        progress: told if another process has to be waited for.

    Raises:
        DataError: the cache folder cannot be written, or a prepared copy is damaged; and what the
            builder raises.
    """
    if printable(str(folder)) != str(folder):
        raise DataError(
            f"{folder}: not UTF-8, and ArrayRecord opens no such files; set HQNN_CACHE_DIR to "
            "another folder"
        )
    builder = open_builder(make_builder, folder)
    if is_prepared(builder):
        return builder
    try:
        with _held(folder, progress):
            remove_unfinished(folder)
            builder = open_builder(make_builder, folder)
            if not is_prepared(builder):
                # Parts of a copy that somebody began to delete.
                shutil.rmtree(builder.data_dir, ignore_errors=True)
                _write(builder, manual_dir)
                builder = open_builder(make_builder, folder)
    except (OSError, RunFolderError) as error:
        cause = error.__cause__ if isinstance(error, RunFolderError) else error
        raise DataError(
            f"{folder}: cannot write the prepared dataset ({getattr(cause, 'strerror', 0) or cause}"
            "); free space, or set HQNN_CACHE_DIR to a folder that can be written and has room"
        ) from error
    return builder


@contextlib.contextmanager
def _held(folder: Path, progress: Progress | None) -> Iterator[None]:
    """Hold a folder for this process, waiting for it where needed."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
        except RunFolderError:
            if progress is not None:
                progress("waiting for another process that prepares these images", 0, 0)
            stack.enter_context(locked(folder, wait=True))
        yield


def open_builder(make_builder: Callable[[], Builder], folder: Path) -> Builder:
    """Make a builder, which reads the description of its prepared copy where there is one.

    Raises:
        DataError: the description is damaged.
    """
    try:
        return make_builder()
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # what TFDS and protobuf raise on damaged files is of many kinds
        raise _damaged(folder, error) from error


def _damaged(folder: Path, error: Exception) -> DataError:
    reason = one_line(f"{type(error).__name__}: {error}")
    return DataError(
        f"{folder}: the prepared dataset is damaged ({reason[:200]}); delete this folder and run "
        "again"
    )


def _write(builder: tfds.core.DatasetBuilder, manual_dir: Path) -> None:
    # TFDS prints what it does and draws its own bars. It writes to a folder of its own and renames
    # that at the end.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        builder.download_and_prepare(
            file_format="array_record",
            download_config=tfds.download.DownloadConfig(manual_dir=manual_dir),
        )


def read_prepared(
    builder: tfds.core.DatasetBuilder,
    parts: Sequence[str],
    *,
    storage: Storage,
    progress: Progress | None = None,
) -> Prepared:
    """Read labels and digests of every image, and keep the images where they belong.

    Args:
        builder: a prepared builder with `image_features`.
        parts: its TFDS splits, in order.
        storage: `device` keeps the images in memory, `stream` on disk, `auto` in memory unless they
            would take more than a quarter of it.
        progress: told about the images read.

    Raises:
        DataError: damaged files.
    """
    where = Path(builder.data_dir)
    try:
        sources = [builder.as_data_source(part) for part in parts]
        metadata = dict(builder.info.metadata or {})
        _check_lengths([builder.info.splits[part] for part in parts])
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # as in `open_builder`
        raise _damaged(where, error) from error
    on_disk = RecordImages(sources, builder.info.features["image"].shape, where)
    streams = storage == "stream" or (storage == "auto" and not fits_into_memory(on_disk))
    images: Images = on_disk if streams else np.empty(on_disk.shape, np.uint8)
    features = builder.info.features
    label_shape = features["label"].shape if "label" in features else ()
    labels = np.empty((len(on_disk), *label_shape), np.int32)
    digests: list[bytes] = [b""] * len(on_disk)

    def store(number: int, example: dict[str, Any]) -> None:
        position = start + number
        labels[position] = example.get("label", -1)
        digests[position] = hashlib.sha256(np.ascontiguousarray(example["image"]).data).digest()
        if isinstance(images, np.ndarray):
            images[position] = example["image"]

    step = images_per_read(on_disk.shape[1:])
    for start in range(0, len(on_disk), step):
        stop = min(start + step, len(on_disk))
        read_examples(sources, np.arange(start, stop), store, where)
        if progress is not None:
            progress("reading the prepared images", stop, len(on_disk))
    return Prepared(
        images=images,
        labels=labels,
        digests=tuple(digests),
        part_sizes={part: len(source) for part, source in zip(parts, sources, strict=True)},
        metadata=metadata,
    )


def _check_lengths(splits: Sequence[tfds.core.SplitInfo]) -> None:
    """Raise ValueError unless each file holds as many records as the description says.

    A smaller number in the description would hide images without a word.
    """
    for split in splits:
        for path, length in zip(split.filepaths, split.shard_lengths, strict=True):
            found = ArrayRecordReader(str(path)).num_records()
            if found != length:
                raise ValueError(f"{path.name} holds {found} records, {length} expected")


def fits_into_memory(images: Images) -> bool:
    """Return whether the images take at most a quarter of this machine's memory."""
    return images.nbytes <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4
