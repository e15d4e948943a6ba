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
from hqnn_jax.errors import DataError, RunFolderError
from hqnn_jax.files import cache_dir, read_cached, write_cached

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

    def __len__(self) -> int:
        """Return the number of landmarks."""
        return len(self.orientations)

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
    except (RuntimeError, IndexError):  # scikit-image: there is none, or no room for one
        return Landmarks(np.zeros((0, 128), np.float32), np.zeros(0))
    shown = scipy.ndimage.binary_erosion(image.max(axis=-1) > _FILL, iterations=_FILL_MARGIN)
    rows, columns = sift.keypoints.T
    kept = shown[rows, columns]
    descriptors = sift.descriptors[kept].astype(np.float32)
    lengths = np.linalg.norm(descriptors, axis=1, keepdims=True)
    return Landmarks(descriptors / np.maximum(lengths, 1e-6), sift.orientations[kept])


def count_matches(first: Landmarks, second: Landmarks) -> int:
    """Return how many landmarks match if the second image is a copy of the first or its mirror."""
    if not (len(first) and len(second)):
        return 0
    return max(
        _matches(view.descriptors @ second.descriptors.T, view.orientations, second.orientations)
        for view in (first, first.mirrored())
    )


def _matches(
    cosines: Float32[np.ndarray, "first second"],
    first: Float[np.ndarray, " first"],
    second: Float[np.ndarray, " second"],
) -> int:
    """Count mutual best matches whose rotation is the same, up to what shearing changes."""
    best = cosines.argmax(axis=1)
    here = np.arange(len(best))
    kept = (cosines[here, best] > _MIN_COSINE) & (cosines.argmax(axis=0)[best] == here)
    turns = np.sort((second[best[kept]] - first[kept]) % (2 * np.pi))
    if not len(turns):
        return 0
    circle = np.concatenate([turns, turns + 2 * np.pi])
    ends = np.searchsorted(circle, turns + _SAME_ROTATION, side="right")
    return int((ends - np.arange(len(turns))).max())


class _Exemplars:
    """Images that later ones are compared with, their landmarks in one array."""

    def __init__(self) -> None:
        self._numbers: list[int] = []
        self._ends = [0]
        self._descriptors = np.empty((1024, 128), np.float32)
        self._orientations = np.empty(1024)

    def add(self, number: int, image: Landmarks) -> None:
        start, end = self._ends[-1], self._ends[-1] + len(image)
        if end > len(self._orientations):
            self._descriptors = np.resize(self._descriptors, (2 * end, 128))
            self._orientations = np.resize(self._orientations, 2 * end)
        self._descriptors[start:end] = image.descriptors
        self._orientations[start:end] = image.orientations
        self._numbers.append(number)
        self._ends.append(end)

    def copies(self, image: Landmarks) -> list[int]:
        """Return the numbers of the exemplars that `image` is a copy of."""
        if not self._numbers:
            return []
        lengths = np.minimum(np.diff(self._ends), len(image))
        needed = np.clip(_SHARE_OF_LANDMARKS * lengths, _FEWEST_MATCHES, _ENOUGH_MATCHES)
        found = set()
        for view in (image, image.mirrored()):
            cosines = view.descriptors @ self._descriptors[: self._ends[-1]].T
            highest = np.maximum.reduceat(cosines, self._ends[:-1], axis=1)
            # Enough landmarks that look alike, before it is asked whether they fit together.
            for k in np.flatnonzero((highest > _MIN_COSINE).sum(axis=0) >= needed):
                own = slice(self._ends[k], self._ends[k + 1])
                second = self._orientations[own]
                if _matches(cosines[:, own], view.orientations, second) >= needed[k]:
                    found.add(self._numbers[k])
        return sorted(found)


def group_copies(images: Sequence[Landmarks]) -> Int[np.ndarray, " num_images"]:
    """Return a number per image that is the same for copies of one photograph.

    Each image is compared with earlier ones that stand for the rest: those that matched fewer than
    four of these when it was their turn.

    Args:
        images: the landmarks of each image.
    """
    exemplars = _Exemplars()
    links: list[tuple[int, int]] = []
    for number, image in enumerate(images):
        if len(image) < _FEWEST_MATCHES:
            continue  # it can match nothing
        copies = exemplars.copies(image)
        links += [(number, other) for other in copies]
        if len(copies) < _EXEMPLARS:
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
        DataError: an image that cannot be read, or a cache folder that cannot be written.
    """
    path = cache_dir() / "source_images" / f"{listing.source.name}_{_VERSION}_{listing.digest}.npy"
    kept = read_cached(path)
    if kept is not None and kept.shape == listing.labels.shape and kept.dtype == np.int64:
        return kept
    groups = np.zeros(len(listing.files), np.int64)
    done = 0
    for label in np.unique(listing.labels):
        members = np.flatnonzero(listing.labels == label)
        # Those of one class at a time: they take 40 kB an image.
        landmarks = _landmarks_of(listing, members.tolist(), done, progress)
        done += len(members)
        if progress is not None:
            progress("finding copies", int(label), len(listing.source.class_names))
        groups[members] = groups.max() + 1 + group_copies(landmarks)
    try:
        write_cached(path, groups)
    except RunFolderError as error:
        raise DataError(
            f"{path.parent}: cannot keep the groups of copies "
            f"({getattr(error.__cause__, 'strerror', 0) or error.__cause__}); free space, or set "
            "HQNN_CACHE_DIR to a folder that can be written and has room"
        ) from error
    return groups


def _landmarks_of(
    listing: Listing, numbers: Sequence[int], done: int, progress: Progress | None
) -> list[Landmarks]:
    """Return the landmarks of some files; `done` files were looked at before."""

    def landmarks(number: int) -> Landmarks:
        path = listing.root / listing.files[number]
        return find_landmarks(decode_image(path, file_mode="RGB", resolution=None)[0])

    found: list[Landmarks] = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for start in range(0, len(numbers), _FILES_AT_ONCE):
            found += threads.map(landmarks, numbers[start : start + _FILES_AT_ONCE])
            if progress is not None:
                progress("finding landmarks", done + len(found), len(listing.files))
    return found
