"""Byte-identical images across the splits of a dataset.

An image of the test split that was also trained on makes a test figure too good, so every dataset
carries these counts and every report can show them.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, UInt8


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


def shared_images(
    images: Mapping[str, UInt8[np.ndarray, "_ height width channels"]],
    labels: Mapping[str, Int32[np.ndarray, " _"]],
) -> tuple[SharedImages, ...]:
    """Count byte-identical images for every pair of splits, in the order of `images`.

    Args:
        images: split name -> images; all splits have the same image shape.
        labels: split name -> one label per image.
    """
    digests = {name: _digests(array) for name, array in images.items()}
    return tuple(
        _compare(first, second, digests, labels)
        for first, second in itertools.combinations(digests, 2)
    )


def _digests(images: UInt8[np.ndarray, "_ height width channels"]) -> list[bytes]:
    return [hashlib.sha256(image.data).digest() for image in np.ascontiguousarray(images)]


def _compare(
    first: str,
    second: str,
    digests: Mapping[str, list[bytes]],
    labels: Mapping[str, Int32[np.ndarray, " _"]],
) -> SharedImages:
    labels_in_first: dict[bytes, set[int]] = {}
    for digest, label in zip(digests[first], labels[first].tolist(), strict=True):
        labels_in_first.setdefault(digest, set()).add(label)
    found = [
        labels_in_first[digest] != {label}
        for digest, label in zip(digests[second], labels[second].tolist(), strict=True)
        if digest in labels_in_first
    ]
    return SharedImages(first, second, images=len(found), different_labels=sum(found))
