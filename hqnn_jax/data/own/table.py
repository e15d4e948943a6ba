"""A CSV or Parquet file that names image files and their labels."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hqnn_jax.config import DatasetConfig
from hqnn_jax.data.dataset import SPLIT_NAMES, Progress
from hqnn_jax.data.folder_listing import digest_of_files
from hqnn_jax.data.own.image_folder import found_files
from hqnn_jax.data.own.own_set import (
    WHOLE,
    OwnSet,
    classes_of,
    existing_path,
    labels_of,
    numbered,
    prepared_pool,
    require_classes,
    split_named,
)
from hqnn_jax.data.pool import ImagePool
from hqnn_jax.errors import DataError, reason_of
from hqnn_jax.text import did_you_mean

_PARQUET = (".parquet", ".pq")
_TEXT = {".csv": ",", ".tsv": "\t"}


def load(config: DatasetConfig, progress: Progress | None) -> ImagePool:
    """Return the images that the table `dataset.path` names; see `find`.

    Raises:
        DataError: as `find`, and an image that cannot be read.
    """
    return prepared_pool(find(config, progress), config, progress)


def find(config: DatasetConfig, progress: Progress | None) -> OwnSet:
    """Return the image files that a table names.

    Its columns are `path`, from the folder of the table, and `label` (of a multi-label set, any
    number of labels with | between them); optional are `split` (train,
    validation or test), `group` (images of one patient, say, have the same) and `weight` (of the
    image in the training loss, positive).

    Raises:
        DataError: a table that cannot be read, lacks a column or has a cell that is empty or not
            what is expected; a file that is not there, or is named twice.
    """
    path = existing_path(config, folder=False)
    table = ImageTable(path, read_columns(path))
    files = table.text("path")
    rows, sizes = _by_split(table)
    statuses = _statuses(table, files)
    class_names, numbers = _labels(table, multilabel=config.task_name == "multilabel")
    require_classes(class_names, f"{path}: column label")
    groups, weights = _groups(table, config.split.group), _weights(table)
    ordered = tuple(files[row] for row in rows)
    digest = digest_of_files((files[row], statuses[row]) for row in rows)
    return OwnSet(
        found=found_files(config.name, path.parent, ordered, sizes, digest, progress),
        class_names=class_names,
        labels=numbers[rows],
        groups=None if groups is None else groups[rows],
        weights=None if weights is None else weights[rows],
    )


def read_columns(path: Path) -> dict[str, list[Any]]:
    """Return the columns of a CSV or Parquet file: text, or what a Parquet file has.

    Raises:
        DataError: a file of another kind, or that cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in (*_PARQUET, *_TEXT):
        raise DataError(
            f"{path}: expected a table whose name ends with {', '.join((*_TEXT, *_PARQUET))}"
        )
    import pyarrow as pa  # a third of a second: only where it is used

    try:
        found = _read_parquet(path) if suffix in _PARQUET else _read_text(path, _TEXT[suffix])
    except (OSError, pa.ArrowException, UnicodeError) as error:
        kind = "Parquet file" if suffix in _PARQUET else "CSV file in UTF-8"
        raise DataError(
            f"{path}: cannot be read ({reason_of(error)[:200]}); expected a {kind}; write it again"
        ) from error
    columns: dict[str, list[Any]] = found.to_pydict()
    return columns


def _read_parquet(path: Path) -> Any:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path)


def _read_text(path: Path, delimiter: str) -> Any:
    import pyarrow as pa
    import pyarrow.csv

    options = pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with pyarrow.csv.open_csv(path, parse_options=options) as reader:
        names = reader.schema.names
    # Whatever looks like a number, a date or nothing stays what is written.
    kinds = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
    )
    return pyarrow.csv.read_csv(path, parse_options=options, convert_options=kinds)


