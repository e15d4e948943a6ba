"""An image classification dataset: three splits and what is known about them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Int32, UInt8

from hqnn_jax.data.leakage import SharedImages, image_digests, shared_images
from hqnn_jax.data.records import RecordImages
from hqnn_jax.errors import DataError

SPLIT_NAMES = ("train", "validation", "test")

Progress = Callable[[str, int, int], None]
"""`progress(what, done, total)`: what is under way, how much is done, and of how much (0: unknown).
"""


@dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one split."""

    images: UInt8[np.ndarray | RecordImages, "num_images height width channels"]
    """In memory, or on disk and read by index."""
    labels: Int32[np.ndarray, "num_images *num_labels"]
    """The class of each image; of a multi-label set, 1 or 0 for each label."""
    weights: Float32[np.ndarray, " num_images"] | None = None
    """Of each image in the training loss; None for the same."""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def at(self, indices: Int[np.ndarray, " chosen"]) -> tuple[np.ndarray, ...]:
        """Read images, with their labels and, where there are any, their weights."""
        found = (self.images[indices], self.labels[indices])
        return found if self.weights is None else (*found, self.weights[indices])


@dataclass(frozen=True, eq=False)
class ImageDataset:
    """Three splits of one image classification task."""

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    """Name of class k at position k; labels are 0 … len(class_names) - 1."""
    licence: str
    citation: str
    synthetic: bool
    """True where the images were drawn by a program; such figures say nothing about patients."""
    fingerprint: str
    """SHA-256 (hex) over shape, bytes and labels of the images of the three splits, in order."""
    shared_images: tuple[SharedImages, ...]
    """Byte-identical images for each pair of splits."""
    warnings: tuple[str, ...] = ()
    """What a reader of any figure on this dataset has to know, one sentence each."""
    files: Mapping[str, tuple[str, ...]] | None = None
    """Split -> what each image is in the published set: its path or `part/position`, in the order
    of the split. None where the split is the published one, in the published order."""
    streams: bool = False
    """Whether images are to be read batch by batch while training, not put on the device."""
    url: str = ""
    description: str = ""

    @property
    def multilabel(self) -> bool:
        """Whether an image has any number of labels, not one class."""
        return self.train.labels.ndim == 2

    @property
    def num_classes(self) -> int:
        """Number of classes of the task."""
        return len(self.class_names)

    def splits(self) -> dict[str, Split]:
        """Return the splits by name, in the order train, validation, test."""
        return {name: getattr(self, name) for name in SPLIT_NAMES}

    def split_record(self) -> dict[str, Any]:
        """Return which image went where, for a JSON file beside the results."""
        files = None
        if self.files is not None:
            files = {name: list(paths) for name, paths in self.files.items()}
        return {"dataset": self.name, "fingerprint": self.fingerprint, "files": files}


def make_dataset(
    splits: Mapping[str, Split],
    *,
    name: str,
    class_names: tuple[str, ...],
    licence: str,
    citation: str,
    synthetic: bool,
    digests: Mapping[str, Sequence[bytes]] | None = None,
    warnings: tuple[str, ...] = (),
    files: Mapping[str, tuple[str, ...]] | None = None,
    streams: bool = False,
    url: str = "",
    description: str = "",
) -> ImageDataset:
    """Return the dataset of these splits with its fingerprint and leakage counts.

    Args:
        splits: exactly `train`, `validation` and `test`.
        name: name of the dataset in the configuration.
        class_names: one name per class.
        licence: licence of the images.
        citation: whom to cite.
        synthetic: whether a program drew the images.
        digests: `image_digests` of every split, where they are known.
        warnings: see `ImageDataset`.
        files: see `ImageDataset`.
        streams: see `ImageDataset`.
        url: where more is said about the images.
        description: of the images.
    """
    ordered = {key: splits[key] for key in SPLIT_NAMES}
    if digests is None:
        digests = {key: image_digests(split.images) for key, split in ordered.items()}
    digests = {key: digests[key] for key in SPLIT_NAMES}
    return ImageDataset(
        name=name,
        **ordered,
        class_names=class_names,
        licence=licence,
        citation=citation,
        synthetic=synthetic,
        fingerprint=_fingerprint(ordered, digests),
        shared_images=shared_images(digests, {key: split.labels for key, split in ordered.items()}),
        warnings=warnings,
        files=files,
        streams=streams,
        url=url,
        description=description,
    )


def _fingerprint(splits: Mapping[str, Split], digests: Mapping[str, Sequence[bytes]]) -> str:
    digest = hashlib.sha256()
    for name, split in splits.items():
        digest.update(f"{split.images.dtype.str}{split.images.shape}".encode())
        digest.update(b"".join(digests[name]))
        digest.update(np.ascontiguousarray(split.labels).data)
    return digest.hexdigest()


def class_counts(
    labels: Int[np.ndarray, "num_images *num_labels"], num_classes: int
) -> Int[np.ndarray, " num_classes"]:
    """Return how many images have each class, or each label of a multi-label set."""
    if labels.ndim == 2:
        return labels.sum(axis=0, dtype=np.int64)
    return np.bincount(labels, minlength=num_classes)


def class_weights(
    labels: Int[np.ndarray, "num_images *num_labels"], num_classes: int
) -> Float32[np.ndarray, " num_classes"]:
    """Return inverse-frequency class weights N / (K·n_k) (radhi2025).

    They average to 1 over the images, so a weighted loss keeps its scale. Of a multi-label set
    they are (N - n_k) / n_k, the weight at which images with and without a label count the same.

    Args:
        labels: the training labels, 0 … num_classes - 1, or 1 and 0 for each label.
        num_classes: K.

    Raises:
        DataError: where a class has no image, so that its weight would be infinite.
    """
    counts = class_counts(labels, num_classes)
    if len(counts) > num_classes or not counts.all():
        raise DataError(
            f"class weights: expected images of every class 0 to {num_classes - 1} in the training "
            f"split, found counts {counts.tolist()}; set training.class_weights=none"
        )
    if labels.ndim == 2:
        return ((len(labels) - counts) / counts).astype(np.float32)
    return (len(labels) / (num_classes * counts)).astype(np.float32)
