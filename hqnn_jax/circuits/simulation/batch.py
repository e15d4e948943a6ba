"""The number of samples, which of a program that is exported is known only where it runs.

`jax.export` traces with a symbolic batch, a polynomial in place of an int: it can be multiplied
and compared for equality, but not with other numbers. What a batch decides is decided for
`NOMINAL_BATCH` then.
"""

from typing import Any

Size = Any
"""An int, or a symbolic dimension of `jax.export.symbolic_shape`."""

NOMINAL_BATCH = 64
"""What a batch of unknown size is taken for: many enough that matrix products pay."""


def nominal(size: Size) -> int:
    """The size itself; `NOMINAL_BATCH` where it is symbolic."""
    return size if isinstance(size, int) else NOMINAL_BATCH


def common_columns(*sizes: Size) -> Size:
    """The common number of columns of arrays that have one a sample, or one for all samples."""
    return next((size for size in sizes if size != 1), 1)
