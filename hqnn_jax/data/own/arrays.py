"""Images and labels as arrays: an `.npz` file as MedMNIST has them, or given by a function.

`images` [N, height, width] or [N, height, width, 1 or 3] of uint8, and `labels` [N] or [N, 1]; or
both for each part, as `train_images`, `train_labels`, `val_…` and `test_…`. Beside each labels may
be `groups` [N] and `weights` [N]; `class_names` [K] are for labels 0 to K - 1.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.dataset import Progress
from hqnn_jax.data.decoding import as_pixels
from hqnn_jax.data.found import Found, FoundImages
from hqnn_jax.data.headers import MODES, Headers
from hqnn_jax.data.medmnist_file import require_ones_and_zeros
from hqnn_jax.data.npz_file import ARCHIVE_ERRORS, ArrayHeader, damaged, open_array, stream_images
from hqnn_jax.data.own.own_set import (
    WHOLE,
    OwnSet,
    classes_of,
    existing_path,
    numbered,
    prepared_pool,
    require_classes,
)
from hqnn_jax.data.pool import ImagePool
from hqnn_jax.errors import DataError

_PREFIXES = {"train": ("train_",), "validation": ("val_", "validation_"), "test": ("test_",)}
_EXPECTED = (
    "expected images and labels, or train_images, train_labels, val_images, … as files of MedMNIST "
    "have them"
)
_AGAIN = "write it again"


@dataclass(frozen=True)
class ArraySource:
    """Arrays by name, wherever they are."""

    where: str
    """For messages."""
    names: frozenset[str]
    header: Callable[[str], ArrayHeader]
    read: Callable[[str], np.ndarray]
    """The whole array."""
    stream: Callable[[str], Iterator[np.ndarray]]
    """Its images, uint8 [height, width, channels], one after the other."""


def load_file(config: DatasetConfig, progress: Progress | None) -> ImagePool:
    """Return the images of the `.npz` file `dataset.path`.

    Raises:
        DataError: a file that cannot be read, or arrays that are not what is expected.
    """
    return prepared_pool(find_in_file(config, progress), config, progress)


def find_in_file(config: DatasetConfig, _: Progress | None) -> OwnSet:
    """Return what is in the `.npz` file `dataset.path`, whose images are not read yet.

    Raises:
        DataError: as `load_file`.
    """
    path = existing_path(config, folder=False)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except ARCHIVE_ERRORS as error:
        raise damaged(path, _AGAIN) from error
    sums = "".join(f"{m.filename}\0{m.file_size}\0{m.CRC}\n" for m in members)
    digest = hashlib.sha256(sums.encode("utf-8", "surrogateescape")).hexdigest()
    source = ArraySource(
        where=str(path),
        names=frozenset(member.filename.removesuffix(".npy") for member in members),
        header=lambda name: _header(path, name),
        read=lambda name: _read(path, name),
        stream=lambda name: _stream(path, name),
    )
    return find_in_arrays(source, config, path, digest)


def find_in_arrays(source: ArraySource, config: DatasetConfig, where: Path, digest: str) -> OwnSet:
    """Return the images and labels of some arrays; nothing of the images is read yet.

    Args:
        source: the arrays.
        config: the set.
        where: the file or folder they are from.
        digest: SHA-256 (hex) over what would be different if any image were.

    Raises:
        DataError: arrays that are missing or not what is expected.
    """
    parts = _parts(source)
    shapes = {part: _image_shape(source, f"{prefix}images") for part, prefix in parts.items()}
    sizes = {part: shape[0] for part, shape in shapes.items()}
    channels = {part: shape[3] for part, shape in shapes.items()}
    if len(set(channels.values())) > 1:
        raise DataError(f"{source.where}: grey and colour images in one set ({channels}); expected "
                        "the same number of channels in every part")  # fmt: skip

    def read(part: str, resolution: int) -> Iterator[Found]:
        for image in source.stream(f"{parts[part]}images"):
            yield _resized(image, resolution), ()

    find_labels = _several_labels if config.task_name == "multilabel" else _labels
    class_names, labels = find_labels(source, parts, sizes)
    weights = _beside(source, parts, sizes, "weights")
    groups = _beside(source, parts, sizes, "groups")
    return OwnSet(
        found=FoundImages(
            name=config.name,
            where=where,
            files=tuple(f"{part}/{k}" for part, size in sizes.items() for k in range(size)),
            part_sizes=sizes,
            num_channels=next(iter(channels.values())),
            digest=digest,
            read=read,
            headers=_headers(shapes),
        ),
        class_names=class_names,
        labels=labels,
        groups=None if groups is None else numbered([str(group) for group in groups.tolist()]),
        weights=None if weights is None else _positive(source, weights),
    )


def _headers(shapes: Mapping[str, tuple[int, int, int, int]]) -> Headers:
    rows = [
        (MODES.index("L" if channels == 1 else "RGB"), width, height)
        for number, height, width, channels in shapes.values()
        for _ in range(number)
    ]
    return Headers(np.array(rows, np.int32))


def _resized(image: np.ndarray, resolution: int) -> np.ndarray:
    """Return uint8 [height, width, 1 or 3] as a file with the same pixels would be prepared."""
    if image.shape[:2] == (resolution, resolution):
        return image
    grey = image.shape[2] == 1
    shown = PIL.Image.fromarray(image[..., 0] if grey else image)
    return as_pixels(shown, file_mode="L" if grey else "RGB", resolution=resolution)[0]


def _parts(source: ArraySource) -> dict[str, str]:
    """Return part -> the prefix of its arrays."""
    if "images" in source.names:
        return {WHOLE: ""}
    parts = {
        part: prefix
        for part, prefixes in _PREFIXES.items()
        for prefix in prefixes
        if f"{prefix}images" in source.names
    }
    if "train" not in parts or len(parts) < 2:
        found = ", ".join(sorted(source.names)) or "none"
        raise DataError(f"{source.where}: found the arrays {found:.200}; {_EXPECTED}")
    return parts


def _image_shape(source: ArraySource, name: str) -> tuple[int, int, int, int]:
    """Return number, height, width and channels of an array of images."""
    shape, dtype = source.header(name)
    where, found = f"{source.where}: {name}", f"found {dtype} {list(shape)}"
    expected = "[N, height, width] or [N, height, width, 1 or 3]"
    if len(shape) == 3:
        shape = (*shape, 1)
    if len(shape) > 4 or (len(shape) == 4 and shape[3] not in (1, 3)):
        raise DataError(
            f"{where}: {found}, volumes or stacks of images; expected {expected}: give slices, or "
            "the channels last"
        )
    if len(shape) < 3:
        raise DataError(f"{where}: {found}; expected images {expected}")
    if dtype != np.uint8:
        raise DataError(f"{where}: {found}; expected uint8, from 0 (black) to 255; convert it")
    if not all(shape):
        raise DataError(f"{where}: {found}; expected at least one image and one pixel")
    number, height, width, channels = shape
    return number, height, width, channels


def _labels(
    source: ArraySource, parts: Mapping[str, str], sizes: Mapping[str, int]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the class names and the number of each image's class."""
    labels = _beside(source, parts, sizes, "labels")
    if labels is None:
        raise DataError(f"{source.where}: no array {next(iter(parts.values()))}labels; {_EXPECTED}")
    where = f"{source.where}: labels"
    given = _class_names(source)
    if labels.dtype.kind in "US":
        names, numbers = classes_of([str(label) for label in labels.tolist()])
        if given is not None and not set(names) <= set(given):
            odd = sorted(set(names) - set(given))[0]
            raise DataError(f"{where}: {odd!r} is none of class_names: {', '.join(given)}")
        if given is not None:
            numbers = np.array([given.index(name) for name in names], np.int32)[numbers]
    elif labels.dtype.kind not in "iub":
        raise DataError(f"{where}: found {labels.dtype}; expected whole numbers or names")
    elif given is not None:
        outside = labels[(labels < 0) | (labels >= len(given))]
        if outside.size:
            raise DataError(f"{where}: {outside[0]} is outside 0 to {len(given) - 1}, which "
                            "class_names are for")  # fmt: skip
        names, numbers = given, labels.astype(np.int32)
    else:
        names, numbers = classes_of([str(int(label)) for label in labels.tolist()])
    names = given or names
    require_classes(names, where)
    return names, numbers


