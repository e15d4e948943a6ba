"""Stopping a run at a safe point: a first Ctrl-C asks, a second one insists."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGINT or SIGTERM has arrived within the block.

    A second SIGINT raises `KeyboardInterrupt` at once. The earlier handlers come back at the end.
    """
    received: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    signals = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, handler) for number in signals}
    try:
        yield lambda: bool(received)
    finally:
        for number, old in previous.items():
            signal.signal(number, old)
