"""The official `.npz` files of MedMNIST: where they come from, and whether one is sound.

Yang et al., "MedMNIST v2", Scientific Data 10:41 (2023). The table of labels, addresses, MD5 sums
and licences is the `medmnist` package's own.
"""

from __future__ import annotations

import functools
import hashlib
import http.client
import importlib.util
import os
import runpy
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hqnn_jax.data.dataset import SPLIT_NAMES, Progress, Split
from hqnn_jax.errors import DataError

_PREFIX_IN_FILE = {"train": "train", "validation": "val", "test": "test"}
_CHUNK = 1 << 20
_TIMEOUT_S = 30.0


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
    damaged download leaves nothing behind and replaces nothing.

    Args:
        source: the file to get.
        data_dir: existing folder.
        progress: called with the bytes received so far and in all.

    Raises:
        DataError: no network, a folder that cannot be written, or a wrong MD5.
    """
    target = data_dir / source.file_name
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{source.file_name}.", dir=data_dir)
    except OSError as error:
        raise DataError(
            f"{data_dir}: cannot be written ({error.strerror}); put {source.file_name} from "
            f"{source.url} there, or set dataset.data_dir to a folder that can be written"
        ) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            _receive(source, file, progress)
        found = _md5(Path(temporary))
        if found != source.md5:
            raise DataError(
                f"{source.url}: damaged in transit, or not the official file: expected MD5 "
                f"{source.md5}, found {found}; run again, or get the file by other means and put "
                f"it at {target}"
            )
        # mkstemp makes files private; a data folder is often shared.
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except (OSError, http.client.HTTPException) as error:
        # URLError, timeouts and a full disk are all OSError.
        raise DataError(
            f"{source.name}: download failed ({error}); get {source.url} by other means and put it "
            f"at {target}"
        ) from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    return target


def _receive(source: MedMnistSource, file: Any, progress: Progress | None) -> None:
    with urllib.request.urlopen(source.url, timeout=_TIMEOUT_S) as response:
        total = int(response.headers.get("Content-Length") or 0)
        done = 0
        while chunk := response.read(_CHUNK):
            file.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(f"downloading {source.file_name}", done, total)


def read_splits(path: Path, source: MedMnistSource) -> dict[str, Split]:
    """Read and validate the three splits of a MedMNIST `.npz` file.

    Returns:
        `train`, `validation` and `test`.

    Raises:
        DataError: a damaged archive, a missing array, or arrays that do not fit `source`.
    """
    return {
        split: validated_split(
            *_read_arrays(path, _PREFIX_IN_FILE[split]),
            where=f"{path}, {split} split",
            source=source,
        )
        for split in SPLIT_NAMES
    }


def _read_arrays(path: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive[f"{prefix}_images"], archive[f"{prefix}_labels"]
    except KeyError:
        raise DataError(
            f"{path}: array {prefix}_images or {prefix}_labels is missing; expected a MedMNIST file"
        ) from None
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise _damaged(path) from None
        raise DataError(
            f"{path}: {prefix} images of mixed size; expected one array of equal images"
        ) from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError):
        raise _damaged(path) from None


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path}: corrupt or truncated; expected an .npz archive; move it away to download it again"
    )


def validated_split(
    images: np.ndarray, labels: np.ndarray, *, where: str, source: MedMnistSource
) -> Split:
    """Return the arrays of a MedMNIST file as a split, or say what is wrong with them.

    Args:
        images: uint8 [N, H, W] for grey sets, [N, H, W, 3] for colour sets; H = W = resolution.
        labels: whole numbers, [N] or [N, 1].
        where: file and split, for the message.
        source: what the file should hold.

    Raises:
        DataError: mixed sizes, wrong dtype or shape, no image, or a label outside the classes.
    """
    _check_images(images, where, source)
    if not np.issubdtype(labels.dtype, np.integer) or labels.size != len(images):
        raise DataError(
            f"{where}: expected one whole-number label for each of {len(images)} images, found "
            f"{labels.dtype} {list(labels.shape)}"
        )
    last = len(source.class_names) - 1
    if labels.min() < 0 or labels.max() > last:
        outside = labels[(labels < 0) | (labels > last)].flat[0]
        raise DataError(f"{where}: label {outside} is outside the classes 0 to {last}")
    height, width = images.shape[1:3]
    return Split(
        images=images.reshape(len(images), height, width, source.num_channels),
        labels=labels.reshape(-1).astype(np.int32),
    )


def _check_images(images: np.ndarray, where: str, source: MedMnistSource) -> None:
    if images.dtype == object:
        raise DataError(f"{where}: images of mixed size; expected one array of equal images")
    if images.dtype != np.uint8:
        raise DataError(f"{where}: expected uint8 images, found {images.dtype}")
    side = source.resolution
    expected = (side, side) if source.num_channels == 1 else (side, side, source.num_channels)
    if images.shape[1:] not in (expected, (side, side, source.num_channels)):
        raise DataError(
            f"{where}: expected images of shape {list(expected)}, found {list(images.shape[1:])}; "
            f"check dataset.resolution"
        )
    if len(images) == 0:
        raise DataError(f"{where}: the split is empty; expected at least one image")
