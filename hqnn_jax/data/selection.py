"""Which training images a seed sees, and with which labels, in studies of set size and label noise.

Both draws are nested, so that a curve over set size or noise changes one thing at a time: fewer
images are part of more images, and an image whose label is wrong at 10 % noise has the same wrong
label at 20 %. Neither draw depends on the other, nor on anything else that is random in a run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int32

from hqnn_jax import keys
from hqnn_jax.errors import DataError


def training_rows(
    labels: Int[np.ndarray, "num_images *num_labels"],
    per_class: int | None,
    seed: int,
    class_names: Sequence[str],
) -> Int32[np.ndarray, " num_rows"]:
    """Return the training images of a seed: `per_class` of each class, drawn without replacement.

    For the same seed, the rows of a smaller number are part of those of a larger one.

    Args:
        labels: the true classes, 0 … len(class_names) - 1; several labels an image for None only.
        per_class: images of each class, at least 1; None for all images.
        seed: of the run, not negative.
        class_names: name of class k at position k.

    Returns:
        Increasing positions in `labels`.

    Raises:
        DataError: a class that has fewer images.
    """
    if per_class is None:
        return np.arange(len(labels), dtype=np.int32)
    chosen = []
    for number, name in enumerate(class_names):
        rows = np.flatnonzero(labels == number)
        if len(rows) < per_class:
            raise DataError(
                f"training.images_per_class: {per_class} asked for, but class {name!r} has "
                f"{len(rows)} training images; {_advice(labels, len(class_names))}"
            )
        chosen.append(keys.training_rows(seed, number).permutation(rows)[:per_class])
    return np.sort(np.concatenate(chosen)).astype(np.int32)


def _advice(labels: Int[np.ndarray, " num_images"], num_classes: int) -> str:
    fewest = int(np.bincount(labels, minlength=num_classes)[:num_classes].min())
    return f"ask for at most {fewest}" if fewest else "choose a dataset with images of every class"


def noisy_labels(
    labels: Int[np.ndarray, "num_images *num_labels"], share: float, num_classes: int, seed: int
) -> Int32[np.ndarray, "num_images *num_labels"]:
    """Return the labels with a share of them wrong: symmetric noise.

    Exactly round(share · num_images) labels, of images drawn uniformly, are replaced by one of the
    other classes with equal probability (Patrini et al., 2017, arXiv 1609.03683, section 5). For
    the same seed and labels, a larger share changes the images of a smaller one to the same wrong
    classes, and some more.

    Args:
        labels: the true classes, 0 … num_classes - 1, of all training images (before
            `training_rows`, so that an image's label does not depend on which others are used).
        share: in [0, 1]; 0 returns the very labels.
        num_classes: at least 2.
        seed: of the run, not negative.

    Raises:
        DataError: noise is asked for, but there is no other class to replace a label by.
    """
    labels = labels.astype(np.int32, copy=False)
    if share == 0:
        return labels
    if num_classes < 2:
        raise DataError(
            f"training.label_noise: {share:g} asked for, but the dataset has {num_classes} class; "
            "expected at least 2: set training.label_noise to 0"
        )
    rng = keys.label_noise(seed)
    wrong = rng.permutation(len(labels))[: round(share * len(labels))]
    # A step of 1 … num_classes - 1 around the circle of classes never ends where it began.
    steps = rng.integers(1, num_classes, len(labels), dtype=np.int32)
    noisy = labels.copy()
    noisy[wrong] = (labels[wrong] + steps[wrong]) % num_classes
    return noisy
