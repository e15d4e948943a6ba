"""Stopping a run at a safe point: a first Ctrl-C asks, a second one insists."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from hqnn_jax.errors import HqnnError


class Interrupted(HqnnError):
    """The user stopped; what was finished is kept."""


class SeedInterrupted(Interrupted):
    """The user stopped the training of a seed; a checkpoint was saved."""

    def __init__(self, seed: int, epoch: int):
        """Say where: after `epoch` whole epochs of `seed`."""
        super().__init__(f"stopped in seed {seed} after epoch {epoch}; checkpoint saved")
        self.seed = seed
        self.epoch = epoch


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
