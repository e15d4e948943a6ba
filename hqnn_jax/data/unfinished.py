"""What a process leaves behind when it is killed while it writes, and how the next one knows.

Whoever writes holds a lock that the system releases when the process ends, however it ends. So what
looks unfinished under a lock that can be had belongs to nobody, and is removed.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

_LOCK = ".lock"
_UNFINISHED = "incomplete.*"  # as TFDS names the folder it renames at the end


@contextlib.contextmanager
def alone(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Do something as the only process that holds the lock file `path`.

    Args:
        path: the lock; its folder must exist. The file stays.
        waiting: told once if another process has to be waited for.

    Raises:
        OSError: the lock file cannot be made.
    """
    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        if waiting is not None:
            waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def lock_of(folder: Path) -> Path:
    """Return the lock that whoever writes a prepared dataset into `folder` holds."""
    return folder / _LOCK


def remove_unfinished(folder: Path) -> None:
    """Remove what is unfinished in `folder`, whose lock the caller holds.

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
        with (
            contextlib.suppress(OSError, filelock.Timeout),
            filelock.FileLock(lock_of(folder), blocking=False),
        ):
            remove_unfinished(folder)
