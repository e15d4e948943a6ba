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

    @contextlib.contextmanager
    def tasks(self) -> Iterator[Callable[[str, int, int], None]]:
        """Yield `report(what, done, total)`; its calls become one task for each `what`, in turn."""
        with contextlib.ExitStack() as current:
            what_now, done_before = "", 0
            advance: Advance = _no_advance

            def report(what: str, done: int, total: int) -> None:
                nonlocal what_now, done_before, advance
                if what != what_now:
                    current.close()  # a terminal shows one bar at a time
                    advance = current.enter_context(self.task(what, total or None))
                    what_now, done_before = what, 0
                advance(done - done_before)
                done_before = done

            yield report


def _no_advance(amount: int) -> None:
    """Advance nothing: no task has begun."""
