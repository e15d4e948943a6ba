"""What is to be known of a dataset before a model is trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.dataset import SPLIT_NAMES, Progress, class_counts
from hqnn_jax.data.leakage import SharedImages, same_content, shared_images
from hqnn_jax.data.loading import divide_pool, load_pool
from hqnn_jax.data.pool import ImagePool
from hqnn_jax.data.splits import Indices, divided_groups
from hqnn_jax.errors import ConfigurationError, DataError

FEW = 10
"""Images of a class in a split below which its figures say little."""
_SHOWN_COPIES = 10


@dataclass(frozen=True, eq=False)
class Findings:
    """A dataset as it would be trained on, and what is odd about it.

    Attributes:
        pool: its images.
        splits: split -> positions in the pool; empty where it cannot be divided.
        problem: why it cannot; empty where it can.
        counts: split, or `all`, -> number of images of each class.
        few: class and split with fewer than `FEW` images, and how many.
        copies: files whose images are the same byte for byte, up to ten lists of them.
        shared: byte-identical images for each pair of splits.
        shared_groups: number of images that also occur in another group.
    """

    pool: ImagePool
    splits: Mapping[str, Indices]
    problem: str
    counts: Mapping[str, Sequence[int]]
    few: tuple[tuple[str, str, int], ...]
    copies: tuple[tuple[str, ...], ...]
    shared: tuple[SharedImages, ...]
    shared_groups: int

    def notes(self) -> tuple[str, ...]:
        """Return what to look at, a sentence each."""
        notes = list(self.pool.warnings)
        notes += divided_groups(self.pool, self.splits)
        notes += [
            f"{pair.images:,} images of {pair.second} are also in {pair.first} "
            f"({pair.different_labels:,} with another label)"
            for pair in self.shared
            if pair.images
        ]
        if self.shared_groups:
            notes.append(f"{self.shared_groups:,} images are also in another group")
        notes += [
            f"class {name!r} has {number} images in {split}" for name, split, number in self.few
        ]
        return tuple(notes)

    def record(self) -> dict[str, Any]:
        """Return everything, ready for JSON."""
        pool, headers = self.pool, self.pool.headers
        return {
            "name": pool.name,
            "images": len(pool),
            "class_names": list(pool.class_names),
            "counts": {split: list(counts) for split, counts in self.counts.items()},
            "stored_shape": list(pool.images.shape[1:]),
            "file_modes": None if headers is None else headers.modes(),
            "file_sizes": None
            if headers is None
            else {f"{width}x{height}": n for (width, height), n in headers.sizes().items()},
            "groups": None if pool.groups is None else len(np.unique(pool.groups)),
            "copies": [list(files) for files in self.copies],
            "problem": self.problem or None,
            "notes": list(self.notes()),
            "licence": pool.licence,
            "citation": pool.citation,
        }


def inspect_dataset(config: DatasetConfig, progress: Progress | None = None) -> Findings:
    """Read a dataset and divide it as training on it would.

    Raises:
        ConfigurationError, DataError: images that cannot be read, or are not there.
    """
    pool = load_pool(config, progress)
    splits, problem = {}, ""
    try:
        splits = divide_pool(config, pool)
    except (ConfigurationError, DataError) as error:
        problem = str(error)
    classes = len(pool.class_names)
    counts = {name: class_counts(pool.labels[k], classes).tolist() for name, k in splits.items()}
    return Findings(
        pool=pool,
        splits=splits,
        problem=problem,
        counts={**counts, "all": class_counts(pool.labels, classes).tolist()},
        few=tuple(
            (pool.class_names[label], split, number)
            for split, numbers in counts.items()
            for label, number in enumerate(numbers)
            if number < FEW
        ),
        copies=tuple(_copies(pool)[:_SHOWN_COPIES]),
        shared=shared_images(
            {name: [pool.digests[k] for k in splits[name].tolist()] for name in splits},
            {name: pool.labels[splits[name]] for name in splits},
        ),
        shared_groups=_in_other_groups(pool),
    )


def _copies(pool: ImagePool) -> list[tuple[str, ...]]:
    """Return the files of each image that is there more than once, of different classes first."""
    numbers: dict[bytes, list[int]] = {}
    for number, digest in enumerate(pool.digests):
        numbers.setdefault(digest, []).append(number)
    repeated = [same for same in numbers.values() if len(same) > 1]
    alike = sorted(repeated, key=lambda same: len(np.unique(pool.labels[same], axis=0)) == 1)
    return [tuple(pool.files[number] for number in same) for same in alike]


def _in_other_groups(pool: ImagePool) -> int:
    """Count the images that an image of another group equals byte for byte."""
    if pool.groups is None:
        return 0
    content = same_content(pool.digests)
    pairs = np.unique(np.stack([content, pool.groups]), axis=1)
    groups_of_content = np.bincount(pairs[0])
    return int((groups_of_content[content] > 1).sum())


def split_columns(findings: Findings) -> tuple[str, ...]:
    """Return the splits that there are, and `all`."""
    return (*(name for name in SPLIT_NAMES if name in findings.splits), "all")
