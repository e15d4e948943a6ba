"""What every source of a user's own images finds, and the pool that is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Int32

from hqnn_jax.config import DatasetConfig
from hqnn_jax.config.dataset import CardConfig
from hqnn_jax.data.dataset import SPLIT_NAMES, Progress
from hqnn_jax.data.folder_set import conversion_warnings, load_folder_set
from hqnn_jax.data.found import FoundImages
from hqnn_jax.data.pool import ImagePool, part_numbers
from hqnn_jax.errors import DataError, printable
from hqnn_jax.files import cache_dir

NOT_GIVEN = "not given"
WHOLE = "images"
"""The only part of a set that is not divided."""
_OTHER_NAMES = {
    **{name: name for name in SPLIT_NAMES},
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "testing": "test",
}


@dataclass(frozen=True, eq=False)
class OwnSet:
    """The images of a set, and what belongs to each, in the same order."""

    found: FoundImages
    class_names: tuple[str, ...]
    labels: Int32[np.ndarray, "num_images *num_labels"]
    groups: Int[np.ndarray, " num_images"] | None = None
    weights: Float32[np.ndarray, " num_images"] | None = None
    card: CardConfig = field(default_factory=CardConfig)
    """What the source itself says of its provenance."""
    warnings: tuple[str, ...] = ()


def split_named(name: str) -> str | None:
    """Return which of train, validation and test a name stands for; None for any other."""
    return _OTHER_NAMES.get(name.lower())


def existing_path(config: DatasetConfig, *, folder: bool) -> Path:
    """Return `dataset.path`, which is to be a folder or a file.

    Raises:
        DataError: if it is not.
    """
    path, expected = config.resolved_path(), f"expected {config.record.path}"
    if not path.exists():
        raise DataError(f"{path}: no such {'folder' if folder else 'file'}; {expected}; check "
                        "dataset.path")  # fmt: skip
    if path.is_dir() != folder:
        kinds = ("a file", "a folder")
        suited = "image_folder" if not folder else _suited_to(path)
        raise DataError(
            f"{path}: is {kinds[path.is_dir()]}; {expected}; set dataset.name={suited}, or check "
            "dataset.path"
        )
    return path


def _suited_to(path: Path) -> str:
    return "npz" if path.suffix.lower() == ".npz" else "table"


def classes_of(values: Sequence[str]) -> tuple[tuple[str, ...], Int32[np.ndarray, " num_values"]]:
    """Return the different values in order, whole numbers by their size, and each one's place."""
    different = set(values)
    if all(value.removeprefix("-").isdecimal() for value in different):
        names = sorted(different, key=lambda value: (int(value), value))
    else:
        names = sorted(different)
    place = {name: number for number, name in enumerate(names)}
    return tuple(map(printable, names)), np.array([place[value] for value in values], np.int32)


def labels_of(
    values: Sequence[Sequence[str]],
) -> tuple[tuple[str, ...], Int32[np.ndarray, "num_values num_labels"]]:
    """Return the different labels in order, and 1 or 0 for each of them of each image."""
    names, _ = classes_of([label for labels in values for label in labels])
    place = {name: number for number, name in enumerate(names)}
    found = np.zeros((len(values), len(names)), np.int32)
    for row, labels in enumerate(values):
        found[row, [place[printable(label)] for label in labels]] = 1
    return names, found


def require_classes(names: Sequence[str], where: str) -> None:
    """Raise DataError unless there is something to tell apart."""
    if len(names) < 2:
        found = f"only the class {names[0]!r}" if names else "no class"
        raise DataError(f"{where}: found {found}; expected images of at least two classes")


def numbered(values: Sequence[str]) -> Int[np.ndarray, " num_values"]:
    """Return the same number for equal values."""
    found: np.ndarray = np.unique(np.asarray(values), return_inverse=True)[1]
    return found.astype(np.int64)


def provenance(config: DatasetConfig, own: CardConfig) -> dict[str, Any]:
    """Return name, licence, citation, url and description of a pool.

    The user's card says them, else the source itself; never another set.
    """
    card = config.card or CardConfig()

    def given(key: str, otherwise: str) -> str:
        return getattr(card, key) or getattr(own, key) or otherwise

    return {
        "name": given("name", config.title),
        "licence": given("licence", f"{NOT_GIVEN} (dataset.card.licence)"),
        "citation": given("citation", f"{NOT_GIVEN} (dataset.card.citation)"),
        "url": given("url", ""),
        "description": given("description", ""),
    }


def prepared_pool(own: OwnSet, config: DatasetConfig, progress: Progress | None) -> ImagePool:
    """Return the pool of a set, whose images are prepared where they are not yet.

    Raises:
        DataError: an image that cannot be read, or a prepared copy that cannot be used.
    """
    prepared = load_folder_set(
        own.found,
        resolution=config.resolution,
        prepared_dir=cache_dir() / "tfds",
        storage=config.storage,
        progress=progress,
    )
    return ImagePool(
        images=prepared.images,
        labels=own.labels,
        class_names=own.class_names,
        digests=prepared.digests,
        **part_numbers(prepared.part_sizes),
        files=tuple(map(printable, own.found.files)),
        groups=own.groups,
        weights=own.weights,
        headers=own.found.headers,
        warnings=(*own.warnings, *conversion_warnings(prepared)),
        **provenance(config, own.card),
    )
