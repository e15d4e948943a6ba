"""Prepared datasets that a process was writing when it was killed.

Whoever writes one holds the lock of its folder, which the system releases when a process ends,
however it ends. So what lies unfinished in a folder whose lock can be had belongs to nobody.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from hqnn_jax.errors import RunFolderError
from hqnn_jax.files import locked

_UNFINISHED = "incomplete.*"  # as TFDS names the folder that it renames at the end


def remove_unfinished(folder: Path) -> None:
    """Remove what is unfinished in a folder, whose lock the caller holds.

    Raises:
        OSError: it cannot be removed.
    """
    for path in folder.glob(_UNFINISHED):
        shutil.rmtree(path)


def remove_all_unfinished(prepared_dir: Path) -> None:
    """Remove the half-written datasets below a folder that no living process writes.

    What cannot be removed (another user's, on a read-only disk) is left.
    """
    for folder in {path.parent for path in prepared_dir.glob(f"*/*/{_UNFINISHED}/")}:
        with contextlib.suppress(OSError, RunFolderError), locked(folder):
            remove_unfinished(folder)
