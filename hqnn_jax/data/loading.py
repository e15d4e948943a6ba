"""From the configuration to a dataset."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.dataset import ImageDataset, Progress, Split, make_dataset
from hqnn_jax.data.folder_listing import Listing, list_images
from hqnn_jax.data.folder_sources import FOLDER_SOURCES
from hqnn_jax.data.leakage import image_digests, repeated_images
from hqnn_jax.data.pool import (
    ImagePool,
    binary_task,
    check_label_map,
    draw_per_class,
    mapped_task,
)
from hqnn_jax.data.records import RecordImages, divide
from hqnn_jax.data.splits import split_indices
from hqnn_jax.data.synthetic_cells import synthetic_cells
from hqnn_jax.errors import DataError, printable
from hqnn_jax.files import cache_dir

if TYPE_CHECKING:  # it imports TFDS, which takes most of a second
    from hqnn_jax.data.prepared import Prepared


def load_dataset(config: DatasetConfig, progress: Progress | None = None) -> ImageDataset:
    """Return the dataset a configuration names.

    Prepared TFDS files are kept in `$HQNN_CACHE_DIR/tfds`, or in `tfds` below the per-user cache
    folder, so that the folder with the datasets may be read-only.

    Args:
        config: name, folder, resolution, task, split and storage.
        progress: called as `progress(what, done, total)` while something slow is under way.

    Raises:
        DataError: missing, damaged or inconsistent files; a class without images.
        ConfigurationError: a task or split that this dataset does not have.
    """
    pool = load_pool(config, progress)
    splits = split_indices(pool, config.split, config.split_method)
    as_published = (
        config.split_method == "official"
        and config.label_map is None
        and config.record.kind != "folder"
    )
    files = {name: tuple(pool.files[k] for k in splits[name].tolist()) for name in splits}
    # Last: it rearranges the images of the pool.
    images = divide(pool.images, splits)
    return make_dataset(
        {name: Split(images[name], pool.labels[indices]) for name, indices in splits.items()},
        name=pool.name,
        class_names=pool.class_names,
        licence=pool.licence,
        citation=pool.citation,
        synthetic=pool.synthetic,
        digests={name: [pool.digests[k] for k in splits[name].tolist()] for name in splits},
        warnings=pool.warnings,
        files=None if as_published else files,
        streams=config.storage == "stream" or isinstance(pool.images, RecordImages),
    )


def load_pool(config: DatasetConfig, progress: Progress | None = None) -> ImagePool:
    """Return the images of the task a configuration names, not divided into splits.

    Takes and raises what `load_dataset` does.
    """
    if config.record.kind == "folder":
        pool = _folder_pool(config, progress)
    elif config.record.kind == "synthetic":
        pool = _synthetic_pool(config)
    else:
        pool = _medmnist_pool(config, progress)
    if config.positive_labels is not None:
        pool = binary_task(pool, config.positive_labels)
    if config.label_map is not None:
        pool = mapped_task(pool, config.label_map)
    if config.images_per_class is not None:
        pool = draw_per_class(pool, config.images_per_class, config.split.seed)
    repeated, relabelled = repeated_images(pool.digests, pool.labels)
    if repeated:
        pool = pool.with_warnings(
            f"{repeated:,} images equal another one of the set byte for byte, {relabelled:,} of "
            "them with another label"
        )
    return pool


def _medmnist_pool(config: DatasetConfig, progress: Progress | None) -> ImagePool:
    # Importing TFDS takes most of a second: only where it is used.
    from hqnn_jax.data.medmnist import CITATION, load_medmnist
    from hqnn_jax.data.medmnist_file import medmnist_source

    source = medmnist_source(config.name, config.resolution)
    prepared = load_medmnist(
        source,
        data_dir=_folder_to_download_into(config),
        prepared_dir=cache_dir() / "tfds",
        storage=config.storage,
        progress=progress,
    )
    return ImagePool(
        name=config.name,
        images=prepared.images,
        labels=prepared.labels,
        class_names=source.class_names,
        digests=prepared.digests,
        **_numbered(prepared.part_sizes),
        licence=source.licence,
        citation=CITATION,
    )


def _synthetic_pool(config: DatasetConfig) -> ImagePool:
    drawn = synthetic_cells(config.synthetic, config.resolution)
    splits = drawn.splits()
    images = np.concatenate([np.asarray(split.images) for split in splits.values()])
    return ImagePool(
        name=config.name,
        images=images,
        labels=np.concatenate([split.labels for split in splits.values()]),
        class_names=drawn.class_names,
        digests=image_digests(images),
        **_numbered({name: len(split) for name, split in splits.items()}),
        licence=drawn.licence,
        citation=drawn.citation,
        synthetic=True,
    )


def _numbered(part_sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return the parts of a pool whose images have no names."""
    return {
        "part_names": tuple(part_sizes),
        "parts": np.repeat(np.arange(len(part_sizes), dtype=np.int32), list(part_sizes.values())),
        "files": tuple(f"{part}/{k}" for part, size in part_sizes.items() for k in range(size)),
    }


