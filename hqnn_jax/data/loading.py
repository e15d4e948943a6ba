"""From the configuration to a dataset."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hqnn_jax.config import DatasetConfig
from hqnn_jax.config.dataset import SplitMethod
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
    part_numbers,
)
from hqnn_jax.data.records import RecordImages, divide
from hqnn_jax.data.split_file import divided_by_file
from hqnn_jax.data.splits import Indices, divided_groups, split_indices
from hqnn_jax.data.synthetic_cells import synthetic_cells
from hqnn_jax.errors import ConfigurationError, DataError, printable
from hqnn_jax.files import cache_dir


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
    splits = divide_pool(config, pool)
    files = {name: tuple(pool.files[k] for k in splits[name].tolist()) for name in splits}
    warnings = (*pool.warnings, *divided_groups(pool, splits))
    # Last: it rearranges the images of the pool.
    images = divide(pool.images, splits)
    return make_dataset(
        {
            name: Split(
                images[name],
                pool.labels[indices],
                None if pool.weights is None else pool.weights[indices],
            )
            for name, indices in splits.items()
        },
        name=pool.name,
        class_names=pool.class_names,
        licence=pool.licence,
        citation=pool.citation,
        synthetic=pool.synthetic,
        digests={name: [pool.digests[k] for k in splits[name].tolist()] for name in splits},
        warnings=warnings,
        files=None if _is_published(config) else files,
        streams=config.storage == "stream" or isinstance(pool.images, RecordImages),
        url=pool.url,
        description=pool.description,
    )


def divide_pool(config: DatasetConfig, pool: ImagePool) -> dict[str, Indices]:
    """Return the images of each split of a pool that `load_pool` returned; see `split_indices`.

    Raises:
        ConfigurationError: a split that this dataset does not have.
        DataError: a split in which a class would have no image.
    """
    return split_indices(pool, config.split, _split_method(config, pool))


def _is_published(config: DatasetConfig) -> bool:
    """Return whether the splits are the published ones, so that no list of files is needed."""
    return (
        config.split_method == "official"
        and config.split.file is None
        and config.label_map is None
        and config.record.kind in ("synthetic", "medmnist")
    )


def _split_method(config: DatasetConfig, pool: ImagePool) -> SplitMethod:
    """Return how images are divided: of one's own as they say, unless the configuration does."""
    if config.split_method is not None:
        return config.split_method
    if "validation" in pool.part_names and "test" not in pool.part_names:
        raise DataError(
            f"{pool.name}: has train and validation but no test images; add some, or divide all "
            "images anew with dataset.split.method=stratified"
        )
    if "test" not in pool.part_names:
        return "stratified" if pool.groups is None else "grouped"
    if config.images_per_class is not None:
        raise ConfigurationError(
            f"dataset.images_per_class: {pool.name} has a split of its own, which would change; "
            "set dataset.split.method to stratified"
        )
    return "official"


def load_pool(config: DatasetConfig, progress: Progress | None = None) -> ImagePool:
    """Return the images of the task a configuration names, not divided into splits.

    Takes and raises what `load_dataset` does.
    """
    record = config.record
    if record.kind == "folder":
        pool = _folder_pool(config, progress)
    elif record.kind == "synthetic":
        pool = _synthetic_pool(config)
    elif record.kind == "medmnist":
        pool = _medmnist_pool(config, progress)
    else:
        load: Callable[..., ImagePool] = pkgutil.resolve_name(record.loaded_by)
        pool = load(config, progress)
    _require_the_task(config, pool)
    if config.split.file is not None:
        pool = divided_by_file(pool, config.split.file.expanduser())
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


def _require_the_task(config: DatasetConfig, pool: ImagePool) -> None:
    """Raise ConfigurationError where labels are not those of the task, or in no known order."""
    if (pool.labels.ndim == 2) != (config.task_name == "multilabel"):
        found = "several labels" if pool.labels.ndim == 2 else "one class"
        raise ConfigurationError(
            f"dataset.task: is {config.task_name}, but an image of {pool.name} has {found}"
        )
    if config.task != "ordinal" or config.label_map is not None:
        return
    if config.name in ("image_folder", "table") and not all(map(str.isdecimal, pool.class_names)):
        raise ConfigurationError(
            f"dataset.task: the order of the classes {', '.join(pool.class_names)} is not known; "
            "give it in dataset.label_map, the lowest first, as {none: [none], mild: [mild], …}"
        )


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
        **part_numbers(part_sizes),
        "files": tuple(f"{part}/{k}" for part, size in part_sizes.items() for k in range(size)),
    }


def _folder_pool(config: DatasetConfig, progress: Progress | None) -> ImagePool:
    from hqnn_jax.data.folder_set import conversion_warnings, found_images, load_folder_set

    source = FOLDER_SOURCES[config.name]
    needed = source.class_names
    if config.label_map is not None:
        check_label_map(config.label_map, source.class_names, source.name)
        needed = tuple(name for names in config.label_map.values() for name in names)
    listing = list_images(source, config.resolved_data_dir(), needed)
    prepared = load_folder_set(
        found_images(listing),
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
        warnings=(
            *_folder_warnings(listing, needed, config.split_method),
            *conversion_warnings(prepared),
        ),
    )


def _groups(
    config: DatasetConfig, listing: Listing, progress: Progress | None
) -> np.ndarray | None:
    if config.split_method != "grouped":
        return None
    from hqnn_jax.data.source_images import source_groups

    return source_groups(listing, progress)


def _folder_warnings(
    listing: Listing, needed: Sequence[str], split_method: SplitMethod | None
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
