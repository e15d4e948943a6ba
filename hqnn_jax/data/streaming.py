"""Batches read ahead from disk while a device computes, in an order the caller chooses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from hqnn_jax.data.dataset import Split

Batch = tuple[np.ndarray, ...]
"""Images uint8 [batch, height, width, channels], labels int32 [batch] and, where the split has any,
weights float32 [batch]."""

_THREADS = 4
_BATCHES_AHEAD = 4


@dataclass(frozen=True, eq=False)
class _Batches:
    """Batch k of an order, by index, as Grain asks for it."""

    split: Split
    order: np.ndarray
    batch_size: int
    start_step: int

    def __len__(self) -> int:
        return max(0, len(self.order) // self.batch_size - self.start_step)

    def __getitem__(self, position: int) -> Batch:
        start = (self.start_step + position) * self.batch_size
        chosen = self.order[start : start + self.batch_size]
        return self.split.at(chosen)


def stream_batches(
    split: Split, order: Int[np.ndarray, " num_images"], batch_size: int, *, start_step: int = 0
) -> Iterator[Batch]:
    """Yield the batches `order[k * batch_size : (k + 1) * batch_size]` for k = start_step, …

    Grain's threads read a few batches ahead; what is yielded, and in which sequence, does not
    depend on them, so that training on it is bitwise training on the same images in memory.
    Images that do not fill a last batch are left out.

    Args:
        split: images, on disk or in memory, and labels.
        order: which images, in which order; an epoch's permutation for example.
        batch_size: images in each batch.
        start_step: batches at the start that are not read, to go on within an epoch.

    Raises:
        DataError: a file that cannot be read.
    """
    import grain  # takes more than a second: only where it is used

    batches = _Batches(split, np.asarray(order), batch_size, start_step)
    options = grain.ReadOptions(num_threads=_THREADS, prefetch_buffer_size=_BATCHES_AHEAD)
    yield from grain.MapDataset.source(batches).to_iter_dataset(options)
