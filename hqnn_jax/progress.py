"""Progress for people: bars on a terminal, plain lines everywhere else."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import rich.console
import rich.progress

Advance = Callable[[int], None]


class Progress:
    """Reports what a run is doing on standard error, so standard output stays for results."""

    def __init__(self, *, terminal: bool | None = None):
        """Draw bars if `terminal`, by default where standard error is one."""
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._console = rich.console.Console(
            stderr=True, force_terminal=self._terminal, highlight=False
        )

    def line(self, text: str) -> None:
        """Print one line."""
        if self._terminal:
            self._console.print(text, markup=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def task(self, description: str, total: int | None = None) -> Iterator[Advance]:
        """Show a task while the block runs; yields a function that advances it.

        `total` counts whatever the block advances by; without it an endless bar is drawn. The bar
        vanishes at the end. Without a terminal, a line is printed at the start, one per minute,
        and one at the end with the time.
        """
        if self._terminal:
            columns = (
                rich.progress.TextColumn("{task.description}"),
                rich.progress.BarColumn(),
                rich.progress.TaskProgressColumn(),
                rich.progress.TimeElapsedColumn(),
                rich.progress.TimeRemainingColumn(),
            )
            with rich.progress.Progress(*columns, console=self._console, transient=True) as bar:
                task = bar.add_task(description, total=total)
                yield lambda amount: bar.advance(task, amount)
            return
        started = last = time.perf_counter()
        done = 0
        self.line(f"{description} …")

        def advance(amount: int) -> None:
            nonlocal done, last
            done += amount
            if time.perf_counter() - last > 60.0:
                last = time.perf_counter()
                self.line(f"{description}: {done}" + (f" of {total}" if total else ""))

        yield advance
        self.line(f"{description}: done in {time.perf_counter() - started:.1f} s")

    @contextlib.contextmanager
    def epoch(self, description: str, total: int) -> Iterator[Advance]:
        """Show an epoch: a bar on a terminal, nothing elsewhere (its result line follows)."""
        if self._terminal:
            with self.task(description, total) as advance:
                yield advance
        else:
            yield lambda amount: None
