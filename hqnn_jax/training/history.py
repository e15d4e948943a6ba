"""The history of a run: a file with one line of JSON for every finished epoch of every seed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hqnn_jax.errors import RunFolderError
from hqnn_jax.files import read_json_lines, write_atomically

Record = Mapping[str, Any]
"""What an epoch of a seed came to; see `Program.records`."""

FIGURES = (
    "seed", "epoch", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy",
    "seconds",
)  # fmt: skip
"""What the record of an epoch has at least."""


def read_history(
    path: Path, seed: int | None = None, *, finished: bool = False
) -> list[dict[str, Any]]:
    """Return one record per finished epoch, of one seed or of all, in order.

    Args:
        path: of the file.
        seed: of which seed; None of all.
        finished: whether the run has finished; before that, a missing file has no records, and a
            half-written last line is left out.

    Raises:
        RunFolderError: if a line is damaged.
    """
    if not finished and not path.exists():
        return []
    advice = "restore it from a copy, or run again in another --out"
    records = read_json_lines(path, RunFolderError, advice, whole=finished)
    for number, record in enumerate(records, start=1):
        for name in FIGURES:
            kind = int if name in ("seed", "epoch") else int | float
            if not isinstance(record.get(name), kind):
                raise RunFolderError(
                    f"{path}: line {number}: {name}: expected a number, got "
                    f"{record.get(name)!r:.40}; {advice}"
                )
    return [record for record in records if seed is None or record["seed"] == seed]


def append_record(path: Path, record: Record) -> None:
    """Add the record of one epoch.

    Raises:
        RunFolderError: if the file cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(_line(record))
    except OSError as error:
        raise RunFolderError(
            f"{path}: cannot write: {error.strerror}; free space, then resume with --resume"
        ) from error


def trim_history(path: Path, seed: int, epochs: int) -> None:
    """Drop the records of a seed after its first `epochs` epochs, and broken lines.

    An epoch whose checkpoint was not on disk at a kill is trained, and recorded, again.
    """
    kept = [r for r in read_history(path) if r["seed"] != seed or r["epoch"] <= epochs]
    write_atomically(path, "".join(map(_line, kept)).encode())


def _line(record: Record) -> str:
    return json.dumps(record) + "\n"
