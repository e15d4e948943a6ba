"""Features of a frozen backbone, computed once and cached on disk under a content hash."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float32, UInt8

from hqnn_jax.config import BackboneConfig
from hqnn_jax.data.records import Images, RecordImages, chunks
from hqnn_jax.files import cache_dir, read_cached, write_cached
from hqnn_jax.models.pure import Model, Variables
from hqnn_jax.own_parts import is_own, source_digest
from hqnn_jax.progress import Progress
from hqnn_jax.training.prediction import Predictor
from hqnn_jax.training.step import Preprocessing

_VERSION = 1
"""Raised whenever the same backbone, weights and images would give other features."""


def backbone_features(
    model: Model,
    variables: Variables,
    preprocessing: Preprocessing,
    config: BackboneConfig,
    splits: Mapping[str, UInt8[np.ndarray | RecordImages, "_ height width channels"]],
    *,
    batch_size: int,
    progress: Progress,
) -> dict[str, Float32[np.ndarray, "_ num_features"]]:
    """Return the features of every split, from the cache where they are already known.

    Args:
        model, variables: the backbone alone, with the weights it keeps.
        preprocessing: resizing and normalisation.
        config: the backbone's configuration, part of the cache key.
        splits: images by split name.
        batch_size: images per compiled batch.

    The key hashes the weights, the configuration and the images; a cache file that is damaged, or
    was written by an earlier version without a checksum, is computed anew.
    """
    folder = cache_dir() / "features"
    weights = _digest_tree(variables)
    predictor = None
    features = {}
    for name, images in splits.items():
        path = folder / f"{_key(weights, preprocessing, config, images)}.npy"
        cached = _read(path, len(images), progress)
        if cached is None:
            if predictor is None:
                with progress.task("compiling the backbone"):
                    predictor = Predictor.compile(
                        lambda v, x: model.apply(v, preprocessing(x)),
                        variables,
                        images,
                        min(batch_size, len(images)),
                    )
            with progress.task(f"features of the {name} images", len(images)) as advance:
                cached = predictor(variables, images, advance)
            # What cannot be believed later is not worth keeping.
            if _plausible(cached, len(images)):
                write_cached(path, cached)
        else:
            progress.line(f"features of the {name} images: read from the cache")
        features[name] = cached
    return features


def _digest_tree(tree: Variables) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _key(weights: str, preprocessing: Preprocessing, config: BackboneConfig, images: Images) -> str:
    # Where the weights came from does not matter once they are hashed; bfloat16 does.
    described = config.model_dump(mode="json", exclude={"pretrained", "from_run", "frozen"})
    own = source_digest(config.name) if is_own(config.name) else ""
    digest = hashlib.sha256(
        f"{_VERSION}{own}{weights}{preprocessing}{described}{jax.default_backend()}"
        f"{images.dtype.str}{images.shape}".encode()
    )
    for chunk in chunks(images):
        digest.update(np.ascontiguousarray(chunk).data)
    return digest.hexdigest()


def _read(path: Path, num_images: int, progress: Progress) -> np.ndarray | None:
    """Return cached features, None where there are none that can be believed."""
    features = read_cached(path)
    if features is not None and _plausible(features, num_images):
        return features
    if path.exists():
        progress.line(f"{path}: damaged feature cache; computing the features anew")
    return None


def _plausible(features: np.ndarray, num_images: int) -> bool:
    return (
        features.ndim == 2
        and len(features) == num_images
        and features.dtype == np.float32
        and bool(np.isfinite(features).all())
    )
