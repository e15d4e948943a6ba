"""Processes that are killed while they write, without the price of a process each."""

import contextlib
import gc
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hqnn_jax.files import locked

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class KilledError(BaseException):
    """What a killed process does next: nothing."""


class Killer:
    """Ends everything at the k-th change of a file in a folder.

    From there on all changes fail, so that no cleaning up is done either, as after SIGKILL.
    """

    def __init__(self):
        self.folder, self.at, self.count = None, 0, 0
        sys.addaudithook(self._hook)

    def _hook(self, event, arguments):
        if self.folder is None or not self._changes(event, arguments):
            return
        self.count += 1
        if self.at and self.count >= self.at:
            raise KilledError

    def _changes(self, event, arguments):
        if event == "open":
            path, mode, flags = arguments
            if not (flags & WRITING if mode is None else set(mode) & set("wxa+")):
                return False
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            path = arguments[0]
        else:
            return False
        return not isinstance(path, int) and os.fsdecode(path).startswith(str(self.folder))

    @contextlib.contextmanager
    def killing(self, folder, at):
        """Kill at the `at`-th change in the block; 0 only counts them."""
        self.folder, self.at, self.count = folder, at, 0
        try:
            yield
        finally:
            self.folder = None

    def kill(self, folder: Path, at: int, run: Callable[[], object]) -> None:
        """Run until the `at`-th change in a folder."""
        with self.killing(folder, at), pytest.raises(KilledError):
            run()
        # With a process go its locks.
        gc.collect()


@contextlib.contextmanager
def held_elsewhere(folder: Path) -> Iterator[None]:
    """Hold a folder as another process would: a thread may hold it more than once."""
    lock = locked(folder)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lock.__enter__).result()
        try:
            yield
        finally:
            thread.submit(lock.__exit__, None, None, None).result()


def leftovers(folder: Path) -> list[Path]:
    """Return the temporary files in a folder."""
    return sorted(folder.rglob(".*.tmp"))
