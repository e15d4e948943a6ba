"""All images of a set before they are divided, and the task made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Int32, UInt8

from hqnn_jax.data.headers import Headers
from hqnn_jax.data.records import RecordImages, take
from hqnn_jax.errors import ConfigurationError, DataError
from hqnn_jax.text import did_you_mean


@dataclass(frozen=True, eq=False)
class ImagePool:
    """Every image of a set, in the order of publication."""

    name: str
    images: UInt8[np.ndarray | RecordImages, "num_images height width channels"]
    labels: Int32[np.ndarray, "num_images *num_labels"]
    """The class of each image; of a multi-label set, 1 or 0 for each label."""
    class_names: tuple[str, ...]
    digests: tuple[bytes, ...]
    """SHA-256 of the bytes of each image."""
    parts: Int32[np.ndarray, " num_images"]
    """Number of the official part each image belongs to."""
    part_names: tuple[str, ...]
    files: tuple[str, ...]
    """What each image is in the published set: its path, or `part/position`."""
    licence: str
    citation: str
    synthetic: bool = False
    groups: Int[np.ndarray, " num_images"] | None = None
    """Images of one patient or source image have the same number; None where nothing is known."""
    weights: Float32[np.ndarray, " num_images"] | None = None
    """Of each image in the training loss; None for the same."""
    warnings: tuple[str, ...] = ()
    """What a reader of any figure on these images has to know, one sentence each."""
    headers: Headers | None = None
    """Kind and size of each image before it was stored, where they are known."""
    url: str = ""
    description: str = ""

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def select(self, indices: Int[np.ndarray, " num_selected"]) -> ImagePool:
        """Return the pool of the images at `indices`."""
        return dataclasses.replace(
            self,
            images=take(self.images, indices),
            labels=self.labels[indices],
            digests=tuple(self.digests[index] for index in indices.tolist()),
            parts=self.parts[indices],
            files=tuple(self.files[index] for index in indices.tolist()),
            groups=None if self.groups is None else self.groups[indices],
            weights=None if self.weights is None else self.weights[indices],
            headers=None if self.headers is None else self.headers.select(indices),
        )

    def with_warnings(self, *warnings: str) -> ImagePool:
        """Return the pool with more warnings."""
        return dataclasses.replace(self, warnings=(*self.warnings, *warnings))


def part_numbers(part_sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return `parts` and `part_names` of a pool whose images come part after part."""
    return {
        "part_names": tuple(part_sizes),
        "parts": np.repeat(np.arange(len(part_sizes), dtype=np.int32), list(part_sizes.values())),
    }


def binary_task(pool: ImagePool, positive_labels: Sequence[int]) -> ImagePool:
    """Return the pool with the given labels as class 1 and all others as class 0.

    Args:
        pool: a multi-class set.
        positive_labels: labels of the new class 1 (hqcnn2025 uses {1, 2} for BloodMNIST).

    Raises:
        ConfigurationError: a label that does not exist, or a class that would be empty.
    """
    positive = sorted(set(positive_labels))
    last = len(pool.class_names) - 1
    for label in positive:
        if not 0 <= label <= last:
            raise ConfigurationError(
                f"dataset.positive_labels: {label} is not a label of {pool.name}; expected "
                f"numbers from 0 to {last}"
            )
    if not 0 < len(positive) <= last:
        raise ConfigurationError(
            f"dataset.positive_labels: expected between 1 and {last} of the {last + 1} labels of "
            f"{pool.name}, found {len(positive)}; use null to keep the classes"
        )
    return dataclasses.replace(
        pool,
        labels=np.isin(pool.labels, positive).astype(np.int32),
        class_names=("other", " or ".join(pool.class_names[label] for label in positive)),
    )


def check_label_map(
    label_map: Mapping[str, Sequence[str]], class_names: Sequence[str], name: str
) -> None:
    """Raise ConfigurationError where a label map names a class the set does not have.

    Args:
        label_map: new class -> classes of the set.
        class_names: the classes of the set.
        name: the set, for the message.
    """
    for old in (old for names in label_map.values() for old in names):
        if old not in class_names:
            # Sets spell the same cells in capitals or not.
            hint = did_you_mean(old, class_names, any_case=True)
            raise ConfigurationError(
                f"dataset.label_map: {old!r} is not a class of {name}; {hint}expected some of: "
                f"{', '.join(class_names)}"
            )


def mapped_task(pool: ImagePool, label_map: Mapping[str, Sequence[str]]) -> ImagePool:
    """Return the images of the classes a label map names, with its new classes.

    Args:
        pool: a multi-class set.
        label_map: new class -> classes of the set, in the order of the new labels.

    Raises:
        ConfigurationError: a class the set does not have.
    """
    check_label_map(label_map, pool.class_names, pool.name)
    new_labels = np.full(len(pool.class_names), -1, np.int32)
    for new, names in enumerate(label_map.values()):
        new_labels[[pool.class_names.index(old) for old in names]] = new
    labels = new_labels[pool.labels]
    selected = dataclasses.replace(pool, labels=labels).select(np.flatnonzero(labels >= 0))
    return dataclasses.replace(selected, class_names=tuple(label_map))


def draw_per_class(pool: ImagePool, images_per_class: int, seed: int) -> ImagePool:
    """Return a random choice of as many images of each class, in the order of the pool.

    With the same seed a smaller choice is part of a larger one.

    Args:
        pool: the task's images.
        images_per_class: how many of each.
        seed: of the choice.

    Raises:
        DataError: a class that has fewer.
    """
    rng = np.random.default_rng(seed)
    chosen = []
    for label, name in enumerate(pool.class_names):
        members = np.flatnonzero(pool.labels == label)
        if len(members) < images_per_class:
            raise DataError(
                f"{pool.name}: class {name!r} has {len(members):,} images; expected at least "
                f"{images_per_class:,}; lower dataset.images_per_class"
            )
        chosen.append(rng.permutation(members)[:images_per_class])
    return pool.select(np.sort(np.concatenate(chosen)))
