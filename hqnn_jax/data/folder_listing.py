"""Which image files of a folder set are there, and whether the ones a task needs are."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from hqnn_jax.data.folder_sources import FolderSource
from hqnn_jax.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp")
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


@dataclass(frozen=True, eq=False)
class Listing:
    """The image files of a set: official part by part, class by class, then by file name."""

    source: FolderSource
    root: Path
    """Folder of the parts, or of the classes."""
    files: tuple[str, ...]
    """Paths below `root`, with forward slashes."""
    labels: Int32[np.ndarray, " num_files"]
    part_sizes: dict[str, int]
    """Official part -> its number of files, in the order of `files`."""
    ignored: int
    """Files and folders in class folders that are no visible image files."""
    leading_nowhere: int
    """Symbolic links in class folders, named like images, to nothing or in a circle."""
    digest: str
    """SHA-256 (hex) over path, size and time of change of every file."""


def list_images(source: FolderSource, data_dir: Path, needed: Sequence[str]) -> Listing:
    """Return the image files of a set.

    Hidden files are not images, whatever their name (PBC's archive holds a `.DS_169665.jpg`).

    Args:
        source: the set.
        data_dir: folder with a folder named like the set, or that folder itself.
        needed: classes the task uses; the folders of the others may be missing.

    Raises:
        DataError: the set is not there, or twice; a needed class has no folder or no image; a
            folder cannot be read.
    """
    root = _find_root(source, data_dir)
    found: list[tuple[str, int, os.stat_result]] = []
    sizes, ignored, leading_nowhere = {}, 0, 0
    for part, folder in source.parts.items():
        before = len(found)
        for label, name in enumerate(source.class_names):
            below = f"{folder}/{name}" if folder else name
            folder_images = images_in(root, below)
            found.extend((path, label, status) for path, status in folder_images.files)
            ignored += folder_images.ignored
            leading_nowhere += folder_images.leading_nowhere
        sizes[part] = len(found) - before
        present = {source.class_names[label] for _, label, _ in found[before:]}
        _require(source, root / folder, present, needed)
    return Listing(
        source=source,
        root=root,
        files=tuple(path for path, _, _ in found),
        labels=np.array([label for _, label, _ in found], np.int32),
        part_sizes=sizes,
        ignored=ignored,
        leading_nowhere=leading_nowhere,
        digest=digest_of_files((path, status) for path, _, status in found),
    )


def digest_of_files(files: Iterable[tuple[str, os.stat_result]]) -> str:
    """Return SHA-256 (hex) over path, size and time of change of files, in their order."""
    lines = (f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n" for path, status in files)
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _find_root(source: FolderSource, data_dir: Path) -> Path:
    """Return the folder of the parts or classes; outer folders of the archive may be left out."""
    expected = [part for part in source.parts.values() if part] or list(source.class_names)
    for base in (data_dir / source.name, data_dir):
        candidates = [
            base.joinpath(*source.layout[skipped:]) for skipped in range(len(source.layout) + 1)
        ]
        roots = [root for root in candidates if any((root / name).is_dir() for name in expected)]
        if len(roots) > 1:
            raise DataError(
                f"{base}: holds {source.name} twice, in {roots[0]} and {roots[1]}; keep one"
            )
        if roots:
            return roots[0]
    raise DataError(
        f"{data_dir}: {source.name} not found; {source.instructions} (below {data_dir}, or set "
        "dataset.data_dir); images of your own are dataset.name=image_folder dataset.path=FOLDER"
    )


class FolderImages(NamedTuple):
    """What a class folder holds."""

    files: list[tuple[str, os.stat_result]]
    """Paths of the images, with forward slashes, sorted folder by folder."""
    ignored: int
    """Other files, and folders that were not looked into."""
    leading_nowhere: int
    """Symbolic links, named like images, to nothing or in a circle."""


def images_in(root: Path, below: str, *, deep: bool = False) -> FolderImages:
    """Return the images of a class folder by name.

    Args:
        root: the folder that paths begin in.
        below: the class folder, from there.
        deep: whether folders in it are looked into, too (not those that links lead to).

    Raises:
        DataError: a folder that cannot be read.
    """
    images, ignored, broken = [], 0, 0
    try:
        for entry in sorted(_entries(root / below), key=lambda entry: entry.name):
            hidden = entry.name.startswith(".")
            if deep and not hidden and entry.is_dir(follow_symlinks=False):
                inner = images_in(root, f"{below}/{entry.name}", deep=True)
                images += inner.files
                ignored, broken = ignored + inner.ignored, broken + inner.leading_nowhere
                continue
            named = not hidden and entry.name.lower().endswith(IMAGE_SUFFIXES)
            status = _status(entry) if named else None
            if status is not None and stat.S_ISREG(status.st_mode):
                images.append((f"{below}/{entry.name}", status))
            elif named and status is None:
                broken += 1
            else:
                ignored += 1
    except OSError as error:
        raise DataError(
            f"{root / below}: cannot be read ({error.strerror}); check its permissions"
        ) from None
    return FolderImages(images, ignored, broken)


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return the status of the file an entry is or leads to; None if it leads nowhere."""
    try:
        return entry.stat()
    except OSError as error:
        if entry.is_symlink() and error.errno in _NOWHERE:
            return None
        raise


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    if folder.is_dir():
        with os.scandir(folder) as entries:
            yield from entries


def _require(source: FolderSource, folder: Path, present: set[str], needed: Sequence[str]) -> None:
    absent = [name for name in needed if name not in present]
    if not absent:
        return
    there = ", ".join(sorted(present)) or "none"
    if (folder / absent[0]).is_dir():
        what = f"the class folder holds no image ({', '.join(IMAGE_SUFFIXES)})"
    else:
        what = "class folder missing"
    more = f", like {len(absent) - 1} more" if len(absent) > 1 else ""
    raise DataError(
        f"{folder / absent[0]}: {what}{more}; classes with images: {there}; "
        f"{source.download}, or name only classes at hand in dataset.label_map"
    )
