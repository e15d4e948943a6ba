"""A split that was stored: the `splits.json` of a run, or a CSV file of paths."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hqnn_jax.data.dataset import SPLIT_NAMES
from hqnn_jax.data.pool import ImagePool
from hqnn_jax.errors import DataError, printable
from hqnn_jax.files import read_json

_ADVICE = "expected the splits.json of a run, or a CSV file with the columns path and split"


def divided_by_file(pool: ImagePool, path: Path) -> ImagePool:
    """Return the images that a stored split names, with its splits as their official parts.

    Images that it does not name are left out, and counted in a warning.

    Args:
        pool: all images of the set.
        path: the file; paths in it are those of `pool.files`.

    Raises:
        DataError: a file that cannot be read, names an image twice, or one that is not there.
    """
    splits = _read(path)
    place = {file: number for number, file in enumerate(pool.files)}
    _require_images(pool, path, splits, place)
    named = {split: np.sort([place[file] for file in files]) for split, files in splits.items()}
    divided = pool.select(np.concatenate(list(named.values())).astype(np.int64))
    divided = dataclasses.replace(
        divided,
        part_names=tuple(named),
        parts=np.repeat(np.arange(len(named), dtype=np.int32), [len(k) for k in named.values()]),
    )
    left_out = len(pool) - len(divided)
    if not left_out:
        return divided
    return divided.with_warnings(f"{left_out:,} images are in no split of {path.name}: left out")


def _read(path: Path) -> dict[str, list[str]]:
    """Return the files of each split that has any, in the order of the splits."""
    if path.suffix.lower() == ".json":
        splits = _read_json(path)
    else:
        from hqnn_jax.data.own.own_set import split_named
        from hqnn_jax.data.own.table import ImageTable, read_columns

        if not path.is_file():
            raise DataError(f"{path}: no such file; {_ADVICE}")
        table = ImageTable(path, read_columns(path))
        names = table.cells(
            "split", "train, validation or test", lambda cell: split_named(cell) is not None
        )
        splits = {name: [] for name in SPLIT_NAMES}
        for file, name in zip(table.text("path"), names, strict=True):
            splits[split_named(name) or ""].append(printable(file))
    missing = [name for name in ("train", "test") if not splits[name]]
    if missing:
        raise DataError(f"{path}: no image of the {missing[0]} split; {_ADVICE}")
    return {name: splits[name] for name in SPLIT_NAMES if splits[name]}


def _read_json(path: Path) -> dict[str, list[str]]:
    files = read_json(path, DataError, _ADVICE).get("files", {})
    if files is None:
        raise DataError(
            f"{path}: names no files, since that run used the published split; set "
            "dataset.split.method=official instead"
        )
    if not isinstance(files, dict) or not all(
        isinstance(files.get(name), list) and all(isinstance(file, str) for file in files[name])
        for name in SPLIT_NAMES
    ):
        raise DataError(f"{path}: holds no lists of files for train, validation, test; {_ADVICE}")
    return {name: files[name] for name in SPLIT_NAMES}


def _require_images(
    pool: ImagePool, path: Path, splits: Mapping[str, Sequence[str]], place: Mapping[str, int]
) -> None:
    """Raise DataError for an image that is named twice, or is not there."""
    seen: dict[str, str] = {}
    missing = []
    for split, files in splits.items():
        for file in files:
            if file in seen:
                where = f"in {seen[file]} and in {split}" if seen[file] != split else f"in {split}"
                raise DataError(f"{path}: {file} is {where} twice; expected each image once")
            seen[file] = split
            if file not in place:
                missing.append(file)
    if missing:
        more = f" (like {len(missing) - 1:,} more)" if len(missing) > 1 else ""
        raise DataError(
            f"{path}: {missing[0]} is no image of {pool.name}{more}, whose first is "
            f"{pool.files[0]}; expected paths as splits.json of a run on it has them"
        )
