"""How much memory there is for programs."""

from __future__ import annotations

import jax
import psutil


def available_memory(*, cpu_share: float) -> int:
    """Return the bytes a program may take: what the device has left, a share of it on CPU."""
    stats = jax.devices()[0].memory_stats()
    if stats is None or "bytes_limit" not in stats:
        return int(psutil.virtual_memory().available * cpu_share)
    return stats["bytes_limit"] - stats["bytes_in_use"]
