"""Processes that are killed while they write, without the price of a process each."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest


class Killed(BaseException):
    """Stands for SIGKILL: no handler of errors catches it."""


def killed_in_write(number: int, folder: Path, run: Callable[[], object]) -> bool:
    """Run until its `number`-th write is half done; returns whether there are so many.

    What a killed process leaves in `folder` is left there: half of a temporary file, and the files
    of its locks, which nobody holds any more.
    """
    replace, count = os.replace, itertools.count(1)

    def stop(source, target):
        if Path(target).is_relative_to(folder) and next(count) == number:
            content = Path(source).read_bytes()
            left = Path(source).with_name(f".{Path(target).name}.0123abcd.tmp")
            left.write_bytes(content[: len(content) // 2])
            raise Killed
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", stop)
        try:
            run()
        except Killed:
            pass
        else:
            return False
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            (path / ".lock").touch()
    return True


def leftovers(folder: Path) -> list[Path]:
    """Return the temporary files in a folder."""
    return sorted(folder.rglob(".*.tmp"))
