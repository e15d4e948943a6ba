"""Which images were augmented from the same photograph, found from their pixels.

Blood Cell Images holds about 35 to 155 rotated, flipped, shifted and sheared copies of each
photograph. Its file names `_<n>_<m>.jpeg` do not tell the photograph: images with the same n (or m)
show different cells, and are no more alike than any others (n counts within a shuffled pass over
the photographs, m is random). Copies show the same red cells, though, so that landmarks match.

Landmarks are SIFT features (Lowe, "Distinctive image features from scale-invariant keypoints",
IJCV 60, 2004; scikit-image's), matched as they are and mirrored. Two images are linked by 12 mutual
best matches that agree about the rotation, or, in images of few landmarks, by 7 that are two fifths
of them; groups are what links connect. In the test part, whose photographs are published too
(TEST_SIMPLE), 97 of 100 pairs of copies have 12 such matches or more (half of them more than 34),
other pairs at most 8. What is linked across the official parts, or from two photographs, shows the
same cell when looked at: the official test part is not free of cells that are trained on.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import PIL.Image
import scipy.ndimage
import scipy.sparse.csgraph
from jaxtyping import Float, Float32, Int, UInt8
from skimage.feature import SIFT

from hqnn_jax.data.dataset import Progress
from hqnn_jax.data.decoding import decode_image
from hqnn_jax.data.folder_listing import Listing
from hqnn_jax.files import cache_dir, write_atomically

_ENOUGH_MATCHES = 12
_FEWEST_MATCHES = 7
_SHARE_OF_LANDMARKS = 0.4
_MIN_COSINE = 0.85
_SAME_ROTATION = np.deg2rad(30)
_FILL = 13  # augmentation fills what it uncovers with black, JPEG makes it nearly black
_FILL_MARGIN = 6  # pixels; landmarks nearer to the filled area are its edge
_EXEMPLARS = 4
_FILES_AT_ONCE = 64
_VERSION = 1
"""Raised whenever the same files would give other groups."""


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points of one image that can be found again in a copy of it."""

    descriptors: Float32[np.ndarray, "num_landmarks 128"]
    """Of unit length."""
    orientations: Float[np.ndarray, " num_landmarks"]
    """In radians."""

    def mirrored(self) -> Landmarks:
        """Return the landmarks of the mirror image."""
        # 4 x 4 places with 8 directions each: one axis of places and the directions turn round.
        cells = self.descriptors.reshape(-1, 4, 4, 8)[:, :, ::-1]
        turned = cells[..., -np.arange(8) % 8].reshape(-1, 128)
        return Landmarks(turned, -self.orientations)


def find_landmarks(image: UInt8[np.ndarray, "height width 3"]) -> Landmarks:
    """Return the landmarks of an image, those at black filled-in borders left out."""
    sift = SIFT(upsampling=1)
    grey = np.asarray(PIL.Image.fromarray(image).convert("L"), np.float64) / 255
    try:
        sift.detect_and_extract(grey)
    except RuntimeError:  # scikit-image, where there is none
        return Landmarks(np.zeros((0, 128), np.float32), np.zeros(0))
    shown = scipy.ndimage.binary_erosion(image.max(axis=-1) > _FILL, iterations=_FILL_MARGIN)
    rows, columns = sift.keypoints.T
    kept = shown[rows, columns]
    descriptors = sift.descriptors[kept].astype(np.float32)
    lengths = np.linalg.norm(descriptors, axis=1, keepdims=True)
    return Landmarks(descriptors / np.maximum(lengths, 1e-6), sift.orientations[kept])


def are_copies(first: Landmarks, second: Landmarks) -> bool:
    """Return whether two images show the same cells, mirrored or not."""
    fewest = min(len(first.orientations), len(second.orientations))
    needed = np.clip(_SHARE_OF_LANDMARKS * fewest, _FEWEST_MATCHES, _ENOUGH_MATCHES)
    return count_matches(first, second) >= needed


def count_matches(first: Landmarks, second: Landmarks) -> int:
    """Return how many landmarks match if the second image is a copy of the first or its mirror."""
    return max(_matches(first, second), _matches(first.mirrored(), second))