def _several_labels(
    source: ArraySource, parts: Mapping[str, str], sizes: Mapping[str, int]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the labels and, for each image, 1 or 0 for each of them."""
    found = []
    for part, prefix in parts.items():
        name = f"{prefix}labels"
        if name not in source.names:
            raise DataError(f"{source.where}: no array {name}; {_EXPECTED}")
        array = source.read(name)
        if array.ndim != 2:
            raise DataError(
                f"{source.where}: {name}: found {array.dtype} {list(array.shape)}; expected 1 or 0 "
                "[N, number of labels]"
            )
        number = array.shape[1]
        labels = require_ones_and_zeros(array, (sizes[part], number), f"{source.where}: {name}")
        found.append(labels)
    numbers = {labels.shape[1] for labels in found}
    names = _class_names(source) or tuple(map(str, range(max(numbers))))
    if numbers != {len(names)}:
        raise DataError(
            f"{source.where}: labels: found {' and '.join(map(str, sorted(numbers)))} labels an "
            f"image; expected {len(names)}"
        )
    require_classes(names, f"{source.where}: labels")
    return names, np.concatenate(found)


def _class_names(source: ArraySource) -> tuple[str, ...] | None:
    if "class_names" not in source.names:
        return None
    names = tuple(str(name) for name in source.read("class_names").ravel().tolist())
    if len(set(names)) < len(names):
        raise DataError(f"{source.where}: class_names: a name is there twice; expected different "
                        "ones")  # fmt: skip
    return names


def _beside(
    source: ArraySource, parts: Mapping[str, str], sizes: Mapping[str, int], what: str
) -> np.ndarray | None:
    """Return an array of one value for each image, all parts after each other; None without it."""
    names = {part: f"{prefix}{what}" for part, prefix in parts.items()}
    present = [name for name in names.values() if name in source.names]
    if not present:
        return None
    if len(present) < len(names):
        missing = next(name for name in names.values() if name not in source.names)
        raise DataError(f"{source.where}: {present[0]} is there, but no {missing}; expected both")
    values = {part: source.read(name) for part, name in names.items()}
    for part, value in values.items():
        if value.shape not in ((sizes[part],), (sizes[part], 1)):
            raise DataError(
                f"{source.where}: {names[part]}: found {value.dtype} {list(value.shape)}; expected "
                f"one value for each of {sizes[part]:,} images{_hint(what, value)}"
            )
    return np.concatenate([value.reshape(-1) for value in values.values()])


def _hint(what: str, value: np.ndarray) -> str:
    several = what == "labels" and value.ndim == 2
    return ", or dataset.task=multilabel for several labels an image" if several else ""


def _positive(source: ArraySource, weights: np.ndarray) -> np.ndarray:
    if weights.dtype.kind not in "fiu" or not ((weights > 1e-30) & (weights < 1e30)).all():
        raise DataError(f"{source.where}: weights: expected positive numbers")
    return weights.astype(np.float32)


def _header(path: Path, name: str) -> ArrayHeader:
    with open_array(path, name, _EXPECTED, _AGAIN) as (_, header):
        return header


def _read(path: Path, name: str) -> np.ndarray:
    with open_array(path, name, _EXPECTED, _AGAIN) as (file, header):
        content = file.read()
        return np.frombuffer(content, header.dtype).reshape(header.shape)


def _stream(path: Path, name: str) -> Iterator[np.ndarray]:
    number, *shape = _header(path, name).shape
    height, width, channels = (*shape, 1)[:3]
    return stream_images(path, name, (height, width, channels), number, _AGAIN)


def arrays_in_memory(arrays: Mapping[str, Any], where: str) -> ArraySource:
    """Return arrays that a program has given.

    Raises:
        DataError: an array of images of different sizes.
    """
    try:
        held = {name: np.asarray(value) for name, value in arrays.items()}
    except ValueError as error:  # NumPy, of sequences of different lengths
        raise DataError(f"{where}: images of mixed size ({error}); expected arrays") from None
    for name, array in held.items():
        if array.dtype.hasobject:
            raise DataError(f"{where}: {name}: found Python objects, or images of mixed size; "
                            "expected one array of numbers")  # fmt: skip

    def stream(name: str) -> Iterator[np.ndarray]:
        array = held[name]
        yield from array if array.ndim == 4 else array[..., None]

    return ArraySource(
        where=where,
        names=frozenset(held),
        header=lambda name: ArrayHeader(held[name].shape, held[name].dtype),
        read=lambda name: held[name],
        stream=stream,
    )
