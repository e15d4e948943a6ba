"""Dividing the images of a set into training, validation and test.

Byte-identical images count as one: they are never on two sides of a split made here, so a copy of
a training image cannot flatter a test figure. (Official splits stay as published; what they share
is counted by `leakage`.) scikit-learn draws; the same seed gives the same split, and every run
stores which image went where.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import scipy.sparse.csgraph
from jaxtyping import Int
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from hqnn_jax.config import SplitConfig
from hqnn_jax.data.dataset import SPLIT_NAMES, class_counts
from hqnn_jax.data.leakage import same_content
from hqnn_jax.data.pool import ImagePool
from hqnn_jax.errors import ConfigurationError, DataError

Indices = Int[np.ndarray, " _"]
_FINEST_SHARE = 20
_FEWEST_OF_A_LABEL = 20


def split_indices(pool: ImagePool, config: SplitConfig, method: str) -> dict[str, Indices]:
    """Return the images of each split, as increasing positions in the pool.

    Args:
        pool: the images of the task.
        config: shares and seed. Where the official parts are train and test only, `validation` is
            a share of train.
        method: `official`, `stratified` or `grouped`.

    Raises:
        ConfigurationError: a method the set has no information for.
        DataError: a split in which a class would have no image.
    """
    if method == "official":
        splits = _official(pool, config)
    else:
        everything = np.arange(len(pool))
        rest, test = _divide(pool, everything, config.test, config.seed, method)
        share = config.validation / (1 - config.test)
        train, validation = _divide(pool, rest, share, config.seed, method)
        splits = {"train": train, "validation": validation, "test": test}
    _require_every_class(pool, splits)
    return {name: splits[name] for name in SPLIT_NAMES}


def _official(pool: ImagePool, config: SplitConfig) -> dict[str, Indices]:
    parts = {
        name: np.flatnonzero(pool.parts == number) for number, name in enumerate(pool.part_names)
    }
    if "test" not in parts:
        raise ConfigurationError(
            f"dataset.split.method: {pool.name} has no official split; expected stratified"
        )
    parts = {name: parts[name] for name in SPLIT_NAMES if name in parts}
    if "validation" not in parts:
        method = "stratified" if pool.groups is None else "grouped"
        parts["train"], parts["validation"] = _divide(
            pool, parts["train"], config.validation, config.seed, method
        )
    return parts


def divided_groups(pool: ImagePool, splits: Mapping[str, Indices]) -> tuple[str, ...]:
    """Return a sentence about groups with images in more than one split, if there are any."""
    if pool.groups is None:
        return ()
    present = np.concatenate([np.unique(pool.groups[indices]) for indices in splits.values()])
    divided = int((np.unique(present, return_counts=True)[1] > 1).sum())
    return (f"{divided:,} groups have images in more than one split",) if divided else ()


def _divide(
    pool: ImagePool, indices: Indices, share: float, seed: int, method: str
) -> tuple[Indices, Indices]:
    """Return `indices` without, and with only, about `share` of each class."""
    if method == "grouped":
        chosen = _grouped(pool, indices, share, seed)
    else:
        chosen = _stratified(pool, indices, share, seed)
    return indices[~chosen], indices[chosen]


def _stratified(pool: ImagePool, indices: Indices, share: float, seed: int) -> np.ndarray:
    """Choose a share of each class; byte-identical images stay together, with the first's label."""
    content = same_content([pool.digests[index] for index in indices.tolist()])
    labels = _strata(pool.labels[indices])[np.unique(content, return_index=True)[1]]
    if pool.labels.ndim == 1:
        _require_enough(pool, labels)
    try:
        _, chosen = train_test_split(
            np.arange(len(labels)), test_size=share, stratify=labels, random_state=seed
        )
    except ValueError as error:
        raise DataError(
            f"{pool.name}: {len(labels)} different images are too few for a stratified share of "
            f"{share:.3g}: {error}; raise dataset.split.validation and dataset.split.test, or "
            "take more images"
        ) from None
    return np.isin(content, chosen)


def _grouped(pool: ImagePool, indices: Indices, share: float, seed: int) -> np.ndarray:
    """Choose whole groups with about a share of each class, in steps of a twentieth."""
    if pool.groups is None:
        raise ConfigurationError(
            f"dataset.split.method: {pool.name} names neither patients nor source images; expected "
            "stratified"
        )
    labels = _strata(pool.labels[indices])
    parts = Fraction(share).limit_denominator(_FINEST_SHARE)
    folds = StratifiedGroupKFold(parts.denominator, shuffle=True, random_state=seed)
    groups = _joined(pool.groups[indices], [pool.digests[index] for index in indices.tolist()])
    chosen = np.zeros(len(indices), bool)
    try:
        for _, (_, fold) in zip(
            range(parts.numerator), folds.split(labels, labels, groups), strict=False
        ):
            chosen[fold] = True
    except ValueError as error:
        raise DataError(
            f"{pool.name}: too few images for a grouped share of {share:.3g}: {error}; change "
            "dataset.split.validation and dataset.split.test, or take more images"
        ) from None
    return chosen


def _strata(labels: np.ndarray) -> np.ndarray:
    """Return what images are divided by: the class of each, or its rarest label.

    Images whose rarest label few have, or that have none, are divided together.
    """
    if labels.ndim == 1:
        return labels
    rarest_first = np.argsort(labels.sum(axis=0), kind="stable")
    none = labels.shape[1]
    ordered = labels[:, rarest_first]
    rarest = np.where(ordered.any(axis=1), rarest_first[ordered.argmax(axis=1)], none)
    few = np.bincount(rarest, minlength=none + 1) < _FEWEST_OF_A_LABEL
    strata: np.ndarray = np.where(few[rarest], none, rarest)
    alone = np.bincount(strata, minlength=none + 1)[none] == 1
    return np.where(strata == none, strata[strata != none][0], strata) if alone else strata


def _joined(groups: np.ndarray, digests: list[bytes]) -> np.ndarray:
    """Return groups that also keep byte-identical images together."""
    content = same_content(digests)
    numbers = np.unique(groups, return_inverse=True)[1]
    size = numbers.max() + 1
    total = size + content.max() + 1
    links = scipy.sparse.coo_array(
        (np.ones(len(numbers), np.int8), (numbers, size + content)), shape=(total, total)
    )
    joined: np.ndarray = scipy.sparse.csgraph.connected_components(links, directed=False)[1]
    return joined[numbers]


def _require_enough(pool: ImagePool, labels: np.ndarray) -> None:
    counts = np.bincount(labels, minlength=len(pool.class_names))
    for name, count in zip(pool.class_names, counts.tolist(), strict=True):
        if count < 2:
            raise DataError(
                f"{pool.name}: class {name!r} has {count} different images; expected at least 3, "
                "one for each split"
            )


def _require_every_class(pool: ImagePool, splits: Mapping[str, Indices]) -> None:
    for split, indices in splits.items():
        counts = class_counts(pool.labels[indices], len(pool.class_names))
        for name, count in zip(pool.class_names, counts.tolist(), strict=True):
            if count == 0:
                raise DataError(
                    f"{pool.name}: the {split} split has no image of class {name!r}; expected "
                    "every class in every split; change dataset.split, or take more images"
                )
