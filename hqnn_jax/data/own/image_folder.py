"""A folder with one folder of images per class, divided into train, validation and test or not."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.dataset import Progress
from hqnn_jax.data.folder_listing import IMAGE_SUFFIXES, digest_of_files, images_in
from hqnn_jax.data.folder_set import read_files
from hqnn_jax.data.found import Found, FoundImages
from hqnn_jax.data.headers import read_headers
from hqnn_jax.data.own.own_set import (
    WHOLE,
    OwnSet,
    existing_path,
    numbered,
    prepared_pool,
    require_classes,
    split_named,
)
from hqnn_jax.data.pool import ImagePool
from hqnn_jax.errors import DataError, printable


def load(config: DatasetConfig, progress: Progress | None) -> ImagePool:
    """Return the images below `dataset.path`; see `find`.

    Raises:
        DataError: as `find`, and an image that cannot be read.
    """
    return prepared_pool(find(config, progress), config, progress)


def find(config: DatasetConfig, progress: Progress | None) -> OwnSet:
    """Return the image files below `dataset.path`, with a class for each folder.

    Classes are in alphabetical order. Folders within those of classes are looked into; hidden
    files and folders are not.

    Raises:
        DataError: no folder, no classes, a class without images, or one that is missing from a
            part; a path that `group_pattern` does not match.
    """
    root = existing_path(config, folder=True)
    parts = _parts(root)
    names = sorted({name for folder in parts.values() for name in _folders(root / folder)})
    if not names:
        raise DataError(_without_classes(root))
    files: list[tuple[str, os.stat_result]] = []
    labels: list[int] = []
    sizes, ignored, leading_nowhere = {}, 0, 0
    for part, folder in parts.items():
        before = len(files)
        for label, name in enumerate(names):
            below = f"{folder}/{name}" if folder else name
            images = images_in(root, below, deep=True)
            if not images.files:
                raise DataError(_without_images(root, below, parts, name))
            files += images.files
            labels += [label] * len(images.files)
            ignored += images.ignored
            leading_nowhere += images.leading_nowhere
        sizes[part] = len(files) - before
    require_classes(names, str(root))
    paths = tuple(path for path, _ in files)
    return OwnSet(
        found=found_files(config.name, root, paths, sizes, digest_of_files(files), progress),
        class_names=tuple(map(printable, names)),
        labels=np.array(labels, np.int32),
        groups=_groups(config.group_pattern, paths),
        warnings=tuple(_warnings(root, parts, ignored, leading_nowhere)),
    )


def found_files(
    name: str,
    root: Path,
    files: tuple[str, ...],
    part_sizes: dict[str, int],
    digest: str,
    progress: Progress | None,
) -> FoundImages:
    """Return image files as they are to be prepared: grey where every one of them is.

    Args:
        name: of the prepared copy's folder.
        root: the folder their paths begin in.
        files: the paths, part after part.
        part_sizes: number of files of each part.
        digest: `digest_of_files`.
        progress: told about the headers that are read.

    Raises:
        DataError: a file that is no image.
    """
    headers = read_headers(root, files, digest, progress)
    mode = headers.file_mode()

    def read(part: str, resolution: int) -> Iterator[Found]:
        return read_files(root, found.files_of(part), mode, resolution)

    found = FoundImages(
        name=name,
        where=root,
        files=files,
        part_sizes=part_sizes,
        num_channels=1 if mode == "L" else 3,
        digest=digest,
        read=read,
        headers=headers,
    )
    return found


def _parts(root: Path) -> dict[str, str]:
    """Return part -> its folder below the root; one part without a folder where it has none."""
    parts: dict[str, str] = {}
    for name in _folders(root):
        split = split_named(name)
        if split is not None and split in parts:
            raise DataError(
                f"{root}: {parts[split]}/ and {name}/ are both for {split}; keep one of them"
            )
        if split is not None:
            parts[split] = name
    if "train" not in parts:
        return {WHOLE: ""}
    if len(parts) == 1:
        raise DataError(
            f"{root}: holds {parts['train']}/ without test/; add it, or set "
            f"dataset.path={root / parts['train']} to divide its images"
        )
    return {split: parts[split] for split in ("train", "validation", "test") if split in parts}


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be read ({error.strerror}); check its permissions"
        ) from None


def _without_classes(root: Path) -> str:
    directly = len(images_in(root, ".").files)
    what = f"{directly:,} images lie directly in it" if directly else "holds no folders"
    return (
        f"{root}: {what}; expected one folder of images per class, directly or below train/, "
        "validation/ and test/; for a list of files and labels see dataset.name=table"
    )


def _without_images(root: Path, below: str, parts: Mapping[str, str], name: str) -> str:
    if (root / below).is_dir():
        return (
            f"{root / below}: the class folder holds no image ({', '.join(IMAGE_SUFFIXES)}); put "
            "images of the class there, or remove the folder"
        )
    others = [folder for folder in parts.values() if (root / folder / name).is_dir()]
    return (
        f"{root / below}: class folder missing, but {others[0]}/ has it; expected every class in "
        "every part; add images of it, or remove it everywhere"
    )


def _groups(pattern: str | None, files: Sequence[str]) -> np.ndarray | None:
    if pattern is None:
        return None
    found = [re.search(pattern, file) for file in files]
    without = [file for file, match in zip(files, found, strict=True) if not (match and match[1])]
    if without:
        more = f", nor in {len(without) - 1:,} more" if len(without) > 1 else ""
        raise DataError(
            f"dataset.group_pattern: {pattern!r} finds no group in {without[0]}{more}; expected "
            "one in the path of every image"
        )
    return numbered([match[1] for match in found if match])


def _warnings(
    root: Path, parts: Mapping[str, str], ignored: int, leading_nowhere: int
) -> Iterator[str]:
    beside = [name for name in _folders(root) if name not in parts.values()]
    if WHOLE not in parts and beside:
        yield f"{len(beside):,} folders beside {', '.join(parts.values())} were left out"
    if leading_nowhere:
        yield f"{leading_nowhere:,} symbolic links lead nowhere: left out"
    if ignored:
        yield f"{ignored:,} entries of class folders are no images: left out"