def _folder_pool(config: DatasetConfig, progress: Progress | None) -> ImagePool:
    from hqnn_jax.data.folder_set import load_folder_set

    source = FOLDER_SOURCES[config.name]
    needed = source.class_names
    if config.label_map is not None:
        check_label_map(config.label_map, source.class_names, source.name)
        needed = tuple(name for names in config.label_map.values() for name in names)
    listing = list_images(source, config.resolved_data_dir(), needed)
    prepared = load_folder_set(
        listing,
        resolution=config.resolution,
        prepared_dir=cache_dir() / "tfds",
        storage=config.storage,
        progress=progress,
    )
    return ImagePool(
        name=source.name,
        images=prepared.images,
        labels=prepared.labels,
        class_names=source.class_names,
        digests=prepared.digests,
        **{**_numbered(prepared.part_sizes), "files": tuple(map(printable, listing.files))},
        licence=source.licence,
        citation=source.citation,
        groups=_groups(config, listing, progress),
        warnings=_folder_warnings(listing, needed, prepared, config.split_method),
    )


def _groups(
    config: DatasetConfig, listing: Listing, progress: Progress | None
) -> np.ndarray | None:
    if config.split_method != "grouped":
        return None
    from hqnn_jax.data.source_images import source_groups

    return source_groups(listing, progress)


def _folder_warnings(
    listing: Listing, needed: Sequence[str], prepared: Prepared, split_method: str
) -> tuple[str, ...]:
    source = listing.source
    used = [source.class_names.index(name) for name in needed]
    published = sum(counts[label] for counts in source.published.values() for label in used)
    present = int(np.isin(listing.labels, used).sum())
    warnings = [] if split_method == "grouped" or not source.copies else [source.copies]
    if present < published:
        warnings.append(f"{present:,} of the {published:,} published images are present")
    elif present > published:
        warnings.append(f"{present:,} images are present, {published:,} were published")
    if listing.leading_nowhere:
        warnings.append(f"{listing.leading_nowhere:,} symbolic links lead nowhere: left out")
    if listing.ignored:
        warnings.append(f"{listing.ignored:,} entries of class folders are no images: left out")
    for phrase, (count, first) in sorted(prepared.metadata["conversions"].items()):
        warnings.append(f"{count:,} images {phrase} (the first: {first})")
    return tuple(warnings)


def _folder_to_download_into(config: DatasetConfig) -> Path:
    data_dir = config.resolved_data_dir()
    if data_dir.is_dir():
        return data_dir
    if config.data_dir is not None or os.environ.get("HQNN_DATA_DIR"):
        # Someone chose this folder: a typing error must not start a download.
        raise DataError(
            f"{data_dir}: dataset folder does not exist; expected a folder with {config.name}.npz, "
            "or an empty one to download into; check dataset.data_dir or HQNN_DATA_DIR"
        )
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{data_dir}: cannot be made ({error.strerror}); set dataset.data_dir to a folder that "
            "can be written"
        ) from None
    return data_dir
