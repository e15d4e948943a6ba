"""Byte-identical images within a dataset and across its splits.

An image of the test split that was also trained on makes a test figure too good, so every dataset
carries these counts and every report can show them. Images are compared as they are stored, that
is after resizing.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Int32, UInt8

from hqnn_jax.data.records import RecordImages, chunks

Labels = Int32[np.ndarray, "_ *_"]
"""One label per image, or 1 and 0 for each of several."""


@dataclass(frozen=True)
class SharedImages:
    """How many images of one split also occur, byte for byte, in another."""

    first: str
    """Split that is searched, `train` for example."""
    second: str
    """Split whose images are looked up in `first`, `test` for example."""
    images: int
    """Number of images of `second` that also occur in `first`."""
    different_labels: int
    """Number of those that carry, in `first`, a label other than their own."""


def image_digests(
    images: UInt8[np.ndarray | RecordImages, "num_images height width channels"],
) -> tuple[bytes, ...]:
    """Return the SHA-256 of the bytes of each image, reading images on disk in chunks."""
    return tuple(
        hashlib.sha256(image.data).digest()
        for some in chunks(images)
        for image in np.ascontiguousarray(some)
    )


def shared_images(
    digests: Mapping[str, Sequence[bytes]], labels: Mapping[str, Labels]
) -> tuple[SharedImages, ...]:
    """Count byte-identical images for every pair of splits, in the order of `digests`.

    Args:
        digests: split name -> digest of each image.
        labels: split name -> one label per image.
    """
    return tuple(
        _compare(first, second, digests, labels)
        for first, second in itertools.combinations(digests, 2)
    )


def _compare(
    first: str,
    second: str,
    digests: Mapping[str, Sequence[bytes]],
    labels: Mapping[str, Labels],
) -> SharedImages:
    labels_in_first: dict[bytes, set[Hashable]] = {}
    for digest, label in zip(digests[first], _comparable(labels[first]), strict=True):
        labels_in_first.setdefault(digest, set()).add(label)
    found = [
        labels_in_first[digest] != {label}
        for digest, label in zip(digests[second], _comparable(labels[second]), strict=True)
        if digest in labels_in_first
    ]
    return SharedImages(first, second, images=len(found), different_labels=sum(found))


def _comparable(labels: Labels) -> list[Hashable]:
    """Return the label of each image, or all of its labels, as one value."""
    return [tuple(row) for row in labels.tolist()] if labels.ndim == 2 else labels.tolist()


def same_content(digests: Sequence[bytes]) -> Int[np.ndarray, " num_images"]:
    """Return a number per image that is the same for byte-identical images, counted from 0."""
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(digest, len(numbers)) for digest in digests], np.int64)


def repeated_images(
    digests: Sequence[bytes], labels: Int32[np.ndarray, "num_images *num_labels"]
) -> tuple[int, int]:
    """Count the images that an earlier one of the set equals byte for byte.

    Returns:
        Their number, and the number of those whose label differs from that of the first such image.
    """
    content = same_content(digests)
    first = np.unique(content, return_index=True)[1][content]
    repeated = first != np.arange(len(content))
    other = labels[first] != labels
    return int(repeated.sum()), int((repeated & (other if other.ndim == 1 else other.any(1))).sum())