def _matches(first: Landmarks, second: Landmarks) -> int:
    if not (len(first.orientations) and len(second.orientations)):
        return 0
    cosines = first.descriptors @ second.descriptors.T
    best = cosines.argmax(axis=1)
    here = np.arange(len(best))
    kept = (cosines[here, best] > _MIN_COSINE) & (cosines.argmax(axis=0)[best] == here)
    turns = np.sort((second.orientations[best[kept]] - first.orientations[kept]) % (2 * np.pi))
    if not len(turns):
        return 0
    circle = np.concatenate([turns, turns + 2 * np.pi])
    ends = np.searchsorted(circle, turns + _SAME_ROTATION, side="right")
    return int((ends - np.arange(len(turns))).max())


class _Exemplars:
    """Images that later ones are compared with, their landmarks in one array."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._starts: list[int] = []
        self._size = 0
        self._descriptors = np.empty((1024, 128), np.float32)

    def add(self, number: int, image: Landmarks) -> None:
        end = self._size + len(image.descriptors)
        if end > len(self._descriptors):
            larger = np.empty((2 * end, 128), np.float32)
            larger[: self._size] = self._descriptors[: self._size]
            self._descriptors = larger
        self._descriptors[self._size : end] = image.descriptors
        self.numbers.append(number)
        self._starts.append(self._size)
        self._size = end

    def similar(self, image: Landmarks) -> list[int]:
        """Return the exemplars in which enough landmarks have a similar one, in any direction."""
        if not self.numbers:
            return []
        found = np.zeros(len(self.numbers), bool)
        for view in (image, image.mirrored()):
            cosines = view.descriptors @ self._descriptors[: self._size].T
            highest = np.maximum.reduceat(cosines, self._starts, axis=1)
            found |= (highest > _MIN_COSINE).sum(axis=0) >= _FEWEST_MATCHES
        return [self.numbers[k] for k in np.flatnonzero(found)]


def group_copies(images: Sequence[Landmarks]) -> Int[np.ndarray, " num_images"]:
    """Return a number per image that is the same for copies of one photograph.

    Each image is compared with earlier ones that stand for the rest: those that matched fewer than
    four of these when it was their turn.

    Args:
        images: the landmarks of each image.
    """
    exemplars = _Exemplars()
    links = []
    for number, image in enumerate(images):
        if len(image.descriptors) < _FEWEST_MATCHES:
            continue  # it can match nothing
        matching = [other for other in exemplars.similar(image) if are_copies(image, images[other])]
        links += [(number, other) for other in matching]
        if len(matching) < _EXEMPLARS:
            exemplars.add(number, image)
    rows, columns = np.array(links, np.int64).reshape(-1, 2).T
    graph = scipy.sparse.coo_array(
        (np.ones(len(rows), np.int8), (rows, columns)), shape=(len(images), len(images))
    )
    groups: np.ndarray = scipy.sparse.csgraph.connected_components(graph, directed=False)[1]
    return groups.astype(np.int64)


def source_groups(
    listing: Listing, progress: Progress | None = None
) -> Int[np.ndarray, " num_files"]:
    """Return a number per file of a listing that is the same for copies of one photograph.

    Copies are looked for within a class, in all parts. The result is kept in
    `$HQNN_CACHE_DIR/source_images`: finding the landmarks of an image takes 60 ms.

    Args:
        listing: the files.
        progress: told about the files done.

    Raises:
        DataError: an image that cannot be read.
    """
    path = cache_dir() / "source_images" / f"{listing.source.name}_{_VERSION}_{listing.digest}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        groups: np.ndarray = np.load(path, allow_pickle=False)
        if groups.shape == listing.labels.shape:
            return groups
    landmarks = _all_landmarks(listing, progress)
    groups = np.zeros(len(landmarks), np.int64)
    for label in np.unique(listing.labels):
        if progress is not None:
            progress("finding copies", int(label), len(listing.source.class_names))
        members = np.flatnonzero(listing.labels == label)
        found = group_copies([landmarks[k] for k in members])
        groups[members] = groups.max() + 1 + found
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.save(buffer, groups, allow_pickle=False)
    write_atomically(path, buffer.getvalue())
    return groups


def _all_landmarks(listing: Listing, progress: Progress | None) -> list[Landmarks]:
    def landmarks(file: str) -> Landmarks:
        return find_landmarks(
            decode_image(listing.root / file, file_mode="RGB", resolution=None)[0]
        )

    found: list[Landmarks] = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(listing.files), _FILES_AT_ONCE):
            found += threads.map(landmarks, listing.files[start : start + _FILES_AT_ONCE])
            if progress is not None:
                progress("finding landmarks", len(found), len(listing.files))
    return found
