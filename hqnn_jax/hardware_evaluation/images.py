"""Choosing the images that are evaluated on a backend."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Integer


def choose_images(
    labels: Integer[np.ndarray, " split"], count: int | None, stratified: bool, seed: int
) -> Int[np.ndarray, " images"]:
    """Return the positions of some images of a split, in ascending order.

    Stratified, classes keep their shares of the split (largest remainders), and every class that
    is in the split has at least one image where there are as many images as classes.

    Args:
        labels: class of every image of the split.
        count: number of images at most; None for all.
        stratified: whether classes keep their shares; otherwise each image is equally likely.
        seed: which images.
    """
    if count is None or count >= len(labels):
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    if not stratified:
        return np.sort(rng.choice(len(labels), count, replace=False))
    chosen = [
        rng.choice(np.flatnonzero(labels == label), number, replace=False)
        for label, number in zip(*_shares(labels, count), strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def _shares(
    labels: Integer[np.ndarray, " split"], count: int
) -> tuple[Integer[np.ndarray, " present"], Int[np.ndarray, " present"]]:
    """Classes that are present, and the number of images of each."""
    present, sizes = np.unique(labels, return_counts=True)
    wanted = count * sizes / sizes.sum()
    numbers = np.floor(wanted).astype(int)
    missing = count - numbers.sum()
    numbers[np.argsort(numbers - wanted, kind="stable")[:missing]] += 1
    if count >= len(present):
        # The largest classes give theirs to those that would have none.
        for place in np.flatnonzero(numbers == 0):
            numbers[np.argmax(numbers)] -= 1
            numbers[place] = 1
    return present, numbers
