"""Balanced samples, splits and inputs of aml2026: one of each per seed, stacked over the seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from pydantic import Field
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from hqnn_jax.backbones.features import image_features
from hqnn_jax.config.base import ConfigSection
from hqnn_jax.data.pool import ImagePool
from hqnn_jax.data.records import take
from hqnn_jax.errors import ConfigurationError, DataError

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class SamplingConfig(ConfigSection):
    """How the images of a seed are divided."""

    test: Share = 0.2
    """Share of a seed's images that is tested on."""
    validation: Share = 0.2
    """Share of the remaining images on which training is stopped early; arms that train for a
    fixed number of iterations are trained on them too."""


class Parts(NamedTuple):
    """Something of every image of a sample, by part; the first axis is the seed."""

    fit: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def train(self) -> np.ndarray:
        """All that may be learned from: `fit` and `validation`."""
        return np.concatenate([self.fit, self.validation], axis=1)


@dataclass(frozen=True, eq=False)
class SampledData:
    """What the arms are given: the samples of all seeds at one number of images per class.

    Attributes:
        seeds: one per sample.
        labels: Parts of int32[seeds, images], 0 or 1.
        standardised: Parts of float32[seeds, images, 20]: features with mean 0 and deviation 1.
        angles: Parts of float32[seeds, images, components]: principal components in radians.
        positions: Parts of int[seeds, images]: where the images are in the pool.
        pool: all images.
        most_images: images in the largest sample, to which programs that see a whole sample at
            once are padded, so that one serves all sizes.
    """

    seeds: tuple[int, ...]
    labels: Parts
    standardised: Parts
    angles: Parts
    positions: Parts
    pool: ImagePool
    most_images: int

    @property
    def num_components(self) -> int:
        """Number of principal components, and of qubits."""
        return int(self.angles.fit.shape[-1])

    def with_bandwidth(self, bandwidth: float) -> SampledData:
        """Return the same data with all angles times `bandwidth`."""
        angles = Parts(*(np.float32(bandwidth) * part for part in self.angles))
        return replace(self, angles=angles)

    def padded(self, array: np.ndarray) -> np.ndarray:
        """Return [seeds, images, …] with zeros up to `most_images`."""
        missing = self.most_images - array.shape[1]
        return np.pad(array, ((0, 0), (0, missing), *[(0, 0)] * (array.ndim - 2)))


def sample_positions(
    labels: Int[np.ndarray, " pool"], size: int, seeds: Sequence[int], sampling: SamplingConfig
) -> Parts:
    """Draw `size` images of each class for every seed and divide them, stratified.

    The seed decides the images, their division and, in the arms, the initial values. The images of
    a smaller sample are among those of a larger one of the same seed.

    Returns:
        Positions in the pool, int[seeds, images] in each part.

    Raises:
        DataError: where a class has fewer than `size` images.
        ConfigurationError: where a part would be without a class.
    """
    counts = np.bincount(labels, minlength=2)
    if counts.min() < size:
        raise DataError(
            f"sizes: {size} images per class were asked for, the dataset has {counts.tolist()} of "
            "its two classes; ask for fewer or complete the dataset"
        )
    parts = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        of_class = [rng.permutation(np.flatnonzero(labels == label))[:size] for label in (0, 1)]
        train, test = _stratified(np.concatenate(of_class), labels, sampling.test, seed)
        fit, validation = _stratified(train, labels, sampling.validation, seed)
        parts.append((fit, validation, test))
    return Parts(*map(np.stack, zip(*parts, strict=True)))


def _stratified(
    positions: np.ndarray, labels: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    try:
        first, second = train_test_split(
            positions, test_size=share, stratify=labels[positions], random_state=seed
        )
    except ValueError as error:
        raise ConfigurationError(
            f"sizes: {len(positions)} images of two classes cannot be divided {1 - share:g} to "
            f"{share:g} with both classes in both parts ({error}); ask for more images"
        ) from error
    return first, second


def repeated_across_parts(positions: Parts, pool: ImagePool) -> int:
    """Count test images that equal an image trained on byte for byte, over all seeds."""
    count = 0
    for train, test in zip(positions.train, positions.test, strict=True):
        known = {pool.digests[position] for position in train}
        count += sum(pool.digests[position] in known for position in test)
    return count


def pool_features(
    pool: ImagePool, positions: Sequence[Parts], batch: int = 256
) -> Float[np.ndarray, "pool features"]:
    """Return the 20 features of the images any sample needs; NaN rows for the others."""
    needed = np.unique(np.concatenate([part.ravel() for parts in positions for part in parts]))
    rows = [
        image_features(np.asarray(take(pool.images, needed[start : start + batch])))
        for start in range(0, len(needed), batch)
    ]
    features = np.full((len(pool), rows[0].shape[1]), np.nan)
    features[needed] = np.concatenate(rows)
    return features


def component_angles(num_components: int) -> Any:
    """Return the unfitted transformation of features to angles in radians.

    Standardised features (their units differ), principal components, and each component from its
    smallest and largest training value to 0 and 2π. Test values may lie outside: they are not
    clipped, so that the embedding stays continuous and different cells keep different angles.
    """
    return make_pipeline(
        StandardScaler(), PCA(num_components), MinMaxScaler((0.0, 2 * np.pi), clip=False)
    )


def fitted_on_train(
    make_transformation: Callable[[], Any],
    features: Float[np.ndarray, "pool features"],
    positions: Parts,
) -> Parts:
    """Return the transformed features of each part, the transformation fitted on `train` only."""
    parts = []
    for seed, train in enumerate(positions.train):
        transformation = make_transformation().fit(features[train])
        parts.append(
            [transformation.transform(features[p[seed]]).astype(np.float32) for p in positions]
        )
    return Parts(*map(np.stack, zip(*parts, strict=True)))


def retained_variance(
    features: Float[np.ndarray, "pool features"], positions: Parts, num_components: int
) -> list[float]:
    """Return the share of the standardised features' variance that the components keep, per seed.

    Of the training images, on which they are fitted.
    """
    fitted = (component_angles(num_components).fit(features[train]) for train in positions.train)
    return [float(pipeline["pca"].explained_variance_ratio_.sum()) for pipeline in fitted]


def sampled_data(
    pool: ImagePool,
    features: Float[np.ndarray, "pool features"],
    positions: Parts,
    seeds: Sequence[int],
    num_components: int,
    most_images: int,
) -> SampledData:
    """Return the inputs of the arms at the sampled positions; see `SampledData`."""
    return SampledData(
        seeds=tuple(seeds),
        labels=Parts(*(pool.labels[part].astype(np.int32) for part in positions)),
        standardised=fitted_on_train(StandardScaler, features, positions),
        angles=fitted_on_train(lambda: component_angles(num_components), features, positions),
        positions=positions,
        pool=pool,
        most_images=most_images,
    )