class ImageTable:
    """The columns of a table, whose cells are checked when they are asked for."""

    def __init__(self, path: Path, columns: dict[str, list[Any]]):
        """Hold the columns of the file at `path`.

        Raises:
            DataError: there is no row.
        """
        self.path = path
        self._columns = columns
        self.number = len(next(iter(columns.values()), []))
        if not self.number:
            raise DataError(f"{path}: the table has no row; expected one for each image")

    def __contains__(self, name: str) -> bool:
        """Return whether there is a column."""
        return name in self._columns

    def text(self, name: str) -> list[str]:
        """Return the cells of a column as text without blanks around it; none may be empty.

        Raises:
            DataError: no such column, or an empty cell.
        """
        return self.cells(name, "a value", bool)

    def cells(self, name: str, expected: str, fits: Callable[[str], bool]) -> list[str]:
        """Return the cells of a column as text, each of which is to fit.

        Raises:
            DataError: no such column, or a cell that does not fit what is expected.
        """
        if name not in self:
            raise DataError(
                f"{self.path}: no column {name!r}; {did_you_mean(name, self._columns)}the table "
                f"has: {', '.join(self._columns)}"
            )
        values = self._columns[name]
        cells = ["" if value is None else str(value).strip() for value in values]
        for row, cell in enumerate(cells, start=1):
            if not fits(cell):
                shown = repr(cell) if cell else "nothing"
                raise self.error(row, f"{name} is {shown:.80}, expected {expected}")
        return cells

    def error(self, row: int, problem: str) -> DataError:
        """Return the error of a row, counted from 1 without the head."""
        return DataError(f"{self.path}: row {row:,} below the head: {problem}")


def by_split(splits: Sequence[str]) -> tuple[np.ndarray, dict[str, int]]:
    """Return the rows split by split, each in its order, and the number of each split."""
    chosen = {
        name: [row for row, split in enumerate(splits) if split == name] for name in SPLIT_NAMES
    }
    sizes = {name: len(rows) for name, rows in chosen.items() if rows}
    return np.array([row for name in sizes for row in chosen[name]], np.int64), sizes


def _by_split(table: ImageTable) -> tuple[np.ndarray, dict[str, int]]:
    if "split" not in table:
        return np.arange(table.number), {WHOLE: table.number}
    cells = table.cells(
        "split", "train, validation or test", lambda cell: split_named(cell) is not None
    )
    return by_split([split_named(cell) or "" for cell in cells])


def _labels(table: ImageTable, *, multilabel: bool) -> tuple[tuple[str, ...], np.ndarray]:
    if not multilabel:
        return classes_of(table.text("label"))
    cells = table.cells("label", "labels with | between them", lambda _: True)
    return labels_of([list(filter(None, map(str.strip, cell.split("|")))) for cell in cells])


def _statuses(table: ImageTable, files: Sequence[str]) -> list[os.stat_result]:
    """Return the status of every file; one that is not there, or named twice, is an error."""
    root, rows, missing = table.path.parent, dict[str, int](), list[int]()
    statuses = []
    for row, file in enumerate(files, start=1):
        if rows.setdefault(file, row) != row:
            raise table.error(
                row, f"{file} is in row {rows[file]:,} already; expected each image once"
            )
        try:
            status = os.stat(root / file)
            if not stat.S_ISREG(status.st_mode):
                raise table.error(row, f"{root / file} is no file; expected an image")
            statuses.append(status)
        except (OSError, ValueError):
            missing.append(row)
    if missing:
        more = f" (and {len(missing) - 1:,} more files)" if len(missing) > 1 else ""
        raise table.error(
            missing[0],
            f"{root / files[missing[0] - 1]} is not there{more}; expected paths from the folder of "
            "the table",
        )
    return statuses


def _groups(table: ImageTable, column: str | None) -> np.ndarray | None:
    if column is None and "group" not in table:
        return None
    return numbered(table.text(column or "group"))


def _weights(table: ImageTable) -> np.ndarray | None:
    if "weight" not in table:
        return None
    cells = table.cells("weight", "a positive number", _is_weight)
    return np.array([float(cell) for cell in cells], np.float32)


def _is_weight(cell: str) -> bool:
    try:
        return 1e-30 < float(cell) < 1e30
    except ValueError:
        return False
