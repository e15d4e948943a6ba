"""The official `.npz` files of MedMNIST: where they come from, and whether one is sound.

Yang et al., "MedMNIST v2", Scientific Data 10:41 (2023). The table of labels, addresses, MD5 sums
and licences is the `medmnist` package's own.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import http.client
import importlib.util
import os
import runpy
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from hqnn_jax.data.dataset import SPLIT_NAMES, Progress
from hqnn_jax.data.npz_file import open_array, stream_images
from hqnn_jax.errors import DataError, RunFolderError
from hqnn_jax.files import locked, temporary_of

_PREFIX_IN_FILE = {"train": "train", "validation": "val", "test": "test"}
_CHUNK = 1 << 20
_TIMEOUT_S = 30.0
_MISSING = "expected a MedMNIST file"
_AGAIN = "move it away to download it again"


@dataclass(frozen=True)
class MedMnistSource:
    """One official MedMNIST 2D file."""

    name: str
    resolution: int
    """Side of the images in pixels."""
    url: str
    md5: str
    class_names: tuple[str, ...]
    num_channels: int
    licence: str
    multilabel: bool = False
    """Whether an image has any number of labels, each 1 or 0."""

    @property
    def file_name(self) -> str:
        """Name of the official file, `bloodmnist.npz` or `bloodmnist_64.npz` for example."""
        suffix = "" if self.resolution == 28 else f"_{self.resolution}"
        return f"{self.name}{suffix}.npz"


@functools.cache
def _official_table() -> Mapping[str, Mapping[str, Any]]:
    # Importing the package imports torch where it is installed and prints a line where it is not;
    # its table is a plain Python file that needs neither.
    spec = importlib.util.find_spec("medmnist")
    if spec is None or spec.origin is None:
        raise DataError(
            "package medmnist not found; install the project from its requirements.lock"
        )
    table: Mapping[str, Mapping[str, Any]] = runpy.run_path(
        str(Path(spec.origin).with_name("info.py"))
    )["INFO"]
    return table


def medmnist_source(name: str, resolution: int) -> MedMnistSource:
    """Return what `medmnist` knows about one of its 2D sets.

    Args:
        name: an entry of `hqnn_jax.config.MEDMNIST_NAMES`.
        resolution: 28, 64, 128 or 224 pixels.
    """
    entry = _official_table()[name]
    suffix = "" if resolution == 28 else f"_{resolution}"
    labels = entry["label"]
    return MedMnistSource(
        name=name,
        resolution=resolution,
        url=entry[f"url{suffix}"],
        md5=entry[f"MD5{suffix}"],
        # BloodMNIST lists the kinds of immature granulocytes in brackets: too long for a figure.
        class_names=tuple(labels[str(k)].split("(")[0].strip() for k in range(len(labels))),
        num_channels=entry["n_channels"],
        licence=entry["license"],
        multilabel=entry["task"].startswith("multi-label"),
    )


def check_md5(path: Path, source: MedMnistSource) -> None:
    """Raise DataError unless the file at `path` is byte for byte the official one."""
    try:
        found = _md5(path)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    if found != source.md5:
        raise DataError(
            f"{path}: damaged, or not the official file: expected MD5 {source.md5}, found {found}; "
            f"move it away to download it again, or get {source.url}"
        )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def download(source: MedMnistSource, data_dir: Path, progress: Progress | None = None) -> Path:
    """Download the official file into `data_dir` and return its path.

    The file takes its name only when it is complete and its MD5 is right, so an interrupted or
    damaged download replaces nothing; what a killed one leaves is removed by the next. One process
    at a time downloads into a folder; what another one has got meanwhile is taken.

    Args:
        source: the file to get.
        data_dir: existing folder.
        progress: called with the bytes received so far and in all.

    Raises:
        DataError: no network, a folder that cannot be written, or a wrong MD5.
    """
    target = data_dir / source.file_name
    try:
        if not data_dir.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        with locked(data_dir, wait=True):
            if not (target.exists() and _md5(target) == source.md5):
                _download(source, target, progress)
    except (OSError, RunFolderError) as error:
        cause = error.__cause__ if isinstance(error, RunFolderError) else error
        raise DataError(
            f"{data_dir}: cannot be written ({getattr(cause, 'strerror', 0) or cause}); put "
            f"{source.file_name} from {source.url} there, or set dataset.data_dir to a folder that "
            "can be written"
        ) from error
    return target


def remove_unfinished_downloads(data_dir: Path, source: MedMnistSource) -> None:
    """Remove what killed downloads of a file have left, unless somebody downloads just now."""
    if any(data_dir.glob(f".{source.file_name}.*.tmp")):
        with contextlib.suppress(OSError, RunFolderError), locked(data_dir):
            pass  # taking the lock removes them


def _download(source: MedMnistSource, target: Path, progress: Progress | None) -> None:
    temporary = temporary_of(target)
    try:
        with temporary.open("xb") as file:
            _receive(source, file, progress)
        found = _md5(temporary)
        if found != source.md5:
            raise DataError(
                f"{source.url}: damaged in transit, or not the official file: expected MD5 "
                f"{source.md5}, found {found}; run again, or get the file by other means and put "
                f"it at {target}"
            )
        os.replace(temporary, target)
    except (OSError, http.client.HTTPException) as error:
        # URLError, timeouts and a full disk are all OSError.
        raise DataError(
            f"{source.name}: download failed ({error}); get {source.url} by other means and put it "
            f"at {target}"
        ) from None
    finally:
        temporary.unlink(missing_ok=True)


def _receive(source: MedMnistSource, file: Any, progress: Progress | None) -> None:
    with urllib.request.urlopen(source.url, timeout=_TIMEOUT_S) as response:
        total = int(response.headers.get("Content-Length") or 0)
        done = 0
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(f"downloading {source.file_name}", done, total)


@dataclass(frozen=True, eq=False)
class ArchivedSplit:
    """One split of a MedMNIST file, whose images are read from the archive one after the other."""

    path: Path
    array: str
    """Name of the images in the archive."""
    image_shape: tuple[int, int, int]
    """Height, width, channels."""
    labels: Int32[np.ndarray, "num_images *num_labels"]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def images(self) -> Iterator[UInt8[np.ndarray, "height width channels"]]:
        """Yield the images in order, in the memory of a few of them.

        Raises:
            DataError: a damaged archive (told by its checksum, at the latest after the last image).
        """
        yield from stream_images(self.path, self.array, self.image_shape, len(self), _AGAIN)


def read_splits(path: Path, source: MedMnistSource) -> dict[str, ArchivedSplit]:
    """Open and validate the three splits of a MedMNIST `.npz` file.

    Returns:
        `train`, `validation` and `test`.

    Raises:
        DataError: a damaged archive, a missing array, or arrays that do not fit `source`.
    """
    return {split: _open_split(path, split, source) for split in SPLIT_NAMES}


def _open_split(path: Path, split: str, source: MedMnistSource) -> ArchivedSplit:
    prefix = _PREFIX_IN_FILE[split]
    with open_array(path, f"{prefix}_labels", _MISSING, _AGAIN) as (file, header):
        labels = np.frombuffer(file.read(), header.dtype).reshape(header.shape)
    with open_array(path, f"{prefix}_images", _MISSING, _AGAIN) as (_, header):
        labels = checked_labels(
            header.shape, header.dtype, labels, where=f"{path}, {split} split", source=source
        )
    height, width = header.shape[1:3]
    shape = (height, width, source.num_channels)
    return ArchivedSplit(path, f"{prefix}_images", shape, labels)


def checked_labels(
    shape: tuple[int, ...],
    dtype: np.dtype,
    labels: np.ndarray,
    *,
    where: str,
    source: MedMnistSource,
) -> Int32[np.ndarray, "num_images *num_labels"]:
    """Return the labels of a split, or say what is wrong with its arrays.

    Args:
        shape: of the images: [N, H, W] for grey sets, [N, H, W, 3] for colour sets;
            H = W = resolution.
        dtype: of the images, uint8.
        labels: whole numbers, [N] or [N, 1]; of a multi-label set 1 and 0, [N, K].
        where: file and split, for the message.
        source: what the file should hold.

    Raises:
        DataError: wrong dtype or shape, no image, or a label outside the classes.
    """
    _check_images(shape, dtype, where, source)
    if source.multilabel:
        return require_ones_and_zeros(labels, (shape[0], len(source.class_names)), where)
    if not np.issubdtype(labels.dtype, np.integer) or labels.size != shape[0]:
        raise DataError(
            f"{where}: expected one whole-number label for each of {shape[0]} images, found "
            f"{labels.dtype} {list(labels.shape)}"
        )
    last = len(source.class_names) - 1
    if labels.min() < 0 or labels.max() > last:
        outside = labels[(labels < 0) | (labels > last)].flat[0]
        raise DataError(f"{where}: label {outside} is outside the classes 0 to {last}")
    return labels.reshape(-1).astype(np.int32)


def require_ones_and_zeros(
    labels: np.ndarray, shape: tuple[int, int], where: str
) -> Int32[np.ndarray, "num_images num_labels"]:
    """Return the labels of a multi-label set of some images and labels.

    Raises:
        DataError: another shape, or other numbers than 1 and 0.
    """
    if labels.shape != shape or labels.dtype.kind not in "iub" or not np.isin(labels, (0, 1)).all():
        raise DataError(
            f"{where}: found labels {labels.dtype} {list(labels.shape)}; expected 1 or 0 for each "
            f"of {shape[1]} labels of {shape[0]:,} images"
        )
    return labels.astype(np.int32)


def _check_images(
    shape: tuple[int, ...], dtype: np.dtype, where: str, source: MedMnistSource
) -> None:
    if dtype != np.uint8:
        raise DataError(f"{where}: expected uint8 images, found {dtype}")
    side = source.resolution
    expected = (side, side) if source.num_channels == 1 else (side, side, source.num_channels)
    if shape[1:] not in (expected, (side, side, source.num_channels)):
        raise DataError(
            f"{where}: expected images of shape {list(expected)}, found {list(shape[1:])}; "
            f"check dataset.resolution"
        )
    if shape[0] == 0:
        raise DataError(f"{where}: the split is empty; expected at least one image")
